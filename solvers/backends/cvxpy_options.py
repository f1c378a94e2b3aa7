"""Our options in the words of the solvers behind CVXPY."""

from __future__ import annotations

import math
from typing import Any

from solvers.backend import SolverOptions

# Our option -> the solver's. What is not listed cannot be passed or is not known here, and keeps the solver's default.
OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "HIGHS": {
        "time_limit_s": ("time_limit",),
        "threads": ("threads",),
        "seed": ("random_seed",),
        "node_limit": ("mip_max_nodes",),
        "mip_gap": ("mip_rel_gap", "mip_abs_gap"),
        "feasibility_tolerance": ("primal_feasibility_tolerance", "dual_feasibility_tolerance"),
        "integrality_tolerance": ("mip_feasibility_tolerance",),
    },
    "GUROBI": {
        "time_limit_s": ("TimeLimit",),
        "threads": ("Threads",),
        "seed": ("Seed",),
        "node_limit": ("NodeLimit",),
        "mip_gap": ("MIPGap", "MIPGapAbs"),
        "feasibility_tolerance": ("FeasibilityTol", "OptimalityTol"),
        "integrality_tolerance": ("IntFeasTol",),
    },
    "SCIPY": {"time_limit_s": ("time_limit",), "node_limit": ("node_limit",), "mip_gap": ("mip_rel_gap",)},
    "SCIP": {
        "time_limit_s": ("limits/time",),
        "seed": ("randomization/randomseedshift",),
        "node_limit": ("limits/nodes",),
        "mip_gap": ("limits/gap", "limits/absgap"),
        "feasibility_tolerance": ("numerics/feastol",),
    },
    "CLARABEL": {
        "time_limit_s": ("time_limit",),
        "threads": ("max_threads",),
        "feasibility_tolerance": ("tol_feas", "tol_gap_abs", "tol_gap_rel"),
    },
    "SCS": {"time_limit_s": ("time_limit_secs",), "feasibility_tolerance": ("eps_abs", "eps_rel")},
    "OSQP": {"time_limit_s": ("time_limit",), "feasibility_tolerance": ("eps_abs", "eps_rel")},
}
NESTED = {"SCIPY": "scipy_options", "SCIP": "scip_params"}  # options that go into a dictionary of this name
# HiGHS drops coefficients up to 1e-9 otherwise; the others' iterations are too few for our tolerances.
FIXED: dict[str, dict[str, float]] = {
    "HIGHS": {"small_matrix_value": 1e-12},
    "SCS": {"max_iters": 10**6},
    "OSQP": {"max_iter": 10**6},
}
# Tolerances below are refused, or (the last three) seldom reached.
SMALLEST = {"GUROBI": 1e-9, "HIGHS": 1e-10, "SCIP": 1e-9, "CLARABEL": 1e-9, "SCS": 1e-9, "OSQP": 1e-9}
LARGEST = {"GUROBI": {"feasibility_tolerance": 1e-2, "integrality_tolerance": 1e-1}}  # above is refused
# Coefficients up to this size the solver drops: HiGHS by its own default within SciPy, else what it is asked for.
DROPPED = {"GUROBI": 1e-13, "HIGHS": 1e-12, "SCIPY": 1e-9}
DEFAULT_TOLERANCE = 1e-6  # the largest that these solvers choose for themselves
TOLERANCES = ("feasibility_tolerance", "integrality_tolerance")


def solver_options(solver: str, options: SolverOptions, time_limit_s: float) -> dict[str, Any]:
    """The options in the words of a solver behind CVXPY."""
    ours = {name: getattr(options, name) for name in ("threads", "seed", "mip_gap", *TOLERANCES)}
    for name in TOLERANCES:
        ours[name] = min(max(ours[name], SMALLEST.get(solver, 0.0)), LARGEST.get(solver, {}).get(name, 1.0))
    if math.isfinite(time_limit_s):
        ours["time_limit_s"] = time_limit_s
    if options.node_limit is not None:
        ours["node_limit"] = options.node_limit
    table = OPTIONS.get(solver, {})
    theirs: dict[str, Any] = {word: ours[name] for name, words in table.items() if name in ours for word in words}
    theirs.update(FIXED.get(solver, {}))
    if solver == "HIGHS" and options.threads == 1:
        theirs["parallel"] = "off"  # as in `highs_`
    return {NESTED[solver]: theirs} if solver in NESTED else theirs
