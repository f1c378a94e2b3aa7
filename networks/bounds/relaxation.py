"""Two lines around every ReLU, by its pre-activation bounds, with room for all rounding errors: see `linear`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from networks.bounds.boxes import Pair
from networks.bounds.stages import Map, Stage, on_map

FLOOR = 2.0**-900  # far above what underflow costs in any sum here, far below what anyone asks for


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """`low_slope s + low <= relu(s + b) <= up_slope s + up`, where `s` is the affine map without its bias b.

    All but `slack` have the shape (n, height, width, channels). At the box of inputs the slopes are zero.

    Attributes
    ----------
    up_slope, up : Tensor
    slope_gap, gap : Tensor
        `low_slope - up_slope` and `up - low`.
    room : Tensor
        What can be added to a lower slope: 1 or -1 for an unstable neuron, else 0.
    slack : Tensor, shape (n,)
        What underflow may cost a row here.
    """

    up_slope: Tensor
    slope_gap: Tensor
    up: Tensor
    gap: Tensor
    room: Tensor
    slack: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """Bounds on what a stage's affine map adds up.

    Attributes
    ----------
    terms : Tensor, shape (n, height, width, channels)
        At least `|W| |z| + |b|`.
    floor : Tensor, shape (n,)
        `FLOOR (1 + sum of |z|)`.
    """

    terms: Tensor
    floor: Tensor


def sizes_of(stage: Stage, inner: Pair) -> Sizes:
    """The sizes for bounds on the affine map's input, as its layer shapes them."""
    values = torch.maximum(inner[0].abs(), inner[1].abs())
    floor = FLOOR * (1 + values.flatten(1).sum(1))
    if stage.step is not None:
        values = 2 * stage.step.product(values, stage.step.radius, stage.step.bias.abs())
    return Sizes(on_map(values, stage.map), floor)


def _adaptive(l: Tensor, u: Tensor) -> Tensor:
    """0 or 1, whichever leaves the smaller area (Zhang et al. 2018, Singh et al. 2019)."""
    return (u > -l).to(u.dtype)


def _parallel(l: Tensor, u: Tensor) -> Tensor:
    """The upper slope, which makes a pass a feasible point of the LP's dual (Wong and Kolter 2018)."""
    return u / (u - l)


LOWER_SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "adaptive": _adaptive,
    "parallel": _parallel,
    "optimised": _adaptive,  # where the ascent starts
}


def relax(stage: Stage, sizes: Sizes, outer: Pair, error: float, slopes: str) -> Relaxation:
    """The relaxation of a stage's ReLU, or of the identity where it has none.

    Parameters
    ----------
    sizes : Sizes
    outer : (Tensor, Tensor)
        Bounds on the output of the affine map, as its layer shapes them.
    error : float
        `Stages.error`.
    slopes : str
        One of `LOWER_SLOPES`.
    """
    l, u = (on_map(bound, stage.map) for bound in outer)
    terms = sizes.terms + torch.maximum(l.abs(), u.abs())
    low_slope, up_slope = _slopes(l, u, LOWER_SLOPES[slopes]) if stage.relu else (torch.ones_like(l),) * 2
    unstable = (l < 0) & (u > 0) & stage.relu
    height = torch.where(unstable, torch.maximum(-up_slope * l, u - up_slope * u), 0.0)
    loss = error * (terms + height + sizes.floor[:, None, None, None])
    if stage.relu:
        loss = torch.where(u > 0, loss, 0.0)  # what is zero for certain loses nothing
    up = up_slope * stage.bias + height + loss
    gap = up - (low_slope * stage.bias - loss)
    room = torch.where(unstable, 1 - 2 * low_slope, 0.0)
    slack = sizes.floor + FLOOR * (terms + height).sum((1, 2, 3))
    return Relaxation(up_slope, low_slope - up_slope, up, gap, room, slack)


def relax_box(box: Pair, place: Map, error: float) -> Relaxation:
    """The box of inputs, on which rows end."""
    l, u = (on_map(bound, place) for bound in box)
    sizes = torch.maximum(l.abs(), u.abs())
    loss = error * (sizes + FLOOR)
    zeros = torch.zeros_like(l)
    return Relaxation(zeros, zeros, u + loss, (u + loss) - (l - loss), zeros, FLOOR * (1 + sizes.sum((1, 2, 3))))


def _slopes(l: Tensor, u: Tensor, lower_slope: Callable[[Tensor, Tensor], Tensor]) -> Pair:
    unstable, stable_slope = (l < 0) & (u > 0), (u > 0).to(u.dtype)
    low_slope = torch.where(unstable, lower_slope(l, u), stable_slope)
    return low_slope, torch.where(unstable, u / (u - l), stable_slope)
