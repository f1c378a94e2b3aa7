"""What a stage's ReLU is between: two lines for every neuron, by its pre-activation bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from networks.bounds.boxes import Pair
from networks.bounds.interval import AffineStep
from networks.bounds.stages import Map, Stage, on_map

# Above all that underflow, or flushing to zero, can cost in sums of less than 2^30 terms, and next to nothing.
FLOOR = 2.0**-900


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """`low_slope s + low <= z <= up_slope s + up` for `z = relu(s + b)`, each of shape (n, height, width, channels).

    `room` is what may be added to a lower slope: -1 or 1 for an unstable neuron, else 0. `slack`, shape (n,), is what
    underflow may cost a row.
    """

    up_slope: Tensor
    slope_gap: Tensor  # of the lower slope to the upper one
    up: Tensor
    gap: Tensor  # of the lower intercept to the upper one
    room: Tensor
    slack: Tensor


def _adaptive(l: Tensor, u: Tensor) -> Tensor:
    """The slope, 0 or 1, of the smaller area (Zhang et al. 2018, Singh et al. 2019)."""
    return (u > -l).to(u.dtype)


def _parallel(l: Tensor, u: Tensor) -> Tensor:
    """The upper line's slope: one pass is a feasible point of the LP's dual (Wong and Kolter 2018)."""
    return u / (u - l)


LOWER_SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "adaptive": _adaptive,
    "parallel": _parallel,
    "optimised": _adaptive,  # where the ascent starts
}


def relax(stage: Stage, step: AffineStep | None, box: Pair, pre: Pair, error: float, slopes: str) -> Relaxation:
    """The relaxation of a stage's ReLU, or of nothing at all where the stage has none; roundings included.

    `box` are the bounds on the affine map's input, `pre` those on its output, each (n, *shape of the layer).
    """
    l, u = (on_map(values, stage.map) for values in pre)
    b = stage.bias
    sizes, floor = _sizes(stage, step, box)
    sizes += torch.maximum(l.abs(), u.abs())
    if stage.relu:
        low_slope, up_slope, room = _slopes(l, u, LOWER_SLOPES[slopes])
        height = torch.where(room != 0, torch.maximum(-up_slope * l, u - up_slope * u), 0.0)
    else:
        low_slope, up_slope, room, height = torch.ones_like(l), torch.ones_like(l), torch.zeros_like(l), 0.0
    loss = error * (sizes + height + floor[:, None, None, None])
    if stage.relu:
        loss = torch.where(u > 0, loss, 0.0)
    up = up_slope * b + height + loss
    gap = up - low_slope * b + loss
    return Relaxation(up_slope, low_slope - up_slope, up, gap, room, floor + FLOOR * (sizes + height).sum((1, 2, 3)))


def relax_box(box: Pair, place: Map, error: float) -> Relaxation:
    """The box of inputs as the intercepts of lines without a slope."""
    l, u = (on_map(values, place) for values in box)
    sizes = torch.maximum(l.abs(), u.abs())
    loss = error * (sizes + FLOOR)
    zeros = torch.zeros_like(l)
    return Relaxation(zeros, zeros, u + loss, u - l + 2 * loss, zeros, FLOOR * (1 + sizes.sum((1, 2, 3))))


def _slopes(l: Tensor, u: Tensor, lower_slope: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The lower and upper slopes, and the room of the lower ones."""
    unstable = (l < 0) & (u > 0)
    stable_slope = (u > 0).to(u.dtype)
    low_slope = torch.where(unstable, lower_slope(l, u), stable_slope)
    up_slope = torch.where(unstable, u / (u - l), stable_slope)
    return low_slope, up_slope, torch.where(unstable, 1 - 2 * low_slope, 0.0)


def _sizes(stage: Stage, step: AffineStep | None, box: Pair) -> Pair:
    """`|W| |z| + |b|` on the stage's map, and the floor of each image."""
    values = torch.maximum(box[0].abs(), box[1].abs())
    floor = FLOOR * (1 + values.flatten(1).sum(1))
    if step is not None:
        values = 2 * step.product(values, step.radius, step.bias.abs())
    return on_map(values, stage.map), floor
