r"""Linear bounds: every neuron's range over a box of inputs by lines through each ReLU, for a whole batch, rounding errors included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import math
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from networks.bounds.ascent import ascend
from networks.bounds.backward import lower_bounds
from networks.bounds.layerwise import Layerwise
from networks.bounds.boxes import Pair, box_tensors, check_box, layer_pairs, margin_rows
from networks.bounds.interval import (
    ANYWHERE, AffineStep, Step, before_last, layer_steps, margin_bounds, sums_of_products,
)
from networks.bounds.relaxation import LOWER_SLOPES
from networks.bounds.stages import stages_of
from networks.errors import InputError
from networks.layers import Array, LayerList
from networks.zoo import load_network

SLOPES = tuple(LOWER_SLOPES)
# Numbers in the largest working array of one chunk of rows: few on a CPU, so that they stay in cache.
CPU_NUMBERS = 2**18
GPU_NUMBERS = 2**26
RELAXED_NUMBERS = 2**25  # in the relaxations of the images that are taken together
NUMBERS_A_NEURON = 16  # of them


@overload
def linear_bounds(
    network: LayerList | str | Path, lower: Tensor, upper: Tensor, device: torch.device | str = "cpu", *, slopes: str = "adaptive", known: Any = None
) -> list[Pair]: ...
@overload
def linear_bounds(
    network: LayerList | str | Path, lower: ArrayLike, upper: ArrayLike, device: torch.device | str = "cpu", *, slopes: str = "adaptive", known: Any = None
) -> list[tuple[Array, Array]]: ...
def linear_bounds(network: LayerList | str | Path, lower: Any, upper: Any, device: torch.device | str = "cpu", *, slopes: str = "adaptive", known: Any = None) -> Any:
    """Bounds on every layer's output over each box of a batch, sound as computed."""
    network = load_network(network)
    _check_slopes(slopes)
    box = box_tensors(network, lower, upper, device)
    held = None if known is None else layer_pairs("known", network, known, box)
    parts: list[list[Pair]] = []
    with torch.no_grad(), sums_of_products(box[0].device):
        for chunk in _chunks(network, len(box[0])):
            check_box(box, chunk)
            question = _question(network, _part(box, chunk), slopes)
            question.propagate(None if held is None else [_part(p, chunk) for p in held], True)
            parts.append(question.bounds)
    bounds = [(torch.cat([p[k][0] for p in parts]), torch.cat([p[k][1] for p in parts])) for k in range(len(network.layers))]
    return bounds if isinstance(lower, Tensor) else [(low.cpu().numpy(), high.cpu().numpy()) for low, high in bounds]


def linear_margins(network, lower, upper, margins, device="cpu", *, slopes="adaptive", bounds=None) -> Any:
    network = load_network(network)
    _check_slopes(slopes)
    box = box_tensors(network, lower, upper, device)
    C = margin_rows(network, margins, box)
    held = None if bounds is None else layer_pairs("bounds", network, bounds, box)
    found = torch.empty((2, len(box[0]), C.shape[-2]), dtype=torch.float64, device=box[0].device)
    with torch.no_grad(), sums_of_products(box[0].device):
        for chunk in _chunks(network, len(box[0])):
            check_box(box, chunk)
            rows = C[chunk] if C.ndim == 3 else C
            question = _question(network, _part(box, chunk), slopes)
            if held is None: question.propagate(None, False)
            else: question.bounds.extend(_part(p, chunk) for p in held)
            low, high = question.margins(rows)
            _, last = before_last(network, box[0].device)
            from networks.layers import Linear
            hidden = question.at(len(network.layers) - 2) if isinstance(network.layers[-1], Linear) else question.at(len(network.layers) - 1)
            l2, h2 = margin_bounds(rows, last, tuple(v.flatten(1) for v in hidden), ANYWHERE)
            low, high = torch.maximum(l2, low), torch.minimum(h2, high)
            found[0, chunk], found[1, chunk] = low, high
    return (found[0], found[1]) if isinstance(lower, Tensor) else tuple(found.cpu().numpy())


def _check_slopes(slopes: str) -> None:
    if slopes not in SLOPES:
        raise InputError(f"slopes is {slopes!r}; expected one of {', '.join(SLOPES)}")


def _part(pair: Pair, chunk: slice) -> Pair:
    return pair[0][chunk], pair[1][chunk]


def _chunks(network: LayerList, count: int) -> Iterator[slice]:
    neurons = sum(math.prod(shape) for shape in (network.input_shape, *network.shapes))
    size = max(1, RELAXED_NUMBERS // (NUMBERS_A_NEURON * neurons))
    return (slice(start, min(start + size, count)) for start in range(0, max(count, 1), size))



def _question(network, box, slopes):
    d = box[0].device
    return Layerwise(stages_of(network, d), layer_steps(network, d), box, slopes, ascend if slopes == "optimised" else lower_bounds)
