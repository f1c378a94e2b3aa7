"""Gurobi through gurobipy's matrix interface."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from networks.layers import Array, read_only
from solvers.backend import Backend, Capabilities, Limits, SolverOptions
from solvers.backends.library import LibrarySession
from solvers.backends.trace import Trace
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

# By the name of a `GRB.Status`.
STATUS = {
    "OPTIMAL": Status.OPTIMAL,
    "INFEASIBLE": Status.INFEASIBLE,
    "UNBOUNDED": Status.UNBOUNDED,
    "INF_OR_UNBD": Status.INFEASIBLE_OR_UNBOUNDED,
    "TIME_LIMIT": Status.TIME_LIMIT,
    "ITERATION_LIMIT": Status.OTHER_LIMIT,
    "NODE_LIMIT": Status.OTHER_LIMIT,
    "SOLUTION_LIMIT": Status.OTHER_LIMIT,
    "WORK_LIMIT": Status.OTHER_LIMIT,
    "MEM_LIMIT": Status.OTHER_LIMIT,
    "USER_OBJ_LIMIT": Status.TARGET_REACHED,
    "INTERRUPTED": Status.INTERRUPTED,
    "CUTOFF": Status.UNKNOWN,  # no cutoff is ever set; the bound that comes with it is infinite
    "NUMERIC": Status.ERROR,
}
# By the name of a `GRB.Error`; an error that is not here is an ERROR.
ERROR_STATUS = {
    "NO_LICENSE": Status.LICENCE,
    "SIZE_LIMIT_EXCEEDED": Status.LICENCE,
    "OUT_OF_MEMORY": Status.OTHER_LIMIT,
}
SMALLEST_TOLERANCE = 1e-9  # Gurobi accepts none below
LARGEST_FEASIBILITY_TOLERANCE = 1e-2
LARGEST_INTEGRALITY_TOLERANCE = 1e-1
SMALLEST_COEFFICIENT = 1e-13  # Gurobi drops smaller ones
LARGEST_SEED = 2_000_000_000
INFINITE_BOUND = 1e20  # Gurobi takes a side or bound of this size or more for none


def solver_options(options: SolverOptions) -> dict[str, Any]:
    """The options in Gurobi's own words, the time limit excepted; silence comes first, for each is echoed."""
    feasibility = float(np.clip(options.feasibility_tolerance, SMALLEST_TOLERANCE, LARGEST_FEASIBILITY_TOLERANCE))
    integrality = float(np.clip(options.integrality_tolerance, SMALLEST_TOLERANCE, LARGEST_INTEGRALITY_TOLERANCE))
    return {
        "LogToConsole": 0,
        **({"OutputFlag": 0} if options.log is None else {"LogFile": str(options.log)}),
        "Threads": options.threads,
        "Seed": options.seed % LARGEST_SEED,
        "MIPGap": options.mip_gap,
        "MIPGapAbs": options.mip_gap,
        "NodeLimit": math.inf if options.node_limit is None else options.node_limit,
        "FeasibilityTol": feasibility,
        "OptimalityTol": feasibility,
        "IntFeasTol": integrality,
    }


class GurobiSession(LibrarySession):
    """A `gurobipy.Model` in an environment of its own: two threads must not share one."""

    dropped: ClassVar[float] = SMALLEST_COEFFICIENT

    def _load(self) -> None:
        import gurobipy

        self._env = gurobipy.Env(empty=True)
        self._model: Any = None
        self._refusal: SolveResult | None = None
        try:
            self._model = self._start()
        except gurobipy.GurobiError as error:  # a value out of range, no licence, no memory
            self._refusal = _error_result(error)

    def _start(self) -> Any:
        for name, value in solver_options(self.options).items():
            self._env.setParam(name, value)
        self._env.start()
        return _hand_over(self.model, self._env)

    def _change_objective(self, c: Array, offset: float) -> None:
        if self._model is not None:
            # For all columns at once: the list of gurobipy's variables takes as long to make as the model itself.
            self._model.setAttr("Obj", np.append(c, np.zeros(self._model.NumVars - c.size)))
            self._model.ObjCon = offset
            self._model.update()

    def _solve(self, limits: Limits) -> SolveResult:
        import gurobipy

        if self._refusal is not None:
            return self._refusal
        self._prepare(limits)
        self._trace = Trace(gurobipy.GRB.INFINITY)
        try:
            if self.model.is_mip:
                self._model.optimize(self._look)
            else:
                self._model.optimize()
        except gurobipy.GurobiError as error:
            return _error_result(error, self._model)
        if self._model.Status == gurobipy.GRB.INTERRUPTED:
            raise KeyboardInterrupt  # gurobipy catches Ctrl-C during a solve, and says it only so
        raw_status = _constant_name(gurobipy.GRB.Status, self._model.Status)
        return self._answer(STATUS.get(raw_status, Status.UNKNOWN), raw_status)

    def _look(self, model: Any, where: int) -> None:
        """Gurobi's callback: keep what is new. It comes at every turn of the simplex method too, and is quick."""
        import gurobipy

        about = gurobipy.GRB.Callback
        if where == about.MIP:
            self._trace.add(*(model.cbGet(what) for what in (about.RUNTIME, about.MIP_OBJBST, about.MIP_OBJBND)))

    def _prepare(self, limits: Limits) -> None:
        import gurobipy

        self._model.setParam("TimeLimit", limits.time_limit_s)
        self._model.setParam("BestObjStop", limits.stop_below)
        self._model.setParam("BestBdStop", limits.stop_above)
        if self.model.is_mip:
            # A MIP would otherwise go on with the last one's tree, counts and incumbent, or with its start.
            self._model.reset(1)
        if self.model.is_mip and self.start is not None:
            slacks = np.full(self._model.NumVars - self.start.size, gurobipy.GRB.UNDEFINED)
            self._model.setAttr("Start", np.append(self.start, slacks))

    def _solution(self, status: Status) -> Array | None:
        # An LP stopped early counts its present basis as a solution, feasible or not.
        found = self._model.SolCount > 0 if self.model.is_mip else status is Status.OPTIMAL
        if not found or status in (Status.UNBOUNDED, Status.INFEASIBLE_OR_UNBOUNDED):
            return None
        return read_only(self._model.getAttr("X")[: self.model.column_count])

    def _mip_bound(self, status: Status) -> float:
        if status in (Status.UNBOUNDED, Status.INFEASIBLE_OR_UNBOUNDED):
            return -math.inf
        bound = float(self._model.ObjBound)
        return bound if bound > -INFINITE_BOUND else -math.inf

    def _lp_objective(self) -> float:
        return float(self._model.ObjVal)

    def _lp_duals(self) -> Array:
        return read_only(self._model.getAttr("Pi"))

    def _lp_ray(self) -> Array | None:
        """Gurobi keeps a ray only where it was asked for before it solved, which costs it its presolve."""
        import gurobipy

        self._model.setParam("InfUnbdInfo", 1)
        self._model.reset()
        self._model.optimize()
        self._model.setParam("InfUnbdInfo", 0)
        try:
            return read_only(-np.array(self._model.getAttr("FarkasDual")))  # Gurobi's proof is of the opposite sign
        except (AttributeError, gurobipy.GurobiError):  # crossed bounds have no ray
            return None

    def _counts(self) -> dict[str, Any]:
        model = self._model
        return {"nodes": int(model.NodeCount), "simplex_iterations": int(model.IterCount), "work": float(model.Work)}

    def close(self) -> None:
        """Free the model and give the licence back."""
        if self._model is not None:
            self._model.close()
        self._env.close()


class Gurobi(Backend):
    """The commercial solver; its wheel carries a licence for small models."""

    name: ClassVar[str] = "gurobi"
    package: ClassVar[str] = "gurobipy"
    install: ClassVar[str] = "pip install gurobipy"
    licence: ClassVar[str] = "commercial; without a licence file at most 2,000 variables and 2,000 constraints"
    capabilities = Capabilities(work=True, stop=True, start=True, sos1=True, indicators=True, node_limit=True, ray=True)

    def version(self) -> str:
        """The version of the Gurobi library; takes no licence."""
        import gurobipy

        return ".".join(str(part) for part in gurobipy.gurobi.version())

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> GurobiSession:
        """Load a model; where the licence does not permit it, every solve is a LICENCE, and where Gurobi refuses it or
        an option, an ERROR.
        """
        return GurobiSession(model, options or SolverOptions(), self)


def _hand_over(model: LinearModel, env: Any) -> Any:
    """The model as a `gurobipy.Model`.

    Gurobi's rows have one side. A row with two, `l <= a @ x <= u`, becomes `a @ x - s = l, 0 <= s <= u - l` with one
    column `s` more, as Gurobi's own `addRange` does; the dual of that row is the dual of whichever side is active.
    """
    import gurobipy

    ranges = np.flatnonzero(_has_lower(model) & _has_upper(model) & (model.row_lower != model.row_upper))
    matrix = sparse.hstack([model.A, _slacks(model.row_count, ranges)]).tocsc() if ranges.size else model.A.tocsc()
    zeros = np.zeros(ranges.size)
    sense, rhs = _senses(model)
    loaded = gurobipy.loadModel(
        env=env,
        numvars=model.column_count + ranges.size,
        numconstrs=model.row_count,
        objcon=model.offset,
        obj=np.concatenate([model.c, zeros]),
        lb=np.concatenate([model.col_lower, zeros]),
        ub=np.concatenate([model.col_upper, (model.row_upper - model.row_lower)[ranges]]),
        vtype=np.where(np.concatenate([model.integer, zeros]), b"I", b"C"),
        constr_csc=(matrix.data, matrix.indices, matrix.indptr),
        sense=sense,
        rhs=rhs,
    )
    _add_special_constraints(loaded, model)
    return loaded


def _add_special_constraints(loaded: Any, model: LinearModel) -> None:
    import gurobipy

    if not (model.sos1.size or model.indicators.size):
        return
    columns = loaded.getVars()
    for first, second in model.sos1.tolist():
        loaded.addSOS(gurobipy.GRB.SOS_TYPE1, [columns[first], columns[second]], [1, 2])
    for binary, value, zero in model.indicators.tolist():
        loaded.addGenConstrIndicator(columns[binary], value, columns[zero], gurobipy.GRB.EQUAL, 0)
    loaded.update()


def _has_lower(model: LinearModel) -> NDArray[np.bool_]:
    return model.row_lower > -INFINITE_BOUND


def _has_upper(model: LinearModel) -> NDArray[np.bool_]:
    return model.row_upper < INFINITE_BOUND


def _slacks(row_count: int, ranges: NDArray[np.intp]) -> sparse.csc_array:
    """One column for each row in `ranges`, with -1 in that row."""
    columns = np.arange(ranges.size)
    return sparse.csc_array((np.full(ranges.size, -1.0), (ranges, columns)), shape=(row_count, ranges.size))


def _senses(model: LinearModel) -> tuple[NDArray[np.bytes_], Array]:
    """Each row's sense and right-hand side: a free row is `<= infinity`, a row with two sides an equality."""
    has_lower = _has_lower(model)
    sense = np.select([has_lower & _has_upper(model), has_lower], [b"=", b">"], b"<")
    return sense, np.where(has_lower, model.row_lower, model.row_upper)


def _constant_name(constants: Any, code: int) -> str:
    """The name in `GRB.Status` or `GRB.Error` of a code, the code itself where it has none."""
    names = (name for name in dir(constants) if not name.startswith("_"))
    return next((name for name in names if getattr(constants, name) == code), str(code))


def _error_result(error: Any, model: Any = None) -> SolveResult:
    """The outcome of a solve that ended in a GurobiError."""
    import gurobipy

    name = _constant_name(gurobipy.GRB.Error, error.errno)
    message = f"Gurobi error {error.errno}: {error}"
    if name == "SIZE_LIMIT_EXCEEDED" and model is not None:
        message = f"licence too small: model has {model.NumVars} variables, {model.NumConstrs} constraints"
    return SolveResult(ERROR_STATUS.get(name, Status.ERROR), raw_status=name, message=message)
