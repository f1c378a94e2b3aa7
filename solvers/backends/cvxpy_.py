"""The solvers that CVXPY reaches, as `cvxpy:SOLVER`; `cvxpy` alone takes CVXPY's own choice.

CVXPY's words are weaker than its solvers': a time limit without an incumbent comes back as `infeasible_inaccurate`
(Gurobi, COPT) or `optimal_inaccurate` (SCIP). So what ends at or after the time limit without a proof is TIME_LIMIT
here, and every other `*_inaccurate` is UNKNOWN. Of SciPy, whose own words are weak too ("infeasible" is also a refused
model), the status of the HiGHS within is read.
"""

from __future__ import annotations

import math
import operator
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from networks.errors import UnknownSolverError
from networks.layers import Array, read_only
from solvers.backend import Backend, Capabilities, Limits, Session, SolverOptions
from solvers.duality import weak_duality_bound
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

# Our option -> the solver's. What is not listed cannot be passed or is not known here, and keeps the solver's default.
OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "HIGHS": {
        "time_limit_s": ("time_limit",),
        "threads": ("threads",),
        "seed": ("random_seed",),
        "mip_gap": ("mip_rel_gap", "mip_abs_gap"),
        "feasibility_tolerance": ("primal_feasibility_tolerance", "dual_feasibility_tolerance"),
        "integrality_tolerance": ("mip_feasibility_tolerance",),
    },
    "GUROBI": {
        "time_limit_s": ("TimeLimit",),
        "threads": ("Threads",),
        "seed": ("Seed",),
        "mip_gap": ("MIPGap", "MIPGapAbs"),
        "feasibility_tolerance": ("FeasibilityTol", "OptimalityTol"),
        "integrality_tolerance": ("IntFeasTol",),
    },
    "SCIPY": {"time_limit_s": ("time_limit",), "mip_gap": ("mip_rel_gap",)},
    "SCIP": {
        "time_limit_s": ("limits/time",),
        "seed": ("randomization/randomseedshift",),
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
FIXED = {"SCS": {"max_iters": 10**6}, "OSQP": {"max_iter": 10**6}}  # theirs are too few for our tolerances
# Tolerances below are refused, or (the last three) seldom reached.
SMALLEST = {"GUROBI": 1e-9, "HIGHS": 1e-10, "SCIP": 1e-9, "CLARABEL": 1e-9, "SCS": 1e-9, "OSQP": 1e-9}
TOLERANCES = ("feasibility_tolerance", "integrality_tolerance")

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
}
POLL_S = 0.1  # how often a waiting main thread looks for Ctrl-C where a signal does not wake it
STOP_S = 2.0  # how long HiGHS, asked to stop, is waited for
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

    def __init__(self, variant: str = "") -> None:
        from cvxpy.reductions.solvers.defines import INSTALLED_MI_SOLVERS

        self.variant = variant.upper()
        if self.variant and self.variant not in self.variants():
            raise UnknownSolverError(
                f"solver cvxpy:{variant}: CVXPY has it not installed; expected one of {', '.join(self.variants())}"
            )
        known = OPTIONS.get(self.variant, {})
        self.capabilities = Capabilities(
            mip=self.variant in INSTALLED_MI_SOLVERS if self.variant else bool(INSTALLED_MI_SOLVERS),
            warm_objective=False,
            nodes=False,
            simplex_iterations=False,
            threads="threads" in known,
            seed="seed" in known,
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
        return CvxpySession(model, options or SolverOptions(), self.variant)


class CvxpySession(Session):
    """A compiled CVXPY problem whose costs are a parameter: a new objective takes a tenth of a new problem's time."""

    def __init__(self, model: LinearModel, options: SolverOptions, variant: str) -> None:
        self._variant = variant
        super().__init__(model, options)

    def _load(self) -> None:
        self._crossed = bool((self.model.col_lower > self.model.col_upper).any())
        self._refusal = self._message = ""
        self._raw: Any = None  # the solver's own answer
        self._env: Any = None  # Gurobi's environment, once a solve has needed it
        if not self._crossed:  # CVXPY has no variable with crossed bounds
            self._build()
            chain = self._attempt(lambda: self._problem.get_problem_data(self._variant or None)[1])
            self._refusal = (
                f"{self._message} (it has {int(self.model.integer.sum())} integer columns)" if self._message else ""
            )
            self._solver = chain.solver.name() if chain else self._variant

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
        if not self._crossed:
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
        if self._crossed:
            message = "a lower bound of the model is above its upper bound"
            return SolveResult(Status.INFEASIBLE, dual_bound=math.inf, message=message)
        if self._refusal:
            return SolveResult(Status.ERROR, raw_status="solver_error", message=self._refusal)
        start = time.perf_counter()
        settings = solver_settings(self._solver, self.options, limits.time_limit_s)
        self._raw = None
        self._attempt(lambda: self._run(settings))
        return self._read(time.perf_counter() - start >= limits.time_limit_s)

    def _run(self, settings: dict[str, Any]) -> None:
        """What `Problem.solve` does, with the solver's own answer kept."""
        data, chain, inverse = self._problem.get_problem_data(self._variant or None, solver_opts=settings)
        if self._solver == "GUROBI":
            self._env = self._env or _quiet_gurobi()
            settings["env"] = self._env
        self._raw = _run_interruptibly(
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


def _run_interruptibly(action: Callable[[], Any], *, is_highs: bool) -> Any:
    """The action's value or exception; Ctrl-C meanwhile raises KeyboardInterrupt here at once.

    In the main thread a solver's library would hold the signal back until its end. CVXPY has no means to stop a solver:
    after Ctrl-C the action goes on in a daemon thread, which ends with the process, and its outcome is dropped. So it
    must change nothing that is used afterwards, and the filters of warnings, which are the process's, are the caller's.
    HiGHS alone is stopped: it aborts a process that ends during its run.
    """
    outcome: list[Any] = []
    errors: list[BaseException] = []
    finished = threading.Event()  # not Thread.join: once interrupted, it takes a running thread for a finished one

    def run() -> None:
        try:
            outcome.append(action())
            if is_highs:
                _end_highs_workers()
        except BaseException as error:  # the waiting thread raises it
            errors.append(error)
        finally:
            finished.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while not finished.wait(POLL_S):
            pass
    except KeyboardInterrupt:
        if is_highs and _stop_highs(thread):
            finished.wait(STOP_S)
        raise
    if errors:
        raise errors[0]
    return outcome[0]


def _stop_highs(thread: threading.Thread) -> bool:
    """Ask the HiGHS that runs in a thread to stop; False where none is found.

    CVXPY keeps the running `highspy.Highs` in a local variable, and nowhere else.
    """
    import highspy

    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        highs = frame.f_locals.get("solver")
        if isinstance(highs, highspy.Highs):
            for callback in (highs.cbSimplexInterrupt, highs.cbMipInterrupt, highs.cbIpmInterrupt):
                callback.subscribe(_stop)
            return True
        frame = frame.f_back
    return False


def _stop(event: Any) -> None:
    event.interrupt()


def _end_highs_workers() -> None:
    """End this thread's workers: they keep the number of threads that HiGHS first had, and refuse another."""
    import highspy

    highspy.Highs.resetGlobalScheduler(False)


def _quiet_gurobi() -> Any:
    """An environment that does not print the licence, as Gurobi's default one does."""
    import gurobipy

    env = gurobipy.Env(empty=True)
    env.setParam("OutputFlag", 0)
    env.start()
    return env


def _was_interrupted(model: Any) -> bool:
    import gurobipy

    return bool(model.Status == gurobipy.GRB.INTERRUPTED)


def _solver_version(variant: str) -> str:
    try:
        return version(PACKAGES.get(variant, variant))
    except PackageNotFoundError:  # CVXPY's names are not those of distributions, and it takes on new solvers
        return "of unknown version"


def solver_settings(solver: str, options: SolverOptions, time_limit_s: float) -> dict[str, Any]:
    """The options in the words of a solver behind CVXPY."""
    ours = {name: getattr(options, name) for name in ("threads", "seed", "mip_gap", *TOLERANCES)}
    for name in TOLERANCES:
        ours[name] = max(ours[name], SMALLEST.get(solver, 0.0))
    if math.isfinite(time_limit_s):
        ours["time_limit_s"] = time_limit_s
    table = OPTIONS.get(solver, {})
    theirs: dict[str, Any] = {word: ours[name] for name, words in table.items() if name in ours for word in words}
    theirs.update(FIXED.get(solver, {}))
    return {NESTED[solver]: theirs} if solver in NESTED else theirs


def scipy_status(message: str) -> Status:
    """The status of the HiGHS within SciPy, from SciPy's message."""
    found = re.search(r"HiGHS Status (\d+)", message)
    return SCIPY_STATUSES.get(int(found.group(1)), Status.UNKNOWN) if found else Status.UNKNOWN
