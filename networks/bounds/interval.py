r"""Interval bounds: every neuron's range over a box of inputs, for a whole batch, rounding errors included.

**In exact arithmetic.** A box is a centre and a radius, `x = c + d` with `|d| <= r`. Its image under `W x + b` lies in

    W c + b  -+  |W| r

so two products a layer suffice, where multiplying the positive and the negative weights by both bounds takes four
(Rump, Fast and parallel interval arithmetic, BIT 39, 1999). ReLU is monotone: it maps the two bounds.

**As computed.** No rounding mode is switched; the radius also carries an a-priori bound on every rounding error. Let
`u = 2^-53`, `gamma_k = k u / (1 - k u)` and `t = 2^-1022`, the smallest normal number. A sum of `k` products, in any
order and with or without fused multiply-adds, is off by at most `gamma_k` times the sum of their absolute values
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1). Underflow adds at most `t` an operation,
also where the processor flushes denormal numbers to zero; it then takes operands below `t` for zero too.

From the bounds `l <= u` the code forms `S = fl(l + u)` and `D = fl(u - l)`; the halves go into the weights. With the
centre `c = S / 2`, every `x` of the box has

    |x - c| <= (1 + u) D / 2 + u |S| / 2 + 2 t                                                               (1)

Take a layer with `n` products a neuron. The computed centre `y = fl(W/2 S + b)` is off by at most
`gamma_{n+1} (|W| |S| / 2 + |b|)`, and the last steps `fl(y - R)` and `fl(y + R)` by at most `u (|y| + R)`. With (1) and
`gamma_k + u + u gamma_k <= gamma_{k+1}` the bounds hold if

    (1 - u) R >= |W|/2 ((1 + u) D + (u + gamma_{n+2}) |S|) + gamma_{n+2} |b| + underflow                     (2)

The computed radius is `R = fl(A P + beta)`, where `e = 2 (n + 8) u` and

    A = max((1 + e) |W| / 2, 2 t / e),    P = fl(D + e |S|),    beta = e |b| + 32 t (n + 1 + row sum of |W|).

All of it is non-negative, so computing it loses at most the factor `(1 - gamma_{n+1}) (1 - u)^4`. For `k u <= 1/8`,
which is `k` up to 10^15, `gamma_k <= 8/7 k u`. Then the `1 + e` in `A` makes up for that factor and for the `1 +- u` in
(2), and `e`, nearly twice `u + gamma_{n+2}`, is large enough as it is.

Underflow: centre and radius take fewer than `4 (n + 2)` operations that lose at most `t` each, which later roundings do
not double; `S`, `D` and `P` below `t` taken for zero, and the `2 t` of (1), cost less than `8 t` times the row sum.
`beta` has both. A weight below `2 t` taken for zero costs at most `t |S|`, and `A e |S| >= 2 t |S|`.

Overflow: a centre or radius that is infinite or NaN gives the bounds -inf and +inf.

**The margins folded into the last layer.** With `m` classes, `e' = 2 (m + 8) u` and `s = 2 t / e'`, the computed
`V = fl(C W)` is off by at most `E = e' max(|C|, s) max(|W|, s) + 32 t (m + 1)`, a matrix product, and `fl(C b)`
likewise with `|b|`. The reasoning above, for any matrix between `V - E` and `V + E` in the place of `W`, asks for

    R = (1 + e) (|V| (D + e |S|) + E (D + |S|)) / 2 + e |C b| + its error + underflow,    e = 2 (2 n + m + 8) u

where `D` has `32 t` more, so that no weight is multiplied by a number that is flushed. `E` is applied factor by factor.

**What is assumed of torch.** Operations in float64 are those of IEEE 754, to nearest, and a product is a sum of
products. So are its matrix products, and on a CPU its float64 convolutions, which unfold the input and multiply. cuDNN
may choose Winograd or Fourier transforms, which satisfy no such bound term by term: it is off in here. The emulation of
float64 in cuBLAS, which is off unless asked for, must stay off.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, overload

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from networks.bounds.boxes import Pair, box_tensors, check_box, margin_rows
from networks.exact import SMALLEST_NORMAL, UNIT
from networks.layers import Array, Conv2d, Flatten, LayerList, Linear, ReLU, Shape
from networks.zoo import load_network

Place = tuple[Tensor | None, Tensor | None]  # where a step writes its two bounds; None for a new tensor
Step = Callable[[Tensor, Tensor, Place], Pair]

ANYWHERE: Place = (None, None)
# Numbers in the largest working array of one chunk: few on a CPU, for each of its threads, so that they stay in cache.
THREAD_NUMBERS = 2**18
GPU_NUMBERS = 2**26
LEAST_BOXES = 64  # in a chunk all the same: the threads share a convolution's boxes among them
PREPARED_NETWORKS = 4  # the last few keep their |W| on the device, so that asking again does not redo it


@overload
def interval_bounds(
    network: LayerList | str | Path, lower: Tensor, upper: Tensor, device: torch.device | str = "cpu"
) -> list[Pair]: ...
@overload
def interval_bounds(
    network: LayerList | str | Path, lower: ArrayLike, upper: ArrayLike, device: torch.device | str = "cpu"
) -> list[tuple[Array, Array]]: ...
def interval_bounds(network: LayerList | str | Path, lower: Any, upper: Any, device: torch.device | str = "cpu") -> Any:
    """Bounds on every layer's output over each box of a batch, sound as computed (the mathematics: this module's text).

    Parameters
    ----------
    network : LayerList, str or Path
        A layer list, a zoo name, or a layer-list file.
    lower, upper : array_like or Tensor, shape (n, *input_shape)
        The boxes, in the units of the network's input; taken as float64.
    device : torch device
        Where to compute; "auto" is the GPU where there is one, else the CPU.

    Returns
    -------
    list of (lower, upper), one pair a layer
        Each of shape (n, *output shape of the layer), float64: tensors on `device` where tensors were given, else numpy
        arrays. A Flatten's pair shares its memory with the pair before it, a first Flatten's with the boxes given (then
        it is read-only where it is numpy's). What overflows is infinite.

    Raises
    ------
    InputError
        Shapes that do not fit, a value that is not finite, a lower bound above its upper bound, an unknown device.
    NetworkError
        No such network.
    """
    network = load_network(network)
    box = box_tensors(network, lower, upper, device)
    steps, bounds = layer_steps(network, box[0].device), _places(network, box)
    with torch.no_grad(), sums_of_products(box[0].device):
        for chunk in _chunks(len(box[0]), box[0].device, _largest_step(network)):
            check_box(box, chunk)
            _run(steps, (box[0][chunk], box[1][chunk]), ((low[chunk], high[chunk]) for low, high in bounds))
    if isinstance(lower, Tensor):
        return bounds
    arrays = [(low.cpu().numpy(), high.cpu().numpy()) for low, high in bounds]
    if isinstance(network.layers[0], Flatten):  # they may be the caller's own, and are too large to copy
        for first in arrays[0]:
            first.flags.writeable = False
    return arrays


@overload
def interval_margins(
    network: LayerList | str | Path, lower: Tensor, upper: Tensor, margins: Any, device: torch.device | str = "cpu"
) -> Pair: ...
@overload
def interval_margins(
    network: LayerList | str | Path,
    lower: ArrayLike,
    upper: ArrayLike,
    margins: Any,
    device: torch.device | str = "cpu",
) -> tuple[Array, Array]: ...
def interval_margins(
    network: LayerList | str | Path, lower: Any, upper: Any, margins: Any, device: torch.device | str = "cpu"
) -> Any:
    """Bounds on `margins @ f(x)` over each box of a batch, sound as computed.

    A last layer that is Linear is multiplied by the margins before it is bounded, which is tighter than to combine the
    bounds on its outputs; otherwise those are combined.

    Parameters
    ----------
    network, lower, upper, device
        As for `interval_bounds`.
    margins : array_like or Tensor, shape (k, classes) or (n, k, classes)
        The rows asked: the same for every box, or for each its own.

    Returns
    -------
    lower, upper : shape (n, k), float64
        Tensors on `device` where `lower` is a tensor, else numpy arrays.

    Raises
    ------
    InputError
        As `interval_bounds`; margins whose shape does not fit or that are not finite.
    """
    network = load_network(network)
    box = box_tensors(network, lower, upper, device)
    C = margin_rows(network, margins, box)
    steps, last = before_last(network, box[0].device)
    bounds = torch.empty((2, len(box[0]), C.shape[-2]), dtype=torch.float64, device=box[0].device)
    largest = max(_largest_step(network), C.shape[-2] * len(last[0][0]) if C.ndim == 3 else 0)
    with torch.no_grad(), sums_of_products(box[0].device):
        for chunk in _chunks(len(box[0]), box[0].device, largest):
            check_box(box, chunk)
            low, high = _run(steps, (box[0][chunk], box[1][chunk]), itertools.repeat(ANYWHERE))
            rows = C[chunk] if C.ndim == 3 else C
            margin_bounds(rows, last, (low.flatten(1), high.flatten(1)), (bounds[0, chunk], bounds[1, chunk]))
    return (bounds[0], bounds[1]) if isinstance(lower, Tensor) else tuple(bounds.cpu().numpy())


def _run(steps: Iterable[Step], box: Pair, places: Iterable[Place]) -> Pair:
    """The box through every step; returns the last bounds."""
    low, high = box
    for step, place in zip(steps, places, strict=False):
        low, high = step(low, high, place)
    return low, high


@lru_cache(maxsize=PREPARED_NETWORKS)
def layer_steps(network: LayerList, device: torch.device) -> tuple[Step, ...]:
    """One step a layer, with the weights of centre and radius on the device."""
    return tuple(_STEPS[type(layer)](layer, device) for layer in network.layers)


@dataclass(frozen=True, slots=True, eq=False)
class AffineStep:
    """An affine layer: `y = product(S, half, bias)` and `R = product(P, radius, beta)`, `error` being e."""

    product: Callable[[Tensor, Tensor, Tensor], Tensor]
    half: Tensor
    bias: Tensor
    radius: Tensor
    beta: Tensor
    error: float

    def __call__(self, low: Tensor, high: Tensor, place: Place) -> Pair:
        """The bounds on the layer's output."""
        total, difference = low + high, high - low
        centre = self.product(total, self.half, self.bias)
        spread = difference.add_(total.abs_(), alpha=self.error)
        return _around(centre, self.product(spread, self.radius, self.beta), place)


def _affine(layer: Linear | Conv2d, device: torch.device) -> AffineStep:
    W, b = (torch.tensor(values, device=device) for values in (layer.weight, layer.bias))
    count = W[0].numel()
    error = _error(count)
    row_sums = W.abs().flatten(1).mul(32 * SMALLEST_NORMAL).sum(1)
    return AffineStep(
        product=functional.linear if isinstance(layer, Linear) else _convolution(layer),
        half=W / 2,
        bias=b,
        radius=(W.abs() / 2 * (1 + error)).clamp(min=2 * SMALLEST_NORMAL / error),
        beta=error * b.abs() + row_sums + _underflow(count),
        error=error,
    )


def _convolution(layer: Conv2d) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return partial(
        functional.conv2d, stride=layer.stride, padding=layer.padding, dilation=layer.dilation, groups=layer.groups
    )


def _relu(low: Tensor, high: Tensor, place: Place) -> Pair:
    return torch.clamp(low, min=0.0, out=place[0]), torch.clamp(high, min=0.0, out=place[1])


def _flatten(low: Tensor, high: Tensor, place: Place) -> Pair:
    return low.flatten(1), high.flatten(1)


_STEPS: dict[type, Callable[[Any, torch.device], Step]] = {
    Linear: _affine,
    Conv2d: _affine,
    ReLU: lambda layer, device: _relu,
    Flatten: lambda layer, device: _flatten,
}


def _around(centre: Tensor, radius: Tensor, place: Place) -> Pair:
    """`centre -+ radius`; where either is infinite or NaN, -inf and +inf."""
    low = torch.sub(centre, radius, out=place[0])
    high = torch.add(centre, radius, out=place[1])
    low.nan_to_num_(nan=-math.inf, posinf=-math.inf, neginf=-math.inf)
    high.nan_to_num_(nan=math.inf, posinf=math.inf, neginf=math.inf)
    return low, high


def before_last(network: LayerList, device: torch.device) -> tuple[tuple[Step, ...], tuple[Tensor, Tensor]]:
    """The steps up to a last Linear layer, and its weight and bias; all steps and the identity if it is none."""
    steps, layer = layer_steps(network, device), network.layers[-1]
    if isinstance(layer, Linear):
        return steps[:-1], (torch.tensor(layer.weight, device=device), torch.tensor(layer.bias, device=device))
    identity = torch.eye(network.class_count, dtype=torch.float64, device=device)
    return steps, (identity, torch.zeros_like(identity[0]))


def margin_bounds(C: Tensor, last: tuple[Tensor, Tensor], box: Pair, place: Place) -> Pair:
    """Bounds on `C (W x + b)`, shape (n, k), for `C` of shape (k, classes) or (n, k, classes)."""
    W, b = last
    count = 2 * W.shape[1] + W.shape[0]
    error = _error(count)
    total, difference = box[0] + box[1], box[1] - box[0] + 32 * SMALLEST_NORMAL
    V, bias = C @ W, C @ b
    centre = _rows_times(V, total) / 2 + bias
    extent = total.abs_() + difference
    spread = difference.add_(total, alpha=error)
    radius = _rows_times(V.abs_(), spread) + _fold_error(C, last, extent)
    rest = error * bias.abs() + _underflow(count) + _underflow(len(W)) * extent.sum(1, keepdim=True)
    return _around(centre, radius * ((1 + error) / 2) + rest, place)


def _fold_error(C: Tensor, last: tuple[Tensor, Tensor], extent: Tensor) -> Tensor:
    """Twice a bound on what the rounding of `C W` and `C b` adds for inputs of at most `extent / 2`: shape (n, k)."""
    W, b = last
    error = _error(len(W))
    least = 2 * SMALLEST_NORMAL / error
    bias = 2 * b.abs().clamp(min=least) + _underflow(W.shape[1])
    outputs = functional.linear(extent, W.abs().clamp(min=least), bias)
    return _rows_times(C.abs().clamp(min=least) * error, outputs)


def _rows_times(matrix: Tensor, vectors: Tensor) -> Tensor:
    """(k, h) or (n, k, h) times (n, h): shape (n, k)."""
    if matrix.ndim == 2:
        return vectors @ matrix.T
    return torch.bmm(matrix, vectors[:, :, None])[:, :, 0]


def _error(count: int) -> float:
    """e, for `count` products."""
    return 2.0 * (count + 8) * UNIT


def _underflow(count: int) -> float:
    """What underflow may cost in `count` products and the steps around them."""
    return 32 * SMALLEST_NORMAL * (count + 1)


def _places(network: LayerList, box: Pair) -> list[Pair]:
    """Tensors for every layer's bounds; a Flatten's are views."""
    places: list[Pair] = []
    for layer, shape in zip(network.layers, network.shapes, strict=True):
        low, high = places[-1] if places else box
        if isinstance(layer, Flatten):
            places.append((low.flatten(1), high.flatten(1)))
        else:
            places.append((low.new_empty((len(low), *shape)), low.new_empty((len(low), *shape))))
    return places


def _chunks(count: int, device: torch.device, largest: int) -> Iterator[slice]:
    """Slices of the batch whose working arrays, `largest` numbers a box, keep to the device's limit."""
    limit = THREAD_NUMBERS * torch.get_num_threads() if device.type == "cpu" else GPU_NUMBERS
    size = max(LEAST_BOXES, limit // largest)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _largest_step(network: LayerList) -> int:
    """The most numbers that a layer needs for one box: its input, its output, or a convolution's unfolded input."""
    inputs = (network.input_shape, *network.shapes[:-1])
    return max(map(_step_size, network.layers, inputs, network.shapes))


def _step_size(layer: object, before: Shape, after: Shape) -> int:
    unfolded = layer.weight[0].size * layer.groups * math.prod(after[1:]) if isinstance(layer, Conv2d) else 0
    return max(math.prod(before), math.prod(after), unfolded)


def sums_of_products(device: torch.device) -> AbstractContextManager[None]:
    """Convolutions without cuDNN on a GPU: see the assumptions above."""
    return nullcontext() if device.type == "cpu" else torch.backends.cudnn.flags(enabled=False)
