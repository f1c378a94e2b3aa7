"""Back-ends that answer, and lie, each in one way; named by entry points, as workers know no others."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np

from solvers.backend import Limits, SolverOptions
from solvers.backends.highs_ import Highs, HighsSession
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

TOO_HIGH = 0.01  # share of the bound
OUTSIDE = 0.5  # what a witness misses the ball by


class LyingSession(HighsSession):
    """HiGHS, its answers made into something else."""

    def _solve(self, limits: Limits) -> SolveResult:
        return self._lie(super()._solve(limits))

    def _lie(self, result: SolveResult) -> SolveResult:
        raise NotImplementedError


class _Lying(Highs):
    session: ClassVar[type[HighsSession]]

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        return self.session(model, options or SolverOptions(), self)


class _IncumbentSession(HighsSession):
    """Stops a MILP at its first solution, out of time, and calls that the optimum."""

    def _solve(self, limits: Limits) -> SolveResult:
        if not self.model.is_mip:
            return super()._solve(limits)
        first = self._image()
        objective = self.model.objective(first)
        return SolveResult(Status.OPTIMAL, objective, objective, first, nodes=0, raw_status="kTimeLimit")

    def _image(self) -> np.ndarray:
        """A solution that is feasible and not the best: that of the opposite objective."""
        opposite = LinearModel(
            -self.model.c,
            self.model.A,
            *(self.model.row_lower, self.model.row_upper, self.model.col_lower, self.model.col_upper),
            self.model.integer,
        )
        with Highs().load(opposite, self.options) as session:
            x = session.solve(5.0).x
        assert x is not None
        return x


class IncumbentAsOptimal(_Lying):
    """Reports the incumbent at a time limit as optimal."""

    name: ClassVar[str] = "incumbent_as_optimal"
    session = _IncumbentSession


class _TooHighSession(LyingSession):
    def _lie(self, result: SolveResult) -> SolveResult:
        return replace(result, dual_bound=result.dual_bound + TOO_HIGH * abs(result.dual_bound))


class BoundTooHigh(_Lying):
    """Its bounds are one per cent too high."""

    name: ClassVar[str] = "bound_too_high"
    session = _TooHighSession


class _InfeasibleSession(HighsSession):
    def _solve(self, limits: Limits) -> SolveResult:
        return SolveResult(Status.INFEASIBLE, dual_bound=math.inf, raw_status="kInfeasible")


class AlwaysInfeasible(_Lying):
    """Says infeasible of everything."""

    name: ClassVar[str] = "always_infeasible"
    session = _InfeasibleSession


class _OutsideSession(LyingSession):
    def _lie(self, result: SolveResult) -> SolveResult:
        if result.x is None:
            return result
        x = result.x.copy()
        inputs = slice(0, 784)
        x[inputs] = np.where(np.arange(784) % 2, self.model.col_upper[inputs] + OUTSIDE, x[inputs])
        return replace(result, x=x)


class WitnessOutside(_Lying):
    """Its solutions lie outside the ball."""

    name: ClassVar[str] = "witness_outside"
    session = _OutsideSession
