"""What the back-ends share whose solver is a library in this process: how its answer becomes a `SolveResult`."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

from networks.layers import Array
from solvers.backend import Session
from solvers.backends.dropped import infeasible_is_in_doubt
from solvers.backends.trace import Trace
from solvers.result import SolveResult, Status


class LibrarySession(Session):
    """A session whose solver is asked for its answer field by field."""

    dropped: ClassVar[float]  # coefficients up to this size the solver takes for zero
    _trace: Trace  # of the present search, which `_solve` begins

    def _answer(self, status: Status, raw_status: str) -> SolveResult:
        """The answer that the library holds, given its status."""
        counts = self._counts()  # before anything else is asked: a ray may take another solve
        if status is Status.INFEASIBLE:
            doubt = infeasible_is_in_doubt(self.model, self.dropped, self.options.feasibility_tolerance)
            if doubt:
                return SolveResult(Status.UNKNOWN, raw_status=raw_status, message=doubt, **counts)
        x = self._solution(status)
        solved_lp = status is Status.OPTIMAL and not self.model.is_mip
        return SolveResult(
            status=status,
            objective=math.nan if x is None else self.model.objective(x),
            dual_bound=self._dual_bound(status),
            x=x,
            row_duals=self._lp_duals() if solved_lp else None,
            ray=self._lp_ray() if status is Status.INFEASIBLE and not self.model.is_mip else None,
            trace=self._trace.array() if self.model.is_mip else None,
            raw_status=raw_status,
            message=f"{self.backend.name} ended with {raw_status}" if status in (Status.ERROR, Status.UNKNOWN) else "",
            **counts,
        )

    def _dual_bound(self, status: Status) -> float:
        if status is Status.INFEASIBLE:
            return math.inf
        if self.model.is_mip:
            return self._mip_bound(status)
        return self._lp_objective() if status is Status.OPTIMAL else -math.inf

    @abstractmethod
    def _solution(self, status: Status) -> Array | None:
        """The best solution, shape (columns,); None without one."""

    @abstractmethod
    def _mip_bound(self, status: Status) -> float:
        """The dual bound of a MILP that is not infeasible; -inf without one."""

    @abstractmethod
    def _lp_objective(self) -> float:
        """The optimum of a solved LP, in the solver's own words."""

    @abstractmethod
    def _lp_duals(self) -> Array:
        """The row duals of a solved LP, shape (rows,)."""

    @abstractmethod
    def _lp_ray(self) -> Array | None:
        """The Farkas ray of an infeasible LP, shape (rows,); None without one."""

    @abstractmethod
    def _counts(self) -> dict[str, Any]:
        """What the solver counts, by the names of a `SolveResult`'s attributes."""
