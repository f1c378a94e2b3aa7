"""The row duals of an LP: their signs, their values, and what they prove."""

from __future__ import annotations

import numpy as np

from networks.layers import Array
from solvers.certify import certified_infeasible, weak_duality_bound
from solvers.conformance.candidate import TOLERANCE, Candidate, expect, expect_near
from solvers.conformance.models import INF, LPS, model, random_lp
from solvers.linear_model import LinearModel

DUAL_TOLERANCE = 1e-5  # of an interior-point method's
STEP = 1e-4
# A cost, the sides of the row `x0 + 2 x1`, and its dual.
ACTIVE_SIDES = [(1.0, (1.0, 3.0), 1.0), (-1.0, (1.0, 3.0), -1.0), (1.0, (1.0, INF), 1.0), (-1.0, (-INF, 3.0), -1.0)]


def signs(candidate: Candidate) -> None:
    """A dual is at least zero at a lower side and at most zero at an upper one."""
    for cost, sides, dual in ACTIVE_SIDES:
        lp = model([cost, 2 * cost], [[1, 2]], [sides], [(0, 9), (0, 9)])
        (found,) = _duals(candidate, lp)
        row = f"{sides[0]:g} <= x0 + 2 x1 <= {sides[1]:g}"
        expect_near(f"min {cost:g} (x0 + 2 x1), dual of {row}", found, dual, DUAL_TOLERANCE)
    for name, lp, _ in _boxed():
        duals = _duals(candidate, lp)
        no_lower, no_upper = np.isinf(lp.row_lower), np.isinf(lp.row_upper)
        wrong = (no_lower & (duals > DUAL_TOLERANCE)) | (no_upper & (duals < -DUAL_TOLERANCE))
        expect(not wrong.any(), f"{name}: row duals {duals}", "the sign of a side that the row has")


def weak_duality(candidate: Candidate) -> None:
    """The bound that follows from the duals, equation (1) of `solvers.certify`, is the optimum."""
    for name, lp, optimum in _boxed():
        bound = weak_duality_bound(lp, _duals(candidate, lp))
        expect_near(f"{name}: the bound from the row duals", bound, optimum, 2 * TOLERANCE)


def slopes(candidate: Candidate) -> None:
    """A dual is the change of the optimum per unit of the row's active side."""
    lp = random_lp(5)
    duals, optimum = _duals(candidate, lp), candidate.solve(lp).objective
    moved = [candidate.solve(_shifted(lp, row, STEP)).objective for row in range(lp.row_count)]
    for row, (dual, objective) in enumerate(zip(duals, moved, strict=True)):
        expect_near(f"dual of row {row}", float(dual), (objective - optimum) / STEP, 1e-3)


def ray(candidate: Candidate) -> None:
    """The ray of an infeasible LP proves it in exact arithmetic (Farkas' lemma)."""
    for seed in range(3):
        lp = _infeasible(random_lp(seed), row=seed)
        result = candidate.solve(lp)
        expect(result.ray is not None, f"status {result.status} without a ray", "an infeasible LP with its ray")
        proved = result.ray is not None and certified_infeasible(lp, result.ray, exact=True)
        expect(proved, f"a ray {result.ray} that proves nothing", "one that proves the LP infeasible")


def _infeasible(lp: LinearModel, row: int) -> LinearModel:
    """The LP with a row beyond what its box allows."""
    beyond = float((abs(lp.A[[row]]) @ np.maximum(abs(lp.col_lower), abs(lp.col_upper)))[0]) + 1.0
    lower, upper = lp.row_lower.copy(), lp.row_upper.copy()
    lower[row], upper[row] = beyond, beyond + 1.0
    return LinearModel(lp.c, lp.A, lower, upper, lp.col_lower, lp.col_upper, lp.integer, lp.offset)


def _boxed() -> list[tuple[str, LinearModel, float]]:
    """The LPs with an optimum, which is the last, and no open column: of one an approximate dual proves nothing."""
    return [
        (tiny.name, tiny.model, tiny.optimum)
        for tiny in LPS
        if tiny.optimum is not None and np.isfinite([tiny.model.col_lower, tiny.model.col_upper]).all()
    ]


def _duals(candidate: Candidate, lp: LinearModel) -> Array:
    duals = candidate.solve(lp).row_duals
    shape = None if duals is None else duals.shape
    expect(shape == (lp.row_count,), f"row duals of shape {shape}", f"({lp.row_count},)")
    return np.asarray(duals)


def _shifted(lp: LinearModel, row: int, step: float) -> LinearModel:
    """The LP with both sides of one row moved up."""
    move = np.zeros(lp.row_count)
    move[row] = step
    sides = lp.row_lower + move, lp.row_upper + move
    return LinearModel(lp.c, lp.A, *sides, lp.col_lower, lp.col_upper, lp.integer, lp.offset)
