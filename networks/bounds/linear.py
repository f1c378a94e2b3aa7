r"""Linear bounds: every neuron's range over a box by two lines around each ReLU, rounding errors included.

**In exact arithmetic.** A neuron with pre-activation bounds `l < 0 < u` has, for every `alpha` in [0, 1],

    alpha s  <=  relu(s)  <=  lambda s + mu,        lambda = u / (u - l),  mu = -lambda l                    (1)

and `z = s` or `z = 0` where the sign is certain. To bound `Lambda . z + c` from below, the positive part of `Lambda`
takes the lower lines and the negative part the upper ones; the result is a row over the pre-activations, by the affine
map's transpose a row over the layer before, and in the end one over the box, where the least value is plain
(CROWN, Zhang et al. 2018; DeepPoly, Singh et al. 2019). Layers are bounded one after another, each by the lines that
the bounds before it give, and no bound is ever wider than the interval of the layer before it.

The lower slope alpha is 0 or 1, whichever leaves the smaller area (`adaptive`); or lambda, which makes the pass a
feasible point of the LP's dual (`parallel`; Wong and Kolter 2018; Weng et al. 2018); or each row's own best
(`optimised`; alpha-CROWN, Xu et al. 2021). Any of them is sound, however well it was optimised.

**Rows.** Only neurons that their intervals leave unstable are asked for, and the outputs. A convolution's neurons
depend on patches: the rows of a map are carried as patches of one size, at a corner each, until these cover the map.

**As computed.** No bound is computed in another precision or rounding; every loss is put into the lines' intercepts,
which are then `-e` and `mu + e` instead of 0 and `mu`. With `u = 2^-53` and `gamma_k` as in `interval`, let K be the
largest number of neurons of a stage or of inputs, plus 8 times the number of stages and 32. Each computed number of a
row passes through fewer than K roundings from its product to the end. Say a stage computes `s = W z`, its bias being
part of the intercepts, and let `m >= |W| |z| + |b|` and `M = max(|l|, |u|)`, so that `|s| <= m`. A row loses, for each
neuron and in units of `|Lambda_j|`, at most

    gamma_K m        where `Lambda W` is summed up, as the slopes are at most one
    8 u m            where slopes are multiplied in: a slope off by delta is off by delta |s| in the end
    4 u (M + m)      where lambda, mu and the bias make the upper intercept: (1) holds at both ends of [l, u], whatever
                     lambda in [0, 1] was computed, if mu is at least `max(-lambda l, u - lambda u)`
    gamma_K (2 mu + 2 m + 4 e)    where the intercepts, as `up` and `up - low`, are summed up

The code takes `e = 8 K u (m + M + mu + floor)`. As `gamma_K <= 8/7 K u` for K up to 10^15, and the computed m is short
of the exact one by less than an eighth, this is more than their sum. Neurons that are zero for certain have zeros for
all four. At the box, `l - e0` and `u + e0` with `e0 = 8 K u (M + floor)` do the same for the last sum. The first step
of a row, which is a row of W or of margins, is exact; the lines of a stage without its ReLU account for its product.

Underflow: an operation loses at most `t = 2^-1022`, also where denormal numbers are flushed. Losses that come with a
factor `|Lambda_j|` are below `8 K u floor`, with `floor = 2^-900 (1 + sum of |z|)`. The others, less than `8 K t` for
each of `m + M + mu` and each input, are subtracted in the end, as `2^-900` times the sum of all these. Both hold for K
below 2^30.

Overflow: what is infinite or NaN becomes minus infinity and leaves the interval's bound. Infinite bounds on any
neuron of a box make its lines infinite or NaN, and with them all its rows.

What is assumed of torch is what `interval` assumes of its matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, overload

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from networks.bounds.boxes import Pair, box_tensors, check_box, layer_pairs, margin_rows
from networks.bounds.interval import ANYWHERE, before_last, layer_steps, margin_bounds, sums_of_products
from networks.bounds.layerwise import Layerwise
from networks.bounds.relaxation import LOWER_SLOPES
from networks.bounds.stages import stages_of
from networks.errors import InputError
from networks.layers import Array, LayerList, Linear
from networks.zoo import load_network

SLOPES = tuple(LOWER_SLOPES)
# Numbers that the lines of the boxes taken at once may have: they bound the memory for any number of boxes.
CPU_LINE_NUMBERS = 2**21
GPU_LINE_NUMBERS = 2**27
NUMBERS_A_NEURON = 16  # bounds, lines, and the lines padded for their windows


@overload
def linear_bounds(
    network: LayerList | str | Path,
    lower: Tensor,
    upper: Tensor,
    device: torch.device | str = "cpu",
    *,
    slopes: str = "adaptive",
    known: Any = None,
) -> list[Pair]: ...
@overload
def linear_bounds(
    network: LayerList | str | Path,
    lower: ArrayLike,
    upper: ArrayLike,
    device: torch.device | str = "cpu",
    *,
    slopes: str = "adaptive",
    known: Any = None,
) -> list[tuple[Array, Array]]: ...
def linear_bounds(
    network: LayerList | str | Path,
    lower: Any,
    upper: Any,
    device: torch.device | str = "cpu",
    *,
    slopes: str = "adaptive",
    known: Any = None,
) -> Any:
    """Bounds on every layer's output over each box of a batch, sound as computed (the mathematics: this module's text).

    Parameters
    ----------
    network : LayerList, str or Path
        A layer list, a zoo name, or a layer-list file.
    lower, upper : array_like or Tensor, shape (n, *input_shape)
        The boxes, in the units of the network's input; taken as float64.
    device : torch device
        Where to compute; "auto" is the GPU where there is one, else the CPU.
    slopes : str
        The lower lines' slopes, one of `SLOPES`: "adaptive" (CROWN, DeepPoly), "parallel" (Wong and Kolter's dual) or
        "optimised" (alpha-CROWN), which is never looser than "adaptive" given the same bounds on the layers before.
    known : list of (lower, upper), one pair a layer, optional
        Bounds that are known to hold, of the shapes returned; infinite where nothing is known. The result is nowhere
        wider, and they tighten the bounds on the layers behind.

    Returns
    -------
    list of (lower, upper), one pair a layer
        Each of shape (n, *output shape of the layer), float64: tensors on `device` where tensors were given, else numpy
        arrays. Nowhere wider than the interval that the bounds on the layer before give.

    Raises
    ------
    InputError
        Shapes that do not fit, a value that is not finite, a lower bound above its upper bound, slopes or a device that
        do not exist, known bounds that do not hold.
    NetworkError
        No such network.
    """
    network = load_network(network)
    box = box_tensors(network, lower, upper, device)
    _check_slopes(slopes)
    held = None if known is None else layer_pairs("known", network, known, box)
    parts = []
    with torch.no_grad(), sums_of_products(box[0].device):
        for chunk in _chunks(network, box[0]):
            layerwise = _layerwise(network, box, chunk, slopes)
            layerwise.propagate(None if held is None else [_part(pair, chunk) for pair in held])
            parts.append(layerwise.bounds)
    bounds = [_joined(pairs) for pairs in zip(*parts, strict=True)]
    return bounds if isinstance(lower, Tensor) else [(low.cpu().numpy(), high.cpu().numpy()) for low, high in bounds]


@overload
def linear_margins(
    network: LayerList | str | Path,
    lower: Tensor,
    upper: Tensor,
    margins: Any,
    device: torch.device | str = "cpu",
    *,
    slopes: str = "adaptive",
    bounds: Any = None,
) -> Pair: ...
@overload
def linear_margins(
    network: LayerList | str | Path,
    lower: ArrayLike,
    upper: ArrayLike,
    margins: Any,
    device: torch.device | str = "cpu",
    *,
    slopes: str = "adaptive",
    bounds: Any = None,
) -> tuple[Array, Array]: ...
def linear_margins(
    network: LayerList | str | Path,
    lower: Any,
    upper: Any,
    margins: Any,
    device: torch.device | str = "cpu",
    *,
    slopes: str = "adaptive",
    bounds: Any = None,
) -> Any:
    """Bounds on `margins @ f(x)` over each box of a batch, sound as computed.

    Parameters
    ----------
    network, lower, upper, device, slopes
        As for `linear_bounds`.
    margins : array_like or Tensor, shape (k, classes) or (n, k, classes)
        The rows asked: the same for every box, or for each its own.
    bounds : list of (lower, upper), one pair a layer, optional
        Bounds that hold, of the shapes that `linear_bounds` returns, to be used instead of its own: then the margins
        cost one pass backwards. Without a ReLU behind the last layer, its own pair is not used.

    Returns
    -------
    lower, upper : shape (n, k), float64
        Tensors on `device` where `lower` is a tensor, else numpy arrays. Nowhere wider than what the last hidden
        layer's bounds give by interval arithmetic.

    Raises
    ------
    InputError
        As `linear_bounds`; margins whose shape does not fit or that are not finite.
    """
    network = load_network(network)
    box = box_tensors(network, lower, upper, device)
    _check_slopes(slopes)
    C = margin_rows(network, margins, box)
    given = None if bounds is None else layer_pairs("bounds", network, bounds, box)
    found = torch.empty((2, len(box[0]), C.shape[-2]), dtype=torch.float64, device=box[0].device)
    with torch.no_grad(), sums_of_products(box[0].device):
        for chunk in _chunks(network, box[0]):
            layerwise = _layerwise(network, box, chunk, slopes)
            if given is None:
                layerwise.propagate(outputs=False)
            else:
                layerwise.bounds.extend(_part(pair, chunk) for pair in given)
            found[0, chunk], found[1, chunk] = _margins(network, layerwise, C[chunk] if C.ndim == 3 else C)
    return (found[0], found[1]) if isinstance(lower, Tensor) else tuple(found.cpu().numpy())


def _check_slopes(slopes: str) -> None:
    if slopes not in SLOPES:
        raise InputError(f"slopes is {slopes!r}; expected one of {', '.join(SLOPES)}")


def _chunks(network: LayerList, lower: Tensor) -> Iterator[slice]:
    """Slices of the batch; an empty one of an empty batch, so that its bounds have their shapes."""
    neurons = sum(math.prod(shape) for shape in (network.input_shape, *network.shapes))
    limit = CPU_LINE_NUMBERS if lower.device.type == "cpu" else GPU_LINE_NUMBERS
    count, size = len(lower), max(1, limit // (NUMBERS_A_NEURON * neurons))
    return (slice(start, min(start + size, count)) for start in range(0, max(count, 1), size))


def _layerwise(network: LayerList, box: Pair, chunk: slice, slopes: str) -> Layerwise:
    check_box(box, chunk)
    device = box[0].device
    return Layerwise(stages_of(network, device), layer_steps(network, device), _part(box, chunk), slopes)


def _part(pair: Pair, chunk: slice) -> Pair:
    return pair[0][chunk], pair[1][chunk]


def _joined(pairs: tuple[Pair, ...]) -> Pair:
    """One pair for all chunks; a copy, as a Flatten's pair is a view, perhaps of the caller's own arrays."""
    return torch.cat([low for low, _ in pairs]), torch.cat([high for _, high in pairs])


def _margins(network: LayerList, layerwise: Layerwise, C: Tensor) -> Pair:
    """The margins' linear bounds, and where those are wider what the last hidden bounds give by intervals."""
    low, high = layerwise.margins(C)
    _, last = before_last(network, low.device)
    count = len(network.layers)
    hidden = layerwise.at(count - 2 if isinstance(network.layers[-1], Linear) else count - 1)
    direct = margin_bounds(C, last, (hidden[0].flatten(1), hidden[1].flatten(1)), ANYWHERE)
    return torch.maximum(low, direct[0]), torch.minimum(high, direct[1])
