"""The solvers that CVXPY reaches, as `cvxpy:SOLVER`; `cvxpy` alone takes CVXPY's own choice.

CVXPY's words are weaker than its solvers': a time limit without an incumbent comes back as `infeasible_inaccurate`
(Gurobi, COPT) or `optimal_inaccurate` (SCIP). So what ends at or after the time limit without a proof is TIME_LIMIT
here, and every other `*_inaccurate` is UNKNOWN. Of SciPy, whose own words are weak too ("infeasible" is also a refused
model), the status of the HiGHS within is read.
"""

from __future__ import annotations

import ctypes
import math
import operator
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from networks.errors import UnknownSolverError
from networks.layers import Array, read_only
from solvers.backend import Backend, Capabilities, Limits, Session, SolverOptions
from solvers.backends.cvxpy_options import DEFAULT_TOLERANCE, DROPPED, OPTIONS, solver_options
from solvers.backends.dropped import infeasible_is_in_doubt
from solvers.backends.interrupt import run_interruptibly
from solvers.certify import weak_duality_bound
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

STATUSES = {
    "optimal": Status.OPTIMAL,
    "infeasible": Status.INFEASIBLE,
    "unbounded": Status.UNBOUNDED,
    "infeasible_or_unbounded": Status.INFEASIBLE_OR_UNBOUNDED,
    "user_limit": Status.OTHER_LIMIT,
    "solver_error": Status.ERROR,
}
PROVEN = {Status.OPTIMAL, Status.INFEASIBLE, Status.UNBOUNDED, Status.INFEASIBLE_OR_UNBOUNDED}

# Where the bound of a MILP is in CVXPY's `extra_stats`.
DUAL_BOUNDS: dict[str, Callable[[Any], float]] = {
    "HIGHS": lambda stats: float(stats.mip_dual_bound),
    "GUROBI": lambda stats: float(stats.ObjBound),
    "SCIPY": lambda stats: float(stats["mip_dual_bound"]),
}
# The distribution that has the solver, where its name differs.
PACKAGES = {
    "HIGHS": "highspy",
    "GUROBI": "gurobipy",
    "SCIP": "pyscipopt",
    "COPT": "coptpy",
    "CBC": "cylp",
    "ECOS_BB": "ecos",
    "GLPK": "cvxopt",
    "GLPK_MI": "cvxopt",
    "GLOP": "ortools",
    "PDLP": "ortools",
}
# CVXPY swallows Gurobi's exceptions.
HINTS = {"GUROBI": " (CVXPY keeps Gurobi's reason to itself, e.g. a licence too small; the back-end gurobi tells it)"}
# By the number that SciPy's message gives as "HiGHS Status".
SCIPY_STATUSES = {
    2: Status.ERROR,  # a model that HiGHS refuses
    7: Status.OPTIMAL,
    8: Status.INFEASIBLE,
    9: Status.INFEASIBLE_OR_UNBOUNDED,
    10: Status.UNBOUNDED,
    13: Status.TIME_LIMIT,
    14: Status.OTHER_LIMIT,
    16: Status.OTHER_LIMIT,  # of nodes
}
INCUMBENT_TOLERANCE = 1e-6  # a point of a stopped search that violates more is no solution


class Cvxpy(Backend):
    """A solver behind CVXPY.

    Options: what `OPTIONS` lists is passed; everything else, and every solver not in it, keeps the solver's defaults.

    Dual bounds: of an LP, by weak duality from the row duals (in plain floating point), so that an approximate optimum
    of an interior-point or first-order method does not count as a bound; of a MILP, the solver's own where CVXPY hands
    it on, else the objective less the gap asked for, if the solver was asked.

    Raises
    ------
    UnknownSolverError
        CVXPY has no such solver installed.
    """

    name = "cvxpy"
    package = "cvxpy"
    install = "pip install cvxpy"
    licence = "Apache 2.0, and the solver's own"
    capabilities = Capabilities(warm_objective=False, nodes=False, simplex_iterations=False, threads=False, seed=False)

    def __init__(self, variant: str = "") -> None:
        from cvxpy.reductions.solvers.defines import INSTALLED_MI_SOLVERS

        self.variant = variant.upper()
        if self.variant and self.variant not in self.variants():
            raise UnknownSolverError(
                f"solver cvxpy:{variant}: CVXPY has it not installed; expected one of {', '.join(self.variants())}"
            )
        known = OPTIONS.get(self.variant, {})
        if "feasibility_tolerance" not in known:  # CVXPY cannot ask, or chooses the solver itself
            self.least_tolerance = DEFAULT_TOLERANCE
        self.capabilities = replace(
            Cvxpy.capabilities,
            mip=self.variant in INSTALLED_MI_SOLVERS if self.variant else bool(INSTALLED_MI_SOLVERS),
            threads="threads" in known,
            seed="seed" in known,
            node_limit="node_limit" in known,
        )

    @classmethod
    def variants(cls) -> list[str]:
        """The solvers that CVXPY has installed."""
        from cvxpy.reductions.solvers.defines import INSTALLED_SOLVERS

        return list(INSTALLED_SOLVERS)

    def version(self) -> str:
        """CVXPY's version and the solver's."""
        own = version("cvxpy")
        return f"{own}, {self.variant} {_solver_version(self.variant)}" if self.variant else own

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> CvxpySession:
        """Build and compile the problem."""
        return CvxpySession(model, options or SolverOptions(), self)


class CvxpySession(Session):
    """A compiled CVXPY problem whose costs are a parameter: a new objective takes a tenth of a new problem's time."""

    backend: Cvxpy

    def _load(self) -> None:
        self._variant = self.backend.variant or None
        self._refusal = self._message = ""
        self._raw: Any = None  # the solver's own answer
        self._env: Any = None  # Gurobi's environment, once a solve has needed it
        if not self.model.crossed:  # CVXPY has no variable with crossed bounds
            self._build()
            chain = self._attempt(lambda: self._problem.get_problem_data(self._variant)[1])
            self._refusal = (
                f"{self._message} (it has {int(self.model.integer.sum())} integer columns)" if self._message else ""
            )
            self._solver: str = chain.solver.name() if chain else self.backend.variant

    def _build(self) -> None:
        import cvxpy

        model = self.model
        self._x = cvxpy.Variable(
            model.column_count,
            bounds=[model.col_lower, model.col_upper],
            integer=(np.flatnonzero(model.integer),) if model.is_mip else False,
        )
        self._cost = cvxpy.Parameter(model.column_count, value=model.c)
        lower, upper = model.row_lower, model.row_upper
        equal = lower == upper
        sides = {
            "equal": (np.flatnonzero(equal), lower, operator.eq),
            "lower": (np.flatnonzero(~equal & np.isfinite(lower)), lower, operator.ge),
            "upper": (np.flatnonzero(~equal & np.isfinite(upper)), upper, operator.le),
        }
        self._rows = {name: rows for name, (rows, _, _) in sides.items() if len(rows)}
        self._constraints = {
            name: compare(model.A[rows] @ self._x, side[rows])
            for name, (rows, side, compare) in sides.items()
            if len(rows)
        }
        self._problem = cvxpy.Problem(cvxpy.Minimize(self._cost @ self._x), list(self._constraints.values()))

    def _change_objective(self, c: Array, offset: float) -> None:
        if not self.model.crossed:
            self._cost.value = c

    def _attempt(self, action: Callable[[], Any]) -> Any:
        """The action's value; None after an exception, whose text is kept: CVXPY lets every solver's own through."""
        self._message = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "may be inaccurate": the status says so
            try:
                return action()
            except Exception as error:
                self._message = f"{type(error).__name__}: {error}"
                return None

    def _solve(self, limits: Limits) -> SolveResult:
        if self.model.crossed:
            return SolveResult(Status.INFEASIBLE, dual_bound=math.inf, message=self.model.crossed)
        if self._refusal:
            return SolveResult(Status.ERROR, raw_status="solver_error", message=self._refusal)
        start = time.perf_counter()
        settings = solver_options(self._solver, self.options, limits.time_limit_s)
        self._raw = None
        self._attempt(lambda: self._run(settings))
        return self._read(time.perf_counter() - start >= limits.time_limit_s)

    def _run(self, settings: dict[str, Any]) -> None:
        """What `Problem.solve` does, with the solver's own answer kept."""
        data, chain, inverse = self._problem.get_problem_data(self._variant, solver_opts=settings)
        if self._solver == "GUROBI":
            self._env = self._env or _quiet_gurobi()
            settings["env"] = self._env
        if self._solver == "HIGHS":
            _spend_banner()
        self._raw = run_interruptibly(
            lambda: chain.solve_via_data(self._problem, data, warm_start=False, solver_opts=settings),
            is_highs=self._solver == "HIGHS",
        )
        if self._solver == "GUROBI" and _was_interrupted(self._raw["model"]):
            raise KeyboardInterrupt  # gurobipy catches Ctrl-C during a solve, and says it only so
        self._problem.unpack_results(self._raw, chain, inverse)

    def _read(self, out_of_time: bool) -> SolveResult:
        if self._solver == "SCIPY" and self._raw is not None:
            raw_status, message = str(self._raw.message), ""
            status = scipy_status(raw_status)
        else:
            raw_status = "solver_error" if self._message else str(self._problem.status)
            status, message = self._status(raw_status, out_of_time)
        if status is Status.INFEASIBLE:
            dropped, tolerance = DROPPED.get(self._solver, 0.0), self.options.feasibility_tolerance
            message = infeasible_is_in_doubt(self.model, dropped, tolerance)
            status = Status.UNKNOWN if message else status
        x = self._solution(status)
        row_duals = self._row_duals() if status is Status.OPTIMAL and not self.model.is_mip else None
        objective = math.nan if x is None else self.model.objective(x)
        return SolveResult(
            status=status,
            objective=objective,
            dual_bound=self._dual_bound(status, objective, row_duals),
            x=x,
            row_duals=row_duals,
            raw_status=raw_status,
            message=message,
        )

    def _status(self, raw_status: str, out_of_time: bool) -> tuple[Status, str]:
        status = STATUSES.get(raw_status, Status.UNKNOWN)
        if status not in PROVEN and out_of_time:
            return Status.TIME_LIMIT, self._message
        if status is Status.ERROR:
            return status, self._message + HINTS.get(self._solver, "")
        return status, f"CVXPY said {raw_status!r}" if status is Status.UNKNOWN else ""

    def _solution(self, status: Status) -> Array | None:
        if self._message or self._x.value is None or status in PROVEN - {Status.OPTIMAL}:
            return None
        x = read_only(self._x.value)
        if status is Status.OPTIMAL:
            return x
        # Of a stopped LP CVXPY hands over any iterate, of a stopped MILP without incumbent zeros.
        return x if self.model.violation(x) <= INCUMBENT_TOLERANCE else None

    def _row_duals(self) -> Array | None:
        """CVXPY's multipliers are those of `left - right`, at least zero for an inequality of either direction."""
        if any(constraint.dual_value is None for constraint in self._constraints.values()):
            return None
        duals = np.zeros(self.model.row_count)
        for name, sign in (("equal", -1.0), ("lower", 1.0), ("upper", -1.0)):
            if name in self._rows:
                duals[self._rows[name]] += sign * self._constraints[name].dual_value
        return read_only(duals)

    def _dual_bound(self, status: Status, objective: float, row_duals: Array | None) -> float:
        if status is Status.INFEASIBLE:
            return math.inf
        if not self.model.is_mip:
            return -math.inf if row_duals is None else weak_duality_bound(self.model, row_duals)
        if status not in (Status.OPTIMAL, Status.TIME_LIMIT, Status.OTHER_LIMIT):
            return -math.inf
        stats = None if self._message else self._problem.solver_stats.extra_stats
        if self._solver in DUAL_BOUNDS and stats is not None:
            return DUAL_BOUNDS[self._solver](stats) + self.model.offset
        asked = status is Status.OPTIMAL and "mip_gap" in OPTIONS.get(self._solver, {})
        return objective - self.options.mip_gap * max(1.0, abs(objective)) if asked else -math.inf


def _quiet_gurobi() -> Any:
    """An environment that does not print the licence, as Gurobi's default one does."""
    import gurobipy

    env = gurobipy.Env(empty=True)
    env.setParam("OutputFlag", 0)
    env.start()
    return env


@cache
def _spend_banner() -> None:
    """HiGHS 1.16 prints a banner to stdout, past Python, when a process makes its first instance: here, unseen."""
    import highspy

    if os.name != "posix":
        return
    sys.stdout.flush()
    stdout = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        highspy.Highs()
        ctypes.CDLL(None).fflush(None)  # C keeps what it prints until its buffer is full
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _was_interrupted(model: Any) -> bool:
    import gurobipy

    return bool(model.Status == gurobipy.GRB.INTERRUPTED)


def _solver_version(variant: str) -> str:
    try:
        return version(PACKAGES.get(variant, variant))
    except PackageNotFoundError:  # CVXPY's names are not those of distributions, and it takes on new solvers
        return "of unknown version"


def scipy_status(message: str) -> Status:
    """The status of the HiGHS within SciPy, from SciPy's message."""
    found = re.search(r"HiGHS Status (\d+)", message)
    return SCIPY_STATUSES.get(int(found.group(1)), Status.UNKNOWN) if found else Status.UNKNOWN
