"""What a solver's tolerances can hide in a model of a network.

A solver answers for some model near the one that it was given: each row, bound and integrality may be off by its
tolerance t, each reduced cost too, and a coefficient that it takes for zero is gone. Where row i of the network is
off by `d_i`, the margin is off by at most

    sum over i of |dm/ds_i| d_i                                                                                   (1)

with `dm/ds_i` the largest that the margin's derivative by the pre-activation `s_i` can be. Derivatives go backward
through the layers as intervals: `J W` through a weight matrix, and through a ReLU times 1 where it is active, 0 where
it is not, and [0, 1] where its sign is open.

In the units of `solvers.scaling`, with `FACTOR` as room for what solvers do not promise, d is `FACTOR t` times

- for a neuron, the larger of one and of its bounds: a row is off by t, and a binary that is off by t moves its neuron
  by t times its big-M;
- for an input, the larger of one and of its bounds, but at most its width;

and what the coefficients up to `SMALLEST_COEFFICIENT` can add up to in the row. To (1) comes `FACTOR t` times the
largest term of the margin, as its own row may be off, and times the width of every column, as its reduced cost may
be; and the gap. A margin has to clear the sum.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
from scipy import sparse

from networks.layers import Array
from networks.lowering import Affine, BoundsPair
from solvers.scaling import Scaled, size

FACTOR = 10.0
STOP_FACTOR = 1.125  # a bound must be larger than the safety, and not only as large
SMALLEST_COEFFICIENT = 1e-9  # the largest of the solvers' thresholds below which a coefficient is dropped


class Tolerance(NamedTuple):
    """The largest of a solver's feasibility, integrality and dual tolerances, and its gap."""

    feasibility: float
    gap: float


def margin_safety(scaled: Scaled, J: Array, scales: Array, tolerance: Tolerance) -> Array:
    """How far a solver's bounds on the margins may be above the true minima; shape (k,).

    Parameters
    ----------
    scaled : Scaled
        The network as the model has it.
    J : ndarray, shape (k, neurons of the last hidden layer)
        What the margins are made of: their derivatives by the last ReLUs' outputs.
    scales : ndarray, shape (k,)
        What the solver's objectives are divided by.
    tolerance : Tolerance
        The solver's.

    Returns
    -------
    ndarray
        Infinite where the numbers of the network leave the range of doubles.
    """
    reached, (lower, upper) = scaled.reaches, scaled.box
    unit = FACTOR * tolerance.feasibility
    with np.errstate(over="ignore", invalid="ignore"):
        widths = (upper - lower).sum() + sum((1.0 + size(pair)).sum() for pair in scaled.pre_activations)
        terms = np.abs(J * reached[-1])
        small = np.abs(J) <= SMALLEST_COEFFICIENT * scales[:, None]
        total = (unit + tolerance.gap) * np.maximum(scales, terms.max(axis=1, initial=0.0)) + unit * scales * widths
        total += (terms * small).sum(axis=1)
        low = high = J
        layers = zip(scaled.network.hidden, scaled.pre_activations, reached, strict=False)
        for affine, bounds, reach in reversed(list(layers)):
            low, high = _through_relu(low, high, bounds)
            total += size((low, high)) @ (unit * np.maximum(1.0, size(bounds)) + _dropped(affine, reach))
            low, high = _through_weights(low, high, affine.A)
        total += size((low, high)) @ np.minimum(upper - lower, unit * np.maximum(1.0, reached[0]))
    return np.asarray(np.where(np.isfinite(total), total, np.inf))


def enough(safety: float, scale: float = 1.0) -> float:
    """The bound at which a search may end, as it clears the safety; in units of `scale`, the largest double at most."""
    return min(STOP_FACTOR * float(safety) / scale, sys.float_info.max)


def _through_relu(low: Array, high: Array, bounds: BoundsPair) -> BoundsPair:
    """The derivatives by the input of a ReLU layer, given those by its output."""
    lower, upper = bounds
    live, open_ = upper > 0, lower < 0
    return (
        np.where(live, np.where(open_, np.minimum(low, 0.0), low), 0.0),
        np.where(live, np.where(open_, np.maximum(high, 0.0), high), 0.0),
    )


def _through_weights(low: Array, high: Array, A: sparse.csr_array) -> BoundsPair:
    """The derivatives by the input of an affine map, given those by its output, by centre and radius."""
    centre, radius = (low + high) / 2 @ A, (high - low) / 2 @ abs(A)
    return np.asarray(centre - radius), np.asarray(centre + radius)


def _dropped(affine: Affine, reach: Array) -> Array:
    """What the coefficients that a solver may take for zero can add up to in each row; shape (out,)."""
    sizes = abs(affine.A)
    small = sizes.data <= SMALLEST_COEFFICIENT
    kept = sparse.csr_array((sizes.data * small, sizes.indices, sizes.indptr), shape=sizes.shape)
    return np.asarray(kept @ reach)
