"""Linear bounds layer by layer, for as many images as are taken at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from networks.bounds.backward import Crossing, Rows, lower_bounds, way_back
from networks.bounds.boxes import Pair
from networks.bounds.interval import ANYWHERE, AffineStep, Step
from networks.bounds.patches import Patch, fold, patch_behind, settle
from networks.bounds.relaxation import Relaxation, relax, relax_box
from networks.bounds.stages import Stage, Stages

# Numbers in the largest working array of one chunk of rows: few on a CPU, so that they stay in cache.
CPU_NUMBERS = 2**19
GPU_NUMBERS = 2**26

Bound = Callable[[Sequence[Crossing], Rows], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Layerwise:
    """The bounds of a chunk of images, as far as they have come.

    Attributes
    ----------
    stages : Stages
    steps : the interval step of each layer
    box : the images' boxes
    slopes : str
        One of `relaxation.LOWER_SLOPES`.
    bound : callable
        What makes lower bounds of rows: `lower_bounds` or `slopes.ascend`.
    bounds : list of pairs, one a layer
    relaxations : list, one a stage
    """

    stages: Stages
    steps: Sequence[Step]
    box: Pair
    slopes: str
    bound: Bound
    bounds: list[Pair] = field(default_factory=list)
    relaxations: list[Relaxation] = field(default_factory=list)

    def propagate(self, known: Sequence[Pair] | None, outputs: bool) -> None:
        """Bound all layers; those of the last layer, where no ReLU follows, by intervals only unless asked."""
        places = {stage.affine: index for index, stage in enumerate(self.stages.stages) if stage.kernel is not None}
        pair = self.box
        for layer, step in enumerate(self.steps):
            pair = step(*pair, ANYWHERE)
            if known is not None:
                pair = torch.maximum(pair[0], known[layer][0]), torch.minimum(pair[1], known[layer][1])
            self.bounds.append(pair)
            if places.get(layer, 0) > 0:  # over a box the first affine map's interval is exact
                self._tighten(places[layer], outputs)

    def _tighten(self, index: int, outputs: bool) -> None:
        self.relaxations.append(self._relax(self.stages.stages[index - 1]))
        stage, pair = self.stages.stages[index], self.bounds[-1]
        height, width, channels = stage.map
        low, high = (values.view(-1, channels, height, width).permute(0, 2, 3, 1) for values in pair)
        if stage.relu:
            wanted = (low < 0) & (high > 0)
        elif outputs and index == len(self.stages.stages) - 1:
            wanted = torch.ones_like(low, dtype=torch.bool)
        else:
            return
        patch = Patch((1, 1), last=(height - 1, width - 1))
        crossings = self.way_back(index, patch_behind(stage, patch))
        own = self._relax(replace(stage, relu=False, outer=stage.affine))
        slack = self.slack(index) + own.slack
        kernel = stage.kernel
        first = fold(kernel.matrix, kernel, (1, 1), stage.input_map[2])
        for places, c in _places(wanted, rows_a_chunk(crossings)):
            i, p, q = places.unbind(1)
            at = i[:, None], p[:, None], q[:, None], c
            up, gap = own.up[at], own.gap[at]
            values = torch.cat([first[c], -first[c]], 1)
            corners = torch.stack([p, q], 1) * p.new_tensor(kernel.stride) - p.new_tensor(kernel.padding)
            values, corners = settle(values, corners, patch.behind(kernel), stage.input_map)
            rows = Rows(values, torch.cat([up - gap, -up], 1), i, corners)
            found = self.finish(rows, crossings, slack)
            lower, upper = found.chunk(2, 1)
            lower, upper = (torch.where(wanted[at], v, -math.inf) for v in (lower, upper))
            low[at] = torch.maximum(low[at], lower)
            high[at] = torch.minimum(high[at], -upper)

    def finish(self, rows, crossings, slack):
        found = self.bound(crossings, rows) - slack[rows.images][:, None]
        return found.nan_to_num_(nan=-math.inf, posinf=-math.inf)

    def slack(self, index):
        return sum((r.slack for r in self.relaxations[:index]), self._box().slack)

    def _box(self):
        pair = self.at(self.stages.stages[0].inner) if self.stages.stages else self.box
        return relax_box(pair, self.stages.box_map, self.stages.error)

    def at(self, layer):
        return self.bounds[layer] if layer >= 0 else self.box

    def way_back(self, index, patch):
        return way_back(self.stages.stages[:index], self.relaxations[:index], self._box(), patch)

    def _relax(self, stage):
        step = None if stage.kernel is None else self.steps[stage.affine]
        return relax(stage, step, self.at(stage.inner), self.at(stage.outer), self.stages.error, self.slopes)

    def margins(self, C):
        stages = self.stages.stages
        n, kk = len(self.box[0]), C.shape[-2]
        self.relaxations[:] = [self._relax(s) for s in stages]
        H, W, c = stages[-1].map if stages else self.stages.box_map
        crossings = self.way_back(len(stages), Patch((H, W)))
        slack = self.slack(len(stages))
        C = (C if C.ndim == 3 else C.expand(n, *C.shape)).reshape(n, kk, c, H, W).permute(0, 1, 3, 4, 2)
        out = C.new_empty((n, 2 * kk))
        size = max(1, rows_a_chunk(crossings) // (2 * kk))
        for s in range(0, n, size):
            x = C[s:s + size]
            i = torch.arange(s, s + len(x))
            rows = Rows(torch.cat([x, -x], 1), x.new_zeros(len(x), 2 * kk), i, i.new_zeros(len(x), 2))
            out[s:s + size] = self.finish(rows, crossings, slack)
        return out[:, :kk], -out[:, kk:]


def _places(wanted: Tensor, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Places (g, 3) of images, rows and columns, and at each the same number of channels (g, s), the wanted first.

    Places with similar counts go together, so that few channels come along that nobody wants.
    """
    n, H, W, C = wanted.shape
    flat = wanted.reshape(-1, C)
    counts, order = flat.sum(1).sort(descending=True)
    counts = counts.tolist()
    start = 0
    while start < len(counts) and counts[start] > 0:
        s = counts[start]
        g = max(1, limit // (2 * s))
        ids = order[start : start + g]
        channels = flat[ids].to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :s]
        places = torch.stack([ids // (H * W), ids // W % H, ids % W], 1)
        for part in channels.split(max(1, limit // 2), 1):
            yield places, part
        start += g


def rows_a_chunk(crossings: Sequence[Crossing]) -> int:
    numbers = 1
    for crossing in crossings:
        a = math.prod(crossing.patch.size)
        ch = crossing.up.shape[-1]
        cols = crossing.stage.kernel.matrix.shape[1] if crossing.stage is not None and crossing.stage.kernel is not None else 1
        if a == 1: cols = 1
        numbers = max(numbers, a * max(ch, cols))
    return max(1, CPU_NUMBERS // numbers)
