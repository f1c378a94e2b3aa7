"""Running points through the network again: what an attack or a solver claims is believed only after this."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from networks.instance import Instance
from networks.layers import Array, LayerList


def replay(network: LayerList, instance: Instance, points: Array) -> Array:
    """The margins at `points` (m, *input_shape), shape (m, k), in float64.

    Solvers leave the box by their feasibility tolerance: move the points with `into_box` first.
    """
    outputs = network.forward(points).reshape(len(points), -1)
    return np.asarray(outputs @ instance.margins.T)


def into_box(instance: Instance, points: Array) -> Array:
    """Points of any shape (m, ...) as (m, *input_shape), moved inside the ball exactly; NaN becomes the image's."""
    wide = points.reshape(-1, *instance.image.shape)
    return np.clip(np.where(np.isnan(wide), instance.image, wide), *instance.inner)


def replay_single(network: LayerList, instance: Instance, point: Array) -> float:
    """The smallest margin at `point`, computed in float32 by torch at the nearest float32 input inside the box.

    A witness that lives by the last bits of float64 does not survive this. Where the box is too thin to hold a float32
    number, the rounded point is taken as it is.
    """
    import torch

    with torch.no_grad():
        outputs = network.to_torch()(torch.from_numpy(single_inside(instance, point))[None])
    return float((instance.margins @ outputs.double().numpy().ravel()).min())


def single_inside(instance: Instance, point: Array) -> NDArray[np.float32]:
    """`point` rounded to float32, then moved inside the box where float32 numbers lie inside it."""
    lower, upper = instance.lower.astype(np.float32), instance.upper.astype(np.float32)
    lower = np.where(lower < instance.lower, np.nextafter(lower, np.float32(np.inf)), lower)
    upper = np.where(upper > instance.upper, np.nextafter(upper, np.float32(-np.inf)), upper)
    nearest = point.astype(np.float32)
    return np.where(lower <= upper, np.clip(nearest, lower, upper), nearest)
