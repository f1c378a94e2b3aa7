"""What row duals prove, whatever the solver claims."""

from __future__ import annotations

import numpy as np

from networks.layers import Array
from solvers.linear_model import LinearModel


def weak_duality_bound(model: LinearModel, row_duals: Array) -> float:
    r"""The bound that any row duals prove, in plain floating point.

    With `y` the duals (a sign whose side is infinite is set to zero) and `r = c - A^T y`, every feasible `x` has
    `c @ x >= sum_i min(y_i l_i, y_i u_i over the sides) + sum_j min(r_j l_j, r_j u_j)`. It is -inf where a column
    without a bound has a reduced cost of that sign, however small (Neumaier and Shcherbina 2004, without its rounding).
    """
    lower_side = (row_duals > 0) & np.isfinite(model.row_lower)
    upper_side = (row_duals < 0) & np.isfinite(model.row_upper)
    y = np.where(lower_side | upper_side, row_duals, 0.0)
    reduced = model.c - model.A.T @ y
    rows = y[lower_side] @ model.row_lower[lower_side] + y[upper_side] @ model.row_upper[upper_side]
    up, down = reduced > 0, reduced < 0
    columns = reduced[up] @ model.col_lower[up] + reduced[down] @ model.col_upper[down]
    return float(rows + columns + model.offset)
