"""What a back-end answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from networks.layers import Array


class Status(StrEnum):
    """How a solve ended, as the solver itself says: what is in no back-end's table is UNKNOWN, nothing is repaired."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    INFEASIBLE_OR_UNBOUNDED = "infeasible_or_unbounded"
    TIME_LIMIT = "time_limit"
    OTHER_LIMIT = "other_limit"
    TARGET_REACHED = "target_reached"
    INTERRUPTED = "interrupted"
    LICENCE = "licence"
    ERROR = "error"
    UNKNOWN = "unknown"


# A search that ended so may have a bound to show. INFEASIBLE carries the bound of an empty set, infinity.
BOUNDING = {Status.OPTIMAL, Status.TIME_LIMIT, Status.OTHER_LIMIT, Status.TARGET_REACHED, Status.INTERRUPTED}


@dataclass(frozen=True, slots=True, eq=False)
class SolveResult:
    """The outcome of one solve.

    Attributes
    ----------
    status : Status
    objective : float
        Of the best solution found, the model's offset included; NaN without one.
    dual_bound : float
        No solution is below it, says the solver; -inf where it says nothing, and after any end that carries no bound.
    x : ndarray, shape (columns,), or None
        The best solution found.
    row_duals : ndarray, shape (rows,), or None
        Of an LP solved to optimality: the change of the optimum per unit of a row's active side; at least zero at a
        lower side of a minimisation, at most zero at an upper side.
    ray : ndarray, shape (rows,), or None
        Of an infeasible LP: row duals that prove it (Farkas' lemma, `solvers.certify.certified_infeasible`), with the
        signs of `row_duals`; None where the solver has none, as where a bound alone shows it.
    build_s, solve_s : float
        Wall-clock seconds spent handing over the model or the objective, and solving.
    nodes, simplex_iterations : int or None
        None where the solver does not say.
    work : float or None
        The solver's deterministic measure of effort, None where it has none.
    trace : ndarray, shape (m, 3), or None
        Of a MILP's search: seconds since it began, the best solution's objective (infinite without one) and the dual
        bound (-inf without one), a line each time one of them changed; None where the solver does not say.
    raw_status, message : str
        The solver's own words; `message` is for the user and empty where all is well.
    """

    status: Status
    objective: float = math.nan
    dual_bound: float = -math.inf
    x: Array | None = None
    row_duals: Array | None = None
    ray: Array | None = None
    build_s: float = 0.0
    solve_s: float = 0.0
    nodes: int | None = None
    simplex_iterations: int | None = None
    work: float | None = None
    trace: Array | None = None
    raw_status: str = ""
    message: str = ""

    @property
    def gap(self) -> float:
        """`(objective - dual_bound) / max(1, |objective|)`; infinite without a solution or a bound."""
        if self.x is None or not math.isfinite(self.dual_bound):
            return math.inf
        return max(0.0, self.objective - self.dual_bound) / max(1.0, abs(self.objective))
