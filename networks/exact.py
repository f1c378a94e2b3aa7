r"""A network's outputs in exact arithmetic over its stored weights, and in float64 with a bound on their error.

**Exact.** A double is a whole number times a power of two, so the outputs are too. A number is held as its digits,

    z = sum_k d_k 2^(B (k + offset)),        d_k whole,  |d_k| <= 2^(B-1) + 1                                  (1)

and a layer's weights are split in the same way, once, into layers of digits. Each of these is run by the layer's own
`forward` in float64, on all digits of all inputs at once. B is such that a sum of as many products of two digits as any
neuron has inputs stays within 2^53: float64 computes it without rounding, in whatever order, fused or not. Carrying in
int64 brings the sums back to (1), where the sign of a number is that of its leading digit.

**With a bound.** With `u = 2^-53`, n products a neuron and `g = 2 (n + 8) u`, float64 computes an affine layer's
`W z + b` with an error of at most `g (|W| |z| + |b|)`, and passes on at most `|W| e` of the error e of z (Higham 2002,
"Accuracy and Stability of Numerical Algorithms", section 3.1); g is about twice what is needed, which covers the
rounding of the bound itself. Underflow costs at most `t = 2^-1022` an operation, and `t` an operand where denormal
numbers are flushed: each |w| counts as `t / g` at least, each |z| as `t / g` more than it is. ReLUs pass on e, or none
of it where their input is negative for certain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from networks.layers import Array, Conv2d, LayerList, Linear, ReLU

WHOLE_BITS = 53  # whole numbers up to 2^53 are doubles
UNIT = 2.0**-53  # the unit roundoff of doubles
SMALLEST_NORMAL = 2.0**-1022  # more than what an underflow costs an operation
PREPARED_NETWORKS = 4  # whose digits and bounds are kept
NUMBERS_AT_ONCE = 2**19  # neurons of the widest layer, for all points that are run at once

Affine = Linear | Conv2d


def exact_forward(network: LayerList, point: ArrayLike) -> list[Fraction]:
    """The outputs for one input of doubles, shape (*input_shape), without any rounding.

    Raises
    ------
    NetworkError
        A shape that does not fit.
    """
    return exact_outputs(network, np.asarray(point, dtype=np.float64)[None])[0]


def exact_outputs(network: LayerList, batch: Array) -> list[list[Fraction]]:
    """As `exact_forward`, for finite inputs of shape (n, *input_shape)."""
    network.check_batch(batch)
    widest = max(math.prod(shape) for shape in (network.input_shape, *network.shapes))
    size = max(1, NUMBERS_AT_ONCE // widest)
    return [
        outputs for start in range(0, len(batch), size) for outputs in _outputs(network, batch[start : start + size])
    ]


def forward_with_error(network: LayerList, batch: ArrayLike) -> tuple[Array, Array]:
    """`LayerList.forward`, and for each output how far it may be from the exact one, shape (n, *output_shape) each.

    The error is infinite where float64 overflows.
    """
    values = network.check_batch(batch)
    error = np.zeros_like(values)
    with np.errstate(over="ignore", invalid="ignore"):
        for layer, bound in zip(network.layers, _bounds_of(network), strict=True):
            if isinstance(layer, Affine):
                g = _share(layer)
                error = bound.forward(g * np.abs(values) + SMALLEST_NORMAL + error)
            elif isinstance(layer, ReLU):
                error = np.where(values + error <= 0.0, 0.0, error)
            else:
                error = layer.forward(error)
            values = layer.forward(values)
    return values, np.where(np.isfinite(values) & np.isfinite(error), error, np.inf)


def largest_error(network: LayerList, batch: Array) -> float:
    """No output of `LayerList.forward` for these inputs is further from the exact one than this.

    Far coarser than `forward_with_error`, as it goes by the largest row of |W|, and costs next to nothing.
    """
    size, error = float(np.abs(batch).max(initial=0.0)), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for weight, bias, g, rest in _norms(network):
            error = (1 + g) * (weight * (g * size + SMALLEST_NORMAL + error) + g * bias) + rest
            size = (1 + g) * (weight * size + bias) + rest
    return error if math.isfinite(error) and math.isfinite(size) else math.inf


def nearest(exact: Fraction) -> float:
    """The nearest double; but no number other than zero becomes zero, and none within the doubles' range infinite.

    So the sign is the exact one. Above the largest double it is infinite, below the least one that one.
    """
    try:
        rounded = float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -np.finfo(np.float64).max.item()
    return rounded if rounded or not exact else math.copysign(math.ulp(0.0), exact)


@dataclass(frozen=True, slots=True, eq=False)
class _Digits:
    """Numbers as in (1): `digits[k]`, int64, holds the k-th digit of each; the batch is the next dimension."""

    digits: NDArray[np.int64]
    offset: int


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """An affine layer whose weights are `sum_k parts[k].weight 2^(bits (k + offset))`; the parts have no bias."""

    parts: Sequence[Affine]
    offset: int
    bias: _Digits


def _outputs(network: LayerList, batch: Array) -> list[list[Fraction]]:
    bits = _bits(network)
    values = _split(batch, bits)
    for layer, split in zip(network.layers, _split_layers(network), strict=True):
        if split is not None:
            values = _through(split, values, bits)
        elif isinstance(layer, ReLU):
            values = _trimmed(np.where(_positive(values.digits), values.digits, 0), values.offset)
        else:
            values = _Digits(values.digits.reshape(*values.digits.shape[:2], -1), values.offset)
    return _fractions(values, bits)


@lru_cache(maxsize=PREPARED_NETWORKS)
def _bits(network: LayerList) -> int:
    """B."""
    most = max((layer.weight[0].size for layer in network.layers if isinstance(layer, Affine)), default=1)
    return max(bits for bits in range(2, 28) if most * (2 ** (bits - 1) + 1) ** 2 <= 2**WHOLE_BITS)


@lru_cache(maxsize=PREPARED_NETWORKS)
def _split_layers(network: LayerList) -> tuple[_Split | None, ...]:
    bits = _bits(network)
    return tuple(_split_layer(layer, bits) if isinstance(layer, Affine) else None for layer in network.layers)


def _split_layer(layer: Affine, bits: int) -> _Split:
    weight, bias = _split(layer.weight[None], bits), _split(layer.bias, bits)
    none = np.zeros_like(layer.bias)
    parts = tuple(replace(layer, weight=digit[0], bias=none) for digit in weight.digits)
    ones = (1,) * (layer.weight.ndim - 2)  # a convolution's bias holds for a channel
    return _Split(parts, weight.offset, _Digits(bias.digits.reshape(len(bias.digits), 1, -1, *ones), bias.offset))


def _split(values: Array, bits: int) -> _Digits:
    """Doubles as digits."""
    fraction, power = np.frexp(values)
    whole = np.ldexp(np.abs(fraction), WHOLE_BITS).astype(np.int64)
    power = power.astype(np.int64) - WHOLE_BITS
    used = whole != 0
    if not used.any():
        return _Digits(np.zeros((1, *values.shape), np.int64), 0)
    trailing = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    offset = int((power + trailing)[used].min()) // bits
    count = -(-(int(power[used].max()) + WHOLE_BITS) // bits) - offset
    # Where each digit begins in each whole number: before it, where the shift is negative.
    shift = bits * (offset + np.arange(count).reshape(-1, *(1,) * values.ndim)) - power
    digits = np.where(shift >= 0, whole >> shift.clip(0, 63), whole << (-shift).clip(0, 63)) & (2**bits - 1)
    return _carried(np.where(fraction < 0, -digits, digits), offset, bits)


def _through(layer: _Split, values: _Digits, bits: int) -> _Digits:
    """The layer's output."""
    count, points = values.digits.shape[:2]
    batch = values.digits.reshape(count * points, *values.digits.shape[2:]).astype(np.float64)
    sums = [part.forward(batch).astype(np.int64) for part in layer.parts]
    offset, bias = values.offset + layer.offset, layer.bias
    low = min(offset, bias.offset)
    high = max(offset + count + len(sums) - 1, bias.offset + len(bias.digits))
    total = np.zeros((high - low, points, *sums[0].shape[1:]), np.int64)
    for place, product in enumerate(sums, start=offset - low):
        total[place : place + count] += product.reshape(count, points, *product.shape[1:])
    total[bias.offset - low : bias.offset - low + len(bias.digits)] += bias.digits
    return _carried(total, low, bits)


def _carried(digits: NDArray[np.int64], offset: int, bits: int) -> _Digits:
    """The same numbers with digits as small as (1) has them."""
    half = 2 ** (bits - 1)
    while digits.max() > half + 1 or digits.min() < -half - 1:
        carry = (digits + half) >> bits
        digits = digits - (carry << bits)
        digits[1:] += carry[:-1]
        if carry[-1].any():
            digits = np.concatenate([digits, carry[-1:]])
    return _trimmed(digits, offset)


def _trimmed(digits: NDArray[np.int64], offset: int) -> _Digits:
    """Without the digits that are zero in all numbers, at either end."""
    used = np.flatnonzero(digits.reshape(len(digits), -1).any(axis=1))
    if not used.size:
        return _Digits(digits[:1], 0)
    return _Digits(digits[used[0] : used[-1] + 1], offset + int(used[0]))


def _positive(digits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which numbers are above zero: their leading digit is."""
    leading = (len(digits) - 1 - (digits[::-1] != 0).argmax(axis=0))[None]
    return np.asarray(np.take_along_axis(digits, leading, axis=0)[0] > 0)


def _fractions(values: _Digits, bits: int) -> list[list[Fraction]]:
    scale = Fraction(2) ** (bits * values.offset)
    outputs = np.moveaxis(values.digits.reshape(*values.digits.shape[:2], -1), 0, -1).tolist()
    return [[scale * sum(digit << bits * k for k, digit in enumerate(number)) for number in point] for point in outputs]


def _share(layer: Affine) -> float:
    """The share g of a layer."""
    return 2.0 * (int(layer.weight[0].size) + 8) * UNIT


@lru_cache(maxsize=PREPARED_NETWORKS)
def _bounds_of(network: LayerList) -> tuple[Any, ...]:
    """For each affine layer, the one that takes `g |z| + t + e` to the error of its output; else the layer itself."""
    return tuple(_bound_of(layer) if isinstance(layer, Affine) else layer for layer in network.layers)


def _bound_of(layer: Affine) -> Affine:
    g = _share(layer)
    rest = 32 * (layer.weight[0].size + 1) * SMALLEST_NORMAL
    weight = np.maximum(np.abs(layer.weight), SMALLEST_NORMAL / g) * (1 + g)
    return replace(layer, weight=weight, bias=g * np.abs(layer.bias) * (1 + g) + rest)


@lru_cache(maxsize=PREPARED_NETWORKS)
def _norms(network: LayerList) -> tuple[tuple[float, float, float, float], ...]:
    """Of each affine layer: the largest row sum of |W|, the largest |b|, g, and what underflow may cost."""
    found = []
    for layer in network.layers:
        if isinstance(layer, Affine):
            g, count = _share(layer), layer.weight[0].size
            weight = np.maximum(np.abs(layer.weight), SMALLEST_NORMAL / g).reshape(len(layer.weight), -1)
            largest = float(weight.sum(axis=1).max()) * (1 + g)
            found.append((largest, float(np.abs(layer.bias).max()), g, 32 * (count + 1) * SMALLEST_NORMAL))
    return tuple(found)
