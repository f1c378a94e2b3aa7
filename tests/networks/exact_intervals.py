"""Interval propagation in rational numbers: what the computed intervals must contain."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from networks.layers import Array, Conv2d, Flatten, LayerList, Linear, ReLU
from networks.lowering import conv_affine
from tests.networks.strategies import Box

ExactBox = tuple[list[Fraction], list[Fraction]]


def exact_bounds(network: LayerList, box: Box) -> list[ExactBox]:
    """Interval propagation of one box in rational numbers, flat, a pair a layer."""
    low, high = ([Fraction(v) for v in bound.ravel().tolist()] for bound in box)
    shape, pairs = network.input_shape, []
    for layer, after in zip(network.layers, network.shapes, strict=True):
        if isinstance(layer, ReLU):
            low, high = [max(v, Fraction(0)) for v in low], [max(v, Fraction(0)) for v in high]
        elif isinstance(layer, Conv2d):
            A, b = conv_affine(layer, shape)
            low, high = exact_affine(fractions(A.toarray()), fractions(b), (low, high))
        elif isinstance(layer, Linear):
            low, high = exact_affine(fractions(layer.weight), fractions(layer.bias), (low, high))
        pairs.append((low, high))
        shape = after
    return pairs


def exact_margins(network: LayerList, box: Box, C: Array) -> ExactBox:
    """The exact interval of the margins, a last Linear layer multiplied by them first."""
    last, hidden = network.layers[-1], network.layers[:-1]
    rows = fractions(C)
    if not isinstance(last, Linear):
        return exact_affine(rows, [Fraction(0)] * len(C), exact_bounds(network, box)[-1])
    W, b = fractions(last.weight), fractions(last.bias)
    before = exact_bounds(LayerList(network.input_shape, hidden or (Flatten(),)), box)[-1]
    folded = [[dot(row, column) for column in zip(*W, strict=True)] for row in rows]
    return exact_affine(folded, [dot(row, b) for row in rows], before)


def exact_affine(A: list[list[Fraction]], b: list[Fraction], box: ExactBox) -> ExactBox:
    low, high = box
    pairs = list(zip(low, high, strict=True))
    lowest = [dot(row, [l if w > 0 else u for w, (l, u) in zip(row, pairs, strict=True)]) for row in A]
    highest = [dot(row, [u if w > 0 else l for w, (l, u) in zip(row, pairs, strict=True)]) for row in A]
    return [s + v for s, v in zip(lowest, b, strict=True)], [s + v for s, v in zip(highest, b, strict=True)]


def dot(left: Any, right: Any) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True) if a), Fraction(0))


def fractions(array: Array) -> Any:
    """An array as nested lists of the rational numbers that its floats are."""
    return [fractions(row) for row in array] if array.ndim else Fraction(float(array))
