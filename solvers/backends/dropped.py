"""Coefficients that a solver takes for zero: the model that it calls infeasible is then not the one it was given."""

from __future__ import annotations

import numpy as np

from solvers.linear_model import LinearModel


def infeasible_is_in_doubt(model: LinearModel, smallest: float, tolerance: float) -> str:
    """Why "infeasible" proves nothing of a model whose coefficients up to `smallest` are dropped; empty if it does.

    Without them the activity of row i is off by at most `sum_j |A_ij| max(|l_j|, |u_j|)` over the dropped ones. Within
    the feasibility tolerance the model is as good as the one given, unless a row loses all its coefficients. What that
    can do to a network's margin is in its safety (`solvers.safety`), whatever the status.
    """
    sizes = abs(model.A)
    small = sizes.data <= smallest
    if not small.any():
        return ""
    kept = sizes.copy()
    sizes.data[~small], kept.data[small] = 0.0, 0.0
    sizes.eliminate_zeros()
    reach = sizes @ np.maximum(np.abs(model.col_lower), np.abs(model.col_upper))
    emptied = (reach > 0) & (kept.sum(axis=1) == 0)
    if not ((reach > tolerance) | emptied).any():
        return ""
    return f"infeasible, but of the model without its coefficients up to {smallest:g}, which the solver drops"
