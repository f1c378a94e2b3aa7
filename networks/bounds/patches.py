"""Patches: the part of a map that a row of coefficients depends on, and its way back through an affine map."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from networks.bounds.stages import Axes, Kernel, Map, Stage

Places = tuple[Tensor, Tensor, Tensor]  # images, rows and columns of a map, each of shape (g,), int64


@dataclass(frozen=True, slots=True)
class Patch:
    """The patches that the neurons of a map depend on: one size, and a corner for each neuron's place on its map.

    The neuron at (p, q), of `count` places, has its patch at `first + (p, q) * step`. Patches may lap over the edge of
    the map that they lie on by a convolution's padding; relaxations make all coefficients out there zero.
    """

    size: Axes
    first: Axes
    step: Axes
    count: Axes

    def behind(self, kernel: Kernel) -> Patch:
        """The patches on the input of an affine map."""
        return Patch(_reached(self.size, kernel), _corner(self.first, kernel), _times(self.step, kernel), self.count)

    @property
    def fixed(self) -> bool:
        """Whether all patches are at one place."""
        return all(step == 0 or count == 1 for step, count in zip(self.step, self.count, strict=True))

    def covers(self, place: Map) -> bool:
        """Whether the patches are as large as the map or larger."""
        return math.prod(self.size) >= place[0] * place[1]

    def overlap(self, place: Map) -> tuple[int, int, int, int]:
        """How far the patches lap over the map: left, right, top and bottom."""
        (top, bottom), (left, right) = (
            (max(0, -first), max(0, first + (count - 1) * step + size - side))
            for size, first, step, count, side in zip(
                self.size, self.first, self.step, self.count, place[:2], strict=True
            )
        )
        return left, right, top, bottom


def single(place: Map) -> Patch:
    """What each neuron of a map depends on, on that map: itself."""
    return Patch((1, 1), (0, 0), (1, 1), place[:2])


def whole(place: Map, count: Axes = (1, 1)) -> Patch:
    """All of a map."""
    return Patch(place[:2], (0, 0), (0, 0), count)


def patch_behind(stage: Stage, patch: Patch) -> Patch:
    """The patches on the stage's input: the whole map as soon as they cover it."""
    if stage.kernel is None:
        return patch
    behind = patch.behind(stage.kernel)
    return whole(stage.input_map, patch.count) if behind.covers(stage.input_map) else behind


def _reached(size: Axes, kernel: Kernel) -> Axes:
    rows, columns = (
        (h - 1) * s + (k - 1) * d + 1
        for h, k, s, d in zip(size, kernel.size, kernel.stride, kernel.dilation, strict=True)
    )
    return rows, columns


def _corner(first: Axes, kernel: Kernel) -> Axes:
    down, right = _times(first, kernel)
    return down - kernel.padding[0], right - kernel.padding[1]


def _times(places: Axes, kernel: Kernel) -> Axes:
    return places[0] * kernel.stride[0], places[1] * kernel.stride[1]


def backwards(coefficients: Tensor, at: Places, stage: Stage, patch: Patch) -> Tensor:
    """Rows on the affine map's output, (g, r, height, width, channels), on its input."""
    if stage.kernel is None:
        return coefficients
    columns = coefficients.flatten(0, -2) @ stage.kernel.matrix
    folded = fold(columns, stage.kernel, patch.size, stage.input_map[2])
    return arrive(folded.unflatten(0, coefficients.shape[:2]), at, stage, patch)


def arrive(values: Tensor, at: Places, stage: Stage, patch: Patch) -> Tensor:
    """Folded rows as they stand on the stage's input: on the whole map if their patches cover it."""
    assert stage.kernel is not None
    behind, place = patch.behind(stage.kernel), stage.input_map
    if not behind.covers(place):
        return values
    return _pad(values, behind, place) if behind.fixed else _scatter(values, at, behind, place)


def forwards(values: Tensor, at: Places, stage: Stage, patch: Patch) -> Tensor:
    """Values on the stage's input through its affine map without the bias: the transpose of `backwards`."""
    if stage.kernel is None:
        return values
    behind, place = patch.behind(stage.kernel), stage.input_map
    if behind.covers(place):
        values = _crop(values, behind, place) if behind.fixed else _gather(values, at, behind, place)
    columns = unfold(values.flatten(0, 1), stage.kernel, patch.size)
    passed: Tensor = (columns @ stage.kernel.matrix.T).unflatten(0, values.shape[:2])
    return passed


def fold(columns: Tensor, kernel: Kernel, size: Axes, channels: int) -> Tensor:
    """Add up what every place of a patch of `size` sends through the kernel: shape (rows, height, width, channels)."""
    parts = columns.reshape(-1, *size, *kernel.size, channels)
    if size == (1, 1) and kernel.dilation == (1, 1):
        return parts[:, 0, 0]
    folded = parts.new_zeros((len(parts), *_reached(size, kernel), channels))
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
    """Patches that are all at one place, on maps of zeros; what laps over a map is cut, which may be all of a patch."""
    left, right, top, bottom = patch.overlap(place)
    (row, column), (height, width) = (patch.first[0] + top, patch.first[1] + left), patch.size
    after = left + place[1] + right - column - width, top + place[0] + bottom - row - height
    edges = (0, 0, column, after[0], row, after[1])
    padded = functional.pad(values, edges) if any(edges) else values
    return padded[:, :, top : top + place[0], left : left + place[1]]


def _crop(values: Tensor, patch: Patch, place: Map) -> Tensor:
    """The transpose of `_pad`."""
    left, right, top, bottom = patch.overlap(place)
    row, column = patch.first[0] + top, patch.first[1] + left
    padded = functional.pad(values, (0, 0, left, right, top, bottom)) if left + right + top + bottom else values
    return padded[:, :, row : row + patch.size[0], column : column + patch.size[1]]


def _scatter(values: Tensor, at: Places, patch: Patch, place: Map) -> Tensor:
    """Patches at their places on maps of zeros; what laps over a map is cut."""
    left, right, top, bottom = patch.overlap(place)
    canvas = values.new_zeros((*values.shape[:2], top + place[0] + bottom, left + place[1] + right, place[2]))
    _views(canvas, patch)[_each(at, patch)] = values.permute(0, 1, 4, 2, 3)
    return canvas[:, :, top : top + place[0], left : left + place[1]]


def _gather(values: Tensor, at: Places, patch: Patch, place: Map) -> Tensor:
    """The transpose of `_scatter`."""
    padded = functional.pad(values, (0, 0, *patch.overlap(place)))
    return _views(padded, patch)[_each(at, patch)].permute(0, 1, 3, 4, 2)


def _views(canvas: Tensor, patch: Patch) -> Tensor:
    return canvas.unfold(2, patch.size[0], 1).unfold(3, patch.size[1], 1)


def _each(at: Places, patch: Patch) -> tuple[Tensor, slice, Tensor, Tensor]:
    _, p, q = at
    return torch.arange(len(p), device=p.device), slice(None), p * patch.step[0], q * patch.step[1]


def windows(values: Tensor, patch: Patch) -> Tensor:
    """The patch of every place on a map (n, height, width, channels): a view (n, rows, columns, *patch, channels).

    Beyond the map's edge there are zeros.
    """
    _, height, width, channels = values.shape
    padded = functional.pad(values, (0, 0, *patch.overlap((height, width, channels))))
    views = _along(_along(padded, 1, patch), 2, patch)
    return views.permute(0, 1, 2, 4, 5, 3)


def _along(values: Tensor, axis: int, patch: Patch) -> Tensor:
    """The windows along one axis, with their entries in a new last one."""
    size, step, count = patch.size[axis - 1], patch.step[axis - 1], patch.count[axis - 1]
    views = values.unfold(axis, size, max(step, 1)).narrow(axis, 0, count if step else 1)
    return views.expand(*(count if dim == axis else -1 for dim in range(views.ndim)))
