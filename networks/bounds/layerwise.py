"""Linear bounds layer by layer, for the boxes that are taken at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from networks.bounds.ascent import ascend
from networks.bounds.backward import Crossing, Neurons, Rows, lower_bounds, neuron_rows, way_back
from networks.bounds.boxes import Pair
from networks.bounds.interval import ANYWHERE, Step
from networks.bounds.patches import Patch, patch_behind, single, whole
from networks.bounds.relaxation import Relaxation, Sizes, relax, relax_box, sizes_of
from networks.bounds.stages import Stage, Stages
from networks.errors import InputError

# Numbers in the largest working array of one chunk of rows: few on a CPU, so that they stay in cache.
CPU_NUMBERS = 3 * 2**17
GPU_NUMBERS = 2**27

# What makes bounds of rows, for each way to choose the lower slopes.
BOUNDS: dict[str, Callable[[Sequence[Crossing], Rows], Tensor]] = {
    "adaptive": lower_bounds,
    "parallel": lower_bounds,
    "optimised": ascend,
}


@dataclass(frozen=True, slots=True, eq=False)
class Layerwise:
    """The bounds over some boxes, as far as they have come.

    Attributes
    ----------
    stages : Stages
    steps : sequence of Step
        The interval step of each layer.
    box : (Tensor, Tensor), each of shape (n, *input_shape)
    slopes : str
        One of `BOUNDS`.
    bounds : list of (Tensor, Tensor)
        One pair a layer.
    relaxations, sizes
        Of the stages, as far as they were needed.
    """

    stages: Stages
    steps: Sequence[Step]
    box: Pair
    slopes: str
    bounds: list[Pair] = field(default_factory=list)
    relaxations: list[Relaxation] = field(default_factory=list)
    sizes: dict[int, Sizes] = field(default_factory=dict)

    def propagate(self, known: Sequence[Pair] | None = None, *, outputs: bool = True) -> None:
        """Bound every layer; the outputs, where no ReLU follows, by their intervals alone unless they are asked for."""
        stages = self.stages.stages
        places = {stage.affine: index for index, stage in enumerate(stages) if stage.kernel is not None}
        pair = self.box
        for layer, step in enumerate(self.steps):
            low, high = step(*pair, ANYWHERE)
            pair = (low, high) if known is None else _meet(layer, (low, high), known[layer])
            self.bounds.append(pair)
            index = places.get(layer, 0)  # the first affine map's interval is exact
            if index > 0 and (stages[index].relu or (outputs and index == len(stages) - 1)):
                self._tighten(index)

    def margins(self, C: Tensor) -> Pair:
        """Bounds, shape (n, k), on margins `C` of shape (k, classes) or (n, k, classes), given all layers' bounds."""
        stages = self.stages.stages
        place = stages[-1].map if stages else self.stages.box_map
        crossings, slack = self._way_back(len(stages), whole(place))
        coefficients = C.expand(len(slack), *C.shape[-2:]).unflatten(2, (place[2], *place[:2])).permute(0, 1, 3, 4, 2)
        found = C.new_empty((2, *coefficients.shape[:2]))
        for images, part in _blocks(len(slack), C.shape[-2], _rows_at_once(crossings)):
            rows = _margin_rows(coefficients[images, part], images)
            found[0, images, part], found[1, images, part] = self._bound(rows, crossings, slack)
        return found[0], found[1]

    def at(self, layer: int) -> Pair:
        """The bounds on a layer's output; -1 is the box."""
        return self.box if layer < 0 else self.bounds[layer]

    def _tighten(self, index: int) -> None:
        """Tighten the last bounds, those on the affine map of the stage, by the stages before it."""
        stage = self.stages.stages[index]
        low, high = (_on_map(bound, stage) for bound in self.bounds[-1])
        wanted = (low < 0) & (high > 0) if stage.relu else torch.ones_like(low, dtype=torch.bool)
        own = self._relax(index, replace(stage, relu=False, outer=stage.affine))
        crossings, slack = self._way_back(index, patch_behind(stage, single(stage.map)))
        for neurons in _neurons(wanted, _rows_at_once(crossings)):
            lower, upper = self._bound(neuron_rows(stage, own, neurons), crossings, slack + own.slack)
            (i, p, q), channels = neurons
            at = i[:, None], p[:, None], q[:, None], channels
            low[at] = torch.where(wanted[at], torch.maximum(low[at], lower), low[at])
            high[at] = torch.where(wanted[at], torch.minimum(high[at], upper), high[at])

    def _bound(self, rows: Rows, crossings: Sequence[Crossing], slack: Tensor) -> Pair:
        """Bounds on the numbers of which the rows' first half is; the second half is of their negatives."""
        found = BOUNDS[self.slopes](crossings, rows) - slack[rows.at[0]][:, None]
        lower, negative = found.nan_to_num(nan=-math.inf, posinf=-math.inf, neginf=-math.inf).chunk(2, 1)
        return lower, -negative

    def _way_back(self, count: int, patch: Patch) -> tuple[list[Crossing], Tensor]:
        """The crossings of the first stages, and what underflow may cost a row there."""
        stages = self.stages.stages[:count]
        self.relaxations.extend(self._relax(k, stages[k]) for k in range(len(self.relaxations), count))
        # Flattens before the first stage may have bounds that are known to be tighter than the box.
        inner = self.at(stages[0].inner if stages else -1)
        box = relax_box(inner, self.stages.box_map, self.stages.error)
        slack = sum((relaxation.slack for relaxation in self.relaxations), box.slack)
        return way_back(stages, self.relaxations, box, patch), slack

    def _relax(self, index: int, stage: Stage) -> Relaxation:
        """The relaxation of the stage of this index, or of it without its ReLU."""
        if index not in self.sizes:
            self.sizes[index] = sizes_of(stage, self.at(stage.inner))
        return relax(stage, self.sizes[index], self.at(stage.outer), self.stages.error, self.slopes)


def _margin_rows(coefficients: Tensor, images: slice) -> Rows:
    """Rows on the outputs for margins, and after them for their negatives."""
    at = torch.arange(images.start, images.stop, device=coefficients.device)
    constant = coefficients.new_zeros((len(at), 2 * coefficients.shape[1]))
    return Rows(torch.cat([coefficients, -coefficients], 1), constant, (at, torch.zeros_like(at), torch.zeros_like(at)))


def _meet(layer: int, pair: Pair, known: Pair) -> Pair:
    low, high = torch.maximum(pair[0], known[0]), torch.minimum(pair[1], known[1])
    apart = (low > high).nonzero()
    if len(apart):
        at = tuple(apart[0])
        raise InputError(
            f"known[{layer}]{apart[0].tolist()} is [{known[0][at]}, {known[1][at]}], which does not hold: "
            f"the value is in [{pair[0][at]}, {pair[1][at]}]"
        )
    return low, high


def _on_map(bound: Tensor, stage: Stage) -> Tensor:
    """A view, to read and to write."""
    height, width, channels = stage.map
    return bound.view(-1, channels, height, width).permute(0, 2, 3, 1)


def _rows_at_once(crossings: Sequence[Crossing]) -> int:
    limit = CPU_NUMBERS if crossings[-1].up.device.type == "cpu" else GPU_NUMBERS
    return max(1, limit // max(crossing.row_size for crossing in crossings))


def _neurons(wanted: Tensor, limit: int) -> Iterator[Neurons]:
    """All wanted neurons of a map, two rows each and up to `limit` rows at once.

    The places with the most come first, so that those taken together have similar numbers of wanted channels; what a
    place has fewer is made up with unwanted ones.
    """
    _, height, width, _ = wanted.shape
    flat = wanted.flatten(0, 2)
    counts, order = flat.sum(1).sort(descending=True)
    todo, start = counts[counts > 0].tolist(), 0
    while start < len(todo):
        places = order[start : min(len(todo), start + max(1, limit // (2 * todo[start])))]
        first = flat[places].to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, : todo[start]]
        i, p, q = places // (height * width), places // width % height, places % width
        for channels in first.split(max(1, limit // 2), dim=1):
            yield (i, p, q), channels
        start += len(places)


def _blocks(images: int, margins: int, limit: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of images and margins, two rows each and up to `limit` rows in a block."""
    rows = max(1, min(margins, limit // 2))
    boxes = max(1, limit // (2 * rows))
    for i in range(0, images, boxes):
        for k in range(0, margins, rows):
            yield slice(i, min(i + boxes, images)), slice(k, min(k + rows, margins))
