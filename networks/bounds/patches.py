"""Patches: the part of a map that a row of coefficients depends on, and its way back through an affine map."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from networks.bounds.stages import Axes, Kernel, Map, Stage

START: Axes = (0, 0)


@dataclass(frozen=True, slots=True)
class Patch:
    """The size of the patches of rows of one kind, and the least and the largest place of their corners on the map.

    A patch may lap over the map's edge by a convolution's padding; relaxations make all coefficients out there zero.
    """

    size: Axes
    first: Axes = START
    last: Axes = START

    def behind(self, kernel: Kernel) -> Patch:
        """The patches on the input of an affine map."""
        rows, columns = (
            (h - 1) * s + (k - 1) * d + 1
            for h, k, s, d in zip(self.size, kernel.size, kernel.stride, kernel.dilation, strict=True)
        )
        return Patch((rows, columns), _corner(self.first, kernel), _corner(self.last, kernel))

    @property
    def fixed(self) -> bool:
        """Whether all patches are at one place."""
        return self.first == self.last

    def covers(self, place: Map) -> bool:
        """Whether the patches are as large as the map or larger."""
        return math.prod(self.size) >= place[0] * place[1]

    def overlap(self, place: Map) -> tuple[int, int, int, int]:
        """How far the patches lap over the map: left, right, top and bottom."""
        top, left = (max(0, -corner) for corner in self.first)
        bottom, right = (max(0, c + h - H) for c, h, H in zip(self.last, self.size, place, strict=False))
        return left, right, top, bottom


def _corner(corner: Axes, kernel: Kernel) -> Axes:
    (p, q), (down, right), (above, left) = corner, kernel.stride, kernel.padding
    return p * down - above, q * right - left


def patch_behind(stage: Stage, patch: Patch) -> Patch:
    """The patches on the stage's input: the whole map as soon as they cover it."""
    if stage.kernel is None:
        return patch
    behind = patch.behind(stage.kernel)
    return Patch(stage.input_map[:2]) if behind.covers(stage.input_map) else behind


def backwards(coefficients: Tensor, corners: Tensor, stage: Stage, patch: Patch) -> tuple[Tensor, Tensor]:
    """Rows on the affine map's output, (g, r, height, width, channels), and their corners, on its input."""
    if stage.kernel is None:
        return coefficients, corners
    columns = coefficients.flatten(0, -2) @ stage.kernel.matrix
    folded = fold(columns, stage.kernel, patch.size, stage.input_map[2])
    return arrive(folded.unflatten(0, coefficients.shape[:2]), corners, stage, patch)


def arrive(values: Tensor, corners: Tensor, stage: Stage, patch: Patch) -> tuple[Tensor, Tensor]:
    """Folded rows as they stand on the stage's input: on the whole map if their patches cover it."""
    assert stage.kernel is not None
    behind, place = patch.behind(stage.kernel), stage.input_map
    corners = _corners_behind(corners, stage.kernel)
    if not behind.covers(place):
        return values, corners
    spread = _pad(values, behind, place) if behind.fixed else _scatter(values, corners, behind, place)
    return spread, torch.zeros_like(corners)


def forwards(values: Tensor, corners: Tensor, stage: Stage, patch: Patch) -> Tensor:
    """Values on the stage's input through its affine map without the bias: the transpose of `backwards`."""
    if stage.kernel is None:
        return values
    behind, place = patch.behind(stage.kernel), stage.input_map
    if behind.covers(place):
        whole, corners = values, _corners_behind(corners, stage.kernel)
        values = _crop(whole, behind, place) if behind.fixed else _gather(whole, corners, behind, place)
    columns = unfold(values.flatten(0, 1), stage.kernel, patch.size)
    passed: Tensor = (columns @ stage.kernel.matrix.T).unflatten(0, values.shape[:2])
    return passed


def _corners_behind(corners: Tensor, kernel: Kernel) -> Tensor:
    return corners * corners.new_tensor(kernel.stride) - corners.new_tensor(kernel.padding)


def fold(columns: Tensor, kernel: Kernel, size: Axes, channels: int) -> Tensor:
    """Add up what every place of a patch of `size` sends through the kernel: shape (rows, height, width, channels)."""
    parts = columns.reshape(-1, *size, *kernel.size, channels)
    if size == (1, 1) and kernel.dilation == (1, 1):
        return parts[:, 0, 0]
    folded = parts.new_zeros((len(parts), *Patch(size).behind(kernel).size, channels))
    for i, j in itertools.product(*map(range, kernel.size)):
        folded[:, _reach(0, i, kernel, size), _reach(1, j, kernel, size)] += parts[:, :, :, i, j]
    return folded


def unfold(values: Tensor, kernel: Kernel, size: Axes) -> Tensor:
    """What every place of a patch of `size` takes through the kernel: (rows, places, kernel and channels)."""
    parts = [
        values[:, _reach(0, i, kernel, size), _reach(1, j, kernel, size)]
        for i, j in itertools.product(*map(range, kernel.size))
    ]
    return torch.stack(parts, dim=3).flatten(3)


def _reach(axis: int, offset: int, kernel: Kernel, size: Axes) -> slice:
    """The places, along one axis, that a patch of `size` meets with one entry of the kernel."""
    start, stride = offset * kernel.dilation[axis], kernel.stride[axis]
    return slice(start, start + (size[axis] - 1) * stride + 1, stride)


def _pad(values: Tensor, patch: Patch, place: Map) -> Tensor:
    """Patches that are all at one corner, with zeros around them as large as the map; what laps over it is cut."""
    (top, left), (height, width) = patch.first, patch.size
    edges = (0, 0, left, place[1] - left - width, top, place[0] - top - height)
    return functional.pad(values, edges) if any(edges) else values


def _crop(values: Tensor, patch: Patch, place: Map) -> Tensor:
    """The transpose of `_pad`."""
    (top, left), (height, width) = patch.first, patch.size
    edges = (0, 0, -left, left + width - place[1], -top, top + height - place[0])
    return functional.pad(values, edges) if any(edges) else values


def _scatter(values: Tensor, corners: Tensor, patch: Patch, place: Map) -> Tensor:
    """Patches at their corners on maps of zeros; what laps over a map is cut."""
    left, right, top, bottom = patch.overlap(place)
    canvas = values.new_zeros((*values.shape[:2], top + place[0] + bottom, left + place[1] + right, place[2]))
    _views(canvas, patch)[_at(corners, patch)] = values.permute(0, 1, 4, 2, 3)
    return canvas[:, :, top : top + place[0], left : left + place[1]]


def _gather(values: Tensor, corners: Tensor, patch: Patch, place: Map) -> Tensor:
    """The transpose of `_scatter`."""
    padded = functional.pad(values, (0, 0, *patch.overlap(place)))
    return _views(padded, patch)[_at(corners, patch)].permute(0, 1, 3, 4, 2)


def _views(canvas: Tensor, patch: Patch) -> Tensor:
    return canvas.unfold(2, patch.size[0], 1).unfold(3, patch.size[1], 1)


def _at(corners: Tensor, patch: Patch) -> tuple[Tensor, slice, Tensor, Tensor]:
    p, q = (corners - corners.new_tensor(patch.first)).unbind(1)
    return torch.arange(len(corners), device=corners.device), slice(None), p, q


def windows(values: Tensor, patch: Patch) -> Tensor:
    """Every patch's window of a map (n, height, width, channels): a view (n, rows, columns, *patch, channels).

    Beyond the map's edge there are zeros.
    """
    height, width = patch.size
    _, rows, columns, channels = values.shape
    padded = functional.pad(values, (0, 0, *patch.overlap((rows, columns, channels))))
    return padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
