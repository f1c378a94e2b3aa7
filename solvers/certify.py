r"""What row duals prove, whatever the solver claims.

Neumaier and Shcherbina, "Safe bounds in linear and mixed-integer linear programming", Mathematical Programming 99
(2004). For any `y` whose signs fit the sides that its rows have, and `r = c - A^T y`, every feasible x has

    c @ x >= sum_i y_i side_i + sum_j min(r_j l_j, r_j u_j)                                                         (1)

with `side_i` the lower side where `y_i > 0` and the upper one where `y_i < 0`. A dual whose sign asks for a side that
its row does not have counts as zero.

As computed, with `u = 2^-53`, the reduced cost of a column with k entries is off by at most
`gamma_{k+1} (|c_j| + sum_i |A_ij| |y_i|)` (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), which
costs (1) that much times `max(|l_j|, |u_j|)`; and a sum of n products by `gamma_n` times the sum of their absolute
values. `e = 2 (n + 16) u`, with n the number of rows and columns together, is nearly twice the largest of these gammas:
it also covers the rounding of the error terms themselves, which are sums of non-negative numbers. Underflow costs at
most `t = 2^-1022` an operation.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from networks.exact import SMALLEST_NORMAL, UNIT
from networks.layers import Array
from networks.lowering import BoundsPair
from solvers.linear_model import LinearModel
from solvers.result import BOUNDING, SolveResult

LARGEST = sys.float_info.max


class LowerBound(NamedTuple):
    """What a solve says of the minimum: the bound to go by, and the one that holds in exact arithmetic, or -inf."""

    believed: float
    certified: float


def lower_bound(
    model: LinearModel, result: SolveResult, box: BoundsPair | None = None, *, exact: bool = False
) -> LowerBound:
    """The lower bounds of a result on the objective, the offset included.

    Of an LP whose row duals prove something, that proof; of anything else the solver's own dual bound, if the way in
    which the search ended gives one. INFEASIBLE gives none: what it would prove depends on what was asked.

    Parameters
    ----------
    box, exact
        As in `certified_bound`.
    """
    if result.status not in BOUNDING or not math.isfinite(result.dual_bound):
        return LowerBound(-math.inf, -math.inf)
    certified = -math.inf
    if result.row_duals is not None:
        certified = certified_bound(model, result.row_duals, box, exact=exact)
    return LowerBound(certified if math.isfinite(certified) else result.dual_bound, certified)


def less(bound: float, error: float) -> float:
    """`bound - error` for an error of at least zero, rounded down."""
    return math.nextafter(bound - error, -math.inf) if error else bound


def certified_infeasible(model: LinearModel, ray: Array, *, exact: bool = False) -> bool:
    """Whether `ray`, of shape (rows,), proves that the model has no solution, integral or not.

    Farkas' lemma is equation (1) without costs: where it bounds zero from below by more than zero, there is none.
    """
    return certified_bound(model.with_objective(np.zeros(model.column_count), 0.0), ray, exact=exact) > 0


def weak_duality_bound(model: LinearModel, row_duals: Array) -> float:
    """The lower bound of (1) in plain floating point, for `row_duals` of shape (rows,).

    It is -inf where a column without a bound has a reduced cost, however small, of the sign that needs it.
    """
    y, sides = _usable(model, row_duals)
    reduced = model.c - model.A.T @ y
    return float((y * sides).sum() + _least(reduced, reduced, (model.col_lower, model.col_upper)).sum() + model.offset)


def certified_bound(
    model: LinearModel, row_duals: Array, box: BoundsPair | None = None, *, exact: bool = False
) -> float:
    """The lower bound of (1) that holds in exact arithmetic, for `row_duals` of shape (rows,).

    Integrality plays no part: of a MILP it bounds the relaxation. It is -inf where a column without a bound has a
    reduced cost that may not be zero, and where a number overflows or is NaN.

    Parameters
    ----------
    box : (ndarray, ndarray), each of shape (columns,), optional
        Bounds on the columns in place of the model's own. What is proved is then about the solutions within the box.
    exact : bool
        By rational arithmetic (`exact_bound`), which is rounded once, instead of by error bounds: far slower, and
        nearer to what the duals prove.
    """
    box = (model.col_lower, model.col_upper) if box is None else box
    if exact:
        return _rounded_down(exact_bound(model, row_duals, box))
    y, sides = _usable(model, row_duals)
    error = 2.0 * (model.row_count + model.column_count + 16) * UNIT
    with np.errstate(over="ignore", invalid="ignore"):
        weights = abs(model.A)
        reduced = model.c - model.A.T @ y
        size = np.abs(model.c) + weights.T @ np.abs(y)
        # A reduced cost is nothing for certain only where no product can have vanished.
        vanishing = np.abs(y[y != 0]).min(initial=1.0) * weights.data.min(initial=1.0) <= SMALLEST_NORMAL
        nothing = (size == 0) & (not vanishing)
        uncertain = np.where(nothing, 0.0, error * size + len(y) * SMALLEST_NORMAL)
        columns = _least(reduced - uncertain, reduced + uncertain, box)
        terms = np.concatenate([y * sides, columns, [model.offset]])
        bound = terms.sum() - error * np.abs(terms).sum() - len(terms) * SMALLEST_NORMAL
    return float(bound) if math.isfinite(bound) else -math.inf


def exact_bound(model: LinearModel, row_duals: Array, box: BoundsPair | None = None) -> Fraction | None:
    """The lower bound of (1) itself, as doubles are rational numbers; None where it is -inf."""
    if not np.isfinite(row_duals).all():
        return None
    lower, upper = (model.col_lower, model.col_upper) if box is None else box
    y, sides = _usable(model, row_duals)
    total = Fraction(model.offset) + sum(map(_product, y.tolist(), sides.tolist()))
    reduced = [Fraction(c) for c in model.c.tolist()]
    entries = model.A.tocoo()
    for row, column, value in zip(entries.row.tolist(), entries.col.tolist(), entries.data.tolist(), strict=True):
        if y[row]:
            reduced[column] -= _product(float(y[row]), value)
    for cost, low, high in zip(reduced, lower.tolist(), upper.tolist(), strict=True):
        bound = low if cost > 0 else high
        if cost and math.isinf(bound):
            return None
        total += cost * Fraction(bound) if cost else 0
    return total


def _product(a: float, b: float) -> Fraction:
    return Fraction(a) * Fraction(b)


def _rounded_down(bound: Fraction | None) -> float:
    """The largest double that is no larger; -inf for None."""
    if bound is None:
        return -math.inf
    try:
        nearest = float(bound)
    except OverflowError:
        return -math.inf if bound < 0 else LARGEST
    return nearest if Fraction(nearest) <= bound else math.nextafter(nearest, -math.inf)


def _usable(model: LinearModel, row_duals: Array) -> tuple[Array, Array]:
    """The duals whose side is there, the others zero, and the sides that they stand for; each of shape (rows,)."""
    lower_side = (row_duals > 0) & np.isfinite(model.row_lower)
    upper_side = (row_duals < 0) & np.isfinite(model.row_upper)
    y = np.where(lower_side | upper_side, row_duals, 0.0)
    return y, np.where(lower_side, model.row_lower, np.where(upper_side, model.row_upper, 0.0))


def _least(low: Array, high: Array, box: BoundsPair) -> Array:
    """The least of `r x` over `low <= r <= high` and the column's bounds in the box; shape (columns,)."""
    products = [
        costs * np.where(costs == 0, 0.0, bounds)  # nothing times an infinite bound is nothing
        for costs in (low, high)
        for bounds in box
    ]
    return np.asarray(np.min(products, axis=0))
