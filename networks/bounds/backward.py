"""Rows of coefficients carried backwards from a stage's output to the box, all rows of a kind at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from networks.bounds.patches import Patch, backwards, patch_behind, windows
from networks.bounds.relaxation import Relaxation
from networks.bounds.stages import Map, Stage


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Lower bounds `coefficients . z + constant` on r numbers for each of g places, which may be of different images.

    Attributes
    ----------
    coefficients : Tensor, shape (g, r, height, width, channels)
        On the place's patch of the map of z.
    constant : Tensor, shape (g, r)
    images : Tensor, shape (g,), int64
    corners : Tensor, shape (g, 2), int64
        The first place of each patch.
    """

    coefficients: Tensor
    constant: Tensor
    images: Tensor
    corners: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """One step backwards, through a stage's relaxation and its affine map; at the box `stage` is None and all ends.

    The tensors are the relaxation's, as windows.
    """

    stage: Stage | None
    patch: Patch
    up_slope: Tensor
    slope_gap: Tensor
    up: Tensor
    gap: Tensor
    room: Tensor

    def window(self, name: str, rows: Rows) -> Tensor:
        """The places' windows of a relaxation's tensor: shape (g, 1, height, width, channels)."""
        p, q = (rows.corners - rows.corners.new_tensor(self.patch.first)).unbind(1)
        values: Tensor = getattr(self, name)[rows.images, p, q]
        return values[:, None]

    def cross(self, rows: Rows, share: Tensor | None = None) -> tuple[Rows, Tensor]:
        """The rows on the stage's input, and their coefficients' positive parts. The old coefficients are used up.

        `share`, shaped as the coefficients, is how much of its room each lower slope takes, from 0 to 1.
        """
        positive = rows.coefficients.clamp(min=0)
        up, gap = self.window("up", rows), self.window("gap", rows)
        constant = rows.constant + _dot(rows.coefficients, up) - _dot(positive, gap)
        if self.stage is None:
            return replace(rows, constant=constant), positive
        slope_gap = self.window("slope_gap", rows)
        if share is not None:
            shift = share * self.window("room", rows)
            constant += _dot(positive * shift, self.stage.bias.expand_as(gap))
            slope_gap = slope_gap + shift
        coefficients = rows.coefficients.mul_(self.window("up_slope", rows)).addcmul_(slope_gap, positive)
        coefficients, corners = backwards(coefficients, rows.corners, self.stage, self.patch)
        return Rows(coefficients, constant, rows.images, corners), positive


def _dot(rows: Tensor, window: Tensor) -> Tensor:
    """(g, r, ...) times (g, 1, ...): shape (g, r)."""
    return torch.bmm(rows.flatten(2), window.flatten(2).transpose(1, 2))[..., 0]


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


def lower_bounds(crossings: Sequence[Crossing], rows: Rows) -> Tensor:
    """The rows' least values over the box, shape (g, r), but for what underflow may cost. The rows are used up."""
    for crossing in crossings:
        rows, _ = crossing.cross(rows)
    return rows.constant
