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

import numpy as np

from networks.layers import Array
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

# Searches that may end so have a bound to show; of any other end none is believed.
BOUNDING = {Status.OPTIMAL, Status.TIME_LIMIT, Status.OTHER_LIMIT, Status.TARGET_REACHED, Status.INTERRUPTED}
# A solver's own bound counts only beyond this share of the objective's largest term, and of one: ten times the
# feasibility tolerance that is asked of it.
SOLVER_SAFETY = 1e-6
UNIT = 2.0**-53
SMALLEST_NORMAL = 2.0**-1022


def believed_bound(model: LinearModel, result: SolveResult) -> float:
    """The lower bound to go by: the solver's own, of an LP only as far as its row duals certify it.

    INFEASIBLE has none: what it would prove depends on what was asked.
    """
    if result.status not in BOUNDING or not math.isfinite(result.dual_bound):
        return -math.inf
    certified = -math.inf if result.row_duals is None else certified_bound(model, result.row_duals)
    # Columns without bounds, as the textbook formulation has them, leave the duals nothing to prove.
    return min(result.dual_bound, certified) if math.isfinite(certified) else result.dual_bound


def weak_duality_bound(model: LinearModel, row_duals: Array) -> float:
    """The lower bound of (1) in plain floating point, for `row_duals` of shape (rows,).

    It is -inf where a column without a bound has a reduced cost, however small, of the sign that needs it.
    """
    y, sides = _usable(model, row_duals)
    reduced = model.c - model.A.T @ y
    return float((y * sides).sum() + _least(reduced, reduced, model).sum() + model.offset)


def certified_bound(model: LinearModel, row_duals: Array) -> float:
    """The lower bound of (1) that holds in exact arithmetic, for `row_duals` of shape (rows,).

    Integrality plays no part: of a MILP it bounds the relaxation. It is -inf where a column without a bound has a
    reduced cost that may not be zero, and where a number overflows or is NaN.
    """
    y, sides = _usable(model, row_duals)
    error = 2.0 * (model.row_count + model.column_count + 16) * UNIT
    with np.errstate(over="ignore", invalid="ignore"):
        reduced = model.c - model.A.T @ y
        size = np.abs(model.c) + abs(model.A).T @ np.abs(y)
        uncertain = np.where(size > 0, error * size + len(y) * SMALLEST_NORMAL, 0.0)
        columns = _least(reduced - uncertain, reduced + uncertain, model)
        terms = np.concatenate([y * sides, columns, [model.offset]])
        bound = terms.sum() - error * np.abs(terms).sum() - len(terms) * SMALLEST_NORMAL
    return float(bound) if math.isfinite(bound) else -math.inf


def _usable(model: LinearModel, row_duals: Array) -> tuple[Array, Array]:
    """The duals whose side is there, the others zero, and the sides that they stand for; each of shape (rows,)."""
    lower_side = (row_duals > 0) & np.isfinite(model.row_lower)
    upper_side = (row_duals < 0) & np.isfinite(model.row_upper)
    y = np.where(lower_side | upper_side, row_duals, 0.0)
    return y, np.where(lower_side, model.row_lower, np.where(upper_side, model.row_upper, 0.0))


def _least(low: Array, high: Array, model: LinearModel) -> Array:
    """The least of `r x` over `low <= r <= high` and the column's bounds; shape (columns,)."""
    products = [
        costs * np.where(costs == 0, 0.0, bounds)  # nothing times an infinite bound is nothing
        for costs in (low, high)
        for bounds in (model.col_lower, model.col_upper)
    ]
    return np.asarray(np.min(products, axis=0))
