"""Rows of coefficients, carried backwards from a stage to the box of inputs, for many places of a map at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from networks.bounds.patches import Patch, Places, arrive, backwards, fold, patch_behind, single, windows
from networks.bounds.relaxation import Relaxation
from networks.bounds.stages import Stage

Neurons = tuple[Places, Tensor]  # g places of a map, and s channels at each: shape (g, s)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Lower bounds `coefficients . z + constant` on r numbers at each of g places, which may be of different images.

    Attributes
    ----------
    coefficients : Tensor, shape (g, r, height, width, channels)
        On the place's patch of the map of z.
    constant : Tensor, shape (g, r)
    at : Places
        The images, rows and columns from which the rows come; zeros for those of margins.
    """

    coefficients: Tensor
    constant: Tensor
    at: Places


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """One step backwards: through a stage's relaxation and its affine map; the last one, without a stage, at the box.

    The tensors are the relaxation's, as windows of `patch`.
    """

    stage: Stage | None
    patch: Patch
    up_slope: Tensor
    slope_gap: Tensor
    up: Tensor
    gap: Tensor
    room: Tensor

    @property
    def row_size(self) -> int:
        """The most numbers that a row takes up here."""
        sizes = [self.up.shape[-1]]
        if self.stage is not None and self.stage.kernel is not None:
            sizes.append(self.stage.kernel.matrix.shape[1])
        return math.prod(self.patch.size) * max(sizes)

    def lines(self, rows: Rows, share: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`up_slope`, `slope_gap`, `up` and `gap` at the rows' places, shape (g, 1 or r, height, width, channels).

        `share`, shaped as the coefficients, is how much of its room each lower slope takes, from 0 to 1.
        """
        up_slope, slope_gap, up, gap = (
            windows[rows.at][:, None] for windows in (self.up_slope, self.slope_gap, self.up, self.gap)
        )
        if share is None or self.stage is None:
            return up_slope, slope_gap, up, gap
        shift = share * self.room_at(rows)
        return up_slope, slope_gap + shift, up, gap - shift * self.stage.bias

    def room_at(self, rows: Rows) -> Tensor:
        """`room` at the rows' places."""
        return self.room[rows.at][:, None]

    def cross(self, rows: Rows, share: Tensor | None = None) -> tuple[Rows, Tensor]:
        """The rows behind this step, and the coefficients' positive parts before it. The coefficients are used up."""
        up_slope, slope_gap, up, gap = self.lines(rows, share)
        positive = rows.coefficients.clamp(min=0)
        constant = rows.constant + _dot(rows.coefficients, up) - _dot(positive, gap)
        if self.stage is None:
            return replace(rows, constant=constant), positive
        coefficients = rows.coefficients.mul_(up_slope).addcmul_(slope_gap, positive)
        return Rows(backwards(coefficients, rows.at, self.stage, self.patch), constant, rows.at), positive


def _dot(rows: Tensor, lines: Tensor) -> Tensor:
    """(g, r, ...) times (g, 1 or r, ...): shape (g, r)."""
    if lines.shape[1] == 1:
        return torch.bmm(rows.flatten(2), lines.flatten(2).transpose(1, 2))[..., 0]
    return (rows * lines).flatten(2).sum(2)


def way_back(
    stages: Sequence[Stage], relaxations: Sequence[Relaxation], box: Relaxation, patch: Patch
) -> list[Crossing]:
    """The crossings from the last stage's output to the box, for rows that have this patch on that output."""
    crossings = []
    for stage, relaxation in zip(reversed(stages), reversed(relaxations), strict=True):
        crossings.append(_crossing(stage, relaxation, patch))
        patch = patch_behind(stage, patch)
    return [*crossings, _crossing(None, box, patch)]


def _crossing(stage: Stage | None, relaxation: Relaxation, patch: Patch) -> Crossing:
    names = ("up_slope", "slope_gap", "up", "gap", "room")
    return Crossing(stage, patch, *(windows(getattr(relaxation, name), patch) for name in names))


def neuron_rows(stage: Stage, own: Relaxation, neurons: Neurons) -> Rows:
    """Rows on the stage's input for neurons of its map, and after them for the neurons' negatives.

    `own` is the stage's relaxation without its ReLU.
    """
    assert stage.kernel is not None
    at, channels = neurons
    start = single(stage.map)
    kernels = fold(stage.kernel.matrix, stage.kernel, start.size, stage.input_map[2])[channels]
    i, p, q = (index[:, None] for index in at)
    up, gap = own.up[i, p, q, channels], own.gap[i, p, q, channels]
    return Rows(arrive(torch.cat([kernels, -kernels], 1), at, stage, start), torch.cat([up - gap, -up], 1), at)


def lower_bounds(crossings: Sequence[Crossing], rows: Rows) -> Tensor:
    """The rows' least values over the box, shape (g, r), but for what underflow may cost. The rows are used up."""
    for crossing in crossings:
        rows, _ = crossing.cross(rows)
    return rows.constant
