"""Running points through the network again: what an attack or a solver claims is believed only after this.

What counts is the network in exact arithmetic (`networks.exact`). What runs of it in float64 and in float32 make of a
point is said beside it: their rounding can turn a margin either way.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from networks.exact import SMALLEST_NORMAL, UNIT, exact_outputs, forward_with_error, largest_error, nearest
from networks.instance import Instance
from networks.layers import Array, LayerList

if TYPE_CHECKING:
    import torch

POINTS_AT_ONCE = 250  # in float64: about 100 MB on mnist_cnn
PREPARED_NETWORKS = 4


def replay(network: LayerList, instance: Instance, points: Array) -> Array:
    """The margins at `points` (m, *input_shape) in exact arithmetic, each rounded to nearest; shape (m, k).

    A point has one value, whatever stands beside it, and the sign is right: see `networks.exact.nearest`. Solvers
    leave the ball by their feasibility tolerance: move the points with `into_box` first.
    """
    outputs = exact_outputs(network, points)
    margins = [[nearest(own[instance.label] - own[target]) for target in instance.targets] for own in outputs]
    return np.array(margins).reshape(len(points), len(instance.targets))


def least_margins(network: LayerList, instance: Instance, points: Array) -> tuple[Array, int]:
    """Towards each target the least margin at `points` as `replay` has it, shape (k,), and which point has the least.

    Only points that may have a least one are run in exact arithmetic.
    """
    label, targets = instance.label, list(instance.targets)
    first = np.sort([*{point.tobytes(): index for index, point in reversed([*enumerate(points)])}.values()])
    margins, errors = _against(*_flat(forward_with_error(network, points[first])), np.full(len(first), label))
    margins, errors = margins[:, targets], errors[:, targets]
    with np.errstate(invalid="ignore"):
        may_be_least = ~(margins - errors > (margins + errors).min(axis=0))
    contenders = first[may_be_least.any(axis=1)]
    exact = replay(network, instance, points[contenders])
    return exact.min(axis=0), int(contenders[exact.min(axis=1).argmin()])


def signed_margins(network: LayerList, points: Array, labels: NDArray[np.int64]) -> Array:
    """`f_label - f_t` at each point for every class t, shape (m, classes), in float64; the sign is the exact one.

    Where the error bounds of float64 leave the sign of any of a point's margins open, all of them are rounded exact
    ones. The label's own is zero.

    Parameters
    ----------
    points : ndarray, shape (m, *input_shape)
    labels : ndarray, shape (m,), int
    """
    parts = [slice(start, start + POINTS_AT_ONCE) for start in range(0, len(points), POINTS_AT_ONCE)]
    found = [_signed(network, points[part], labels[part]) for part in parts]
    return np.concatenate([np.empty((0, network.class_count)), *found])


def _signed(network: LayerList, points: Array, labels: NDArray[np.int64]) -> Array:
    outputs = network.forward(points).reshape(len(points), -1)
    coarse = np.full_like(outputs, largest_error(network, points))
    margins, errors = _against(outputs, coarse, labels)
    open_points = np.flatnonzero(_is_open(margins, errors))
    if open_points.size:
        margins[open_points], errors = _against(
            *_flat(forward_with_error(network, points[open_points])), labels[open_points]
        )
        open_points = open_points[_is_open(margins[open_points], errors)]
    for index, exact in zip(open_points, exact_outputs(network, points[open_points]), strict=True):
        margins[index] = [nearest(exact[labels[index]] - value) for value in exact]
    return margins


def _against(outputs: Array, errors: Array, labels: NDArray[np.int64]) -> tuple[Array, Array]:
    """`f_label - f_t` of outputs (m, classes), and how far each may be from the exact one; the label's own is zero."""
    rows = np.arange(len(labels))
    with np.errstate(over="ignore", invalid="ignore"):
        margins = outputs[rows, labels][:, None] - outputs
        errors = (errors[rows, labels][:, None] + errors) * (1 + 16 * UNIT) + 2 * UNIT * np.abs(margins)
    margins[rows, labels], errors[rows, labels] = 0.0, 0.0
    return margins, np.where(np.isfinite(margins), errors + SMALLEST_NORMAL * (margins != 0), np.inf)


def _is_open(margins: Array, errors: Array) -> NDArray[np.bool_]:
    """Which points have a margin that may have another sign."""
    return np.asarray((~(np.abs(margins) > errors) & (errors > 0)).any(axis=1))


def _flat(arrays: tuple[Array, Array]) -> tuple[Array, Array]:
    values, errors = arrays
    return values.reshape(len(values), -1), errors.reshape(len(errors), -1)


def into_box(instance: Instance, points: Array) -> Array:
    """Points of any shape (m, ...) as (m, *input_shape), moved inside the ball exactly; NaN becomes the image's."""
    wide = points.reshape(-1, *instance.image.shape)
    return np.clip(np.where(np.isnan(wide), instance.image, wide), *instance.inner)


def replay_double(network: LayerList, instance: Instance, point: Array) -> float:
    """The smallest margin that a run in float64, of `point` alone, gives; NaN where it gives no number."""
    return _least(instance, network.forward(point[None]))


def replay_single(network: LayerList, instance: Instance, point: Array) -> float:
    """The smallest margin that torch gives in float32 at the float32 input inside the ball that is nearest to `point`.

    Where the ball is too thin to hold a float32 number, the rounded point is taken as it is. NaN is no number.
    """
    import torch

    with torch.no_grad():
        outputs = _single_module(network)(torch.from_numpy(single_inside(instance, point))[None])
    return _least(instance, outputs.double().numpy())


def error_of(network: LayerList, point: Array) -> float:
    """By how much a margin of a run in float64 may be off, whichever machine runs it."""
    return 2 * float(forward_with_error(network, point[None])[1].max())


def is_wrong(margin: float) -> bool:
    """Whether a run that gives this as the smallest margin misclassifies: a tie is not wrong, and no number is."""
    return not margin >= 0


def single_inside(instance: Instance, point: Array) -> NDArray[np.float32]:
    """`point` rounded to float32, then moved inside the ball where float32 numbers lie inside it."""
    inner_lower, inner_upper = instance.inner
    with np.errstate(over="ignore", under="ignore"):
        lower, upper, nearest_single = (side.astype(np.float32) for side in (inner_lower, inner_upper, point))
    lower = np.where(lower < inner_lower, np.nextafter(lower, np.float32(np.inf)), lower)
    upper = np.where(upper > inner_upper, np.nextafter(upper, np.float32(-np.inf)), upper)
    return np.where(lower <= upper, np.clip(nearest_single, lower, upper), nearest_single)


def _least(instance: Instance, outputs: Array) -> float:
    logits = outputs.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        return float((logits[instance.label] - logits[list(instance.targets)]).min())


@lru_cache(maxsize=PREPARED_NETWORKS)
def _single_module(network: LayerList) -> torch.nn.Module:
    return network.to_torch()
