"""Lowering: a layer list as alternating sparse affine maps and ReLUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from networks.exact import SMALLEST_NORMAL, UNIT
from networks.layers import Array, Conv2d, Flatten, LayerList, Linear, ReLU, Shape, read_only

BoundsPair = tuple[Array, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """Bounds on the rounding errors of an affine map, entry by entry.

    Attributes
    ----------
    A : csr_array, shape (out, in), float64
    b : ndarray, shape (out,), float64
    """

    A: sparse.csr_array
    b: Array

    def at(self, reach: Array) -> Array:
        """`A @ reach + b`, rounded up; shape (out,)."""
        room = 1.0 + 2.0 * (self.A.shape[1] + 16) * UNIT
        return np.asarray((self.A @ reach + self.b) * room + SMALLEST_NORMAL)


@dataclass(frozen=True, eq=False)
class Affine:
    """`z -> A @ z + b` on flat vectors.

    Attributes
    ----------
    A : csr_array, shape (out, in), float64
    b : ndarray, shape (out,), float64
    source : int
        Index of the layer whose output this map computes; -1 for the network's input.
    rounding : Rounding or None
        How far `A` and `b` may be from the layers' exact map; None where they are the layers' own numbers.
    """

    A: sparse.csr_array
    b: Array
    source: int
    rounding: Rounding | None = None

    @cached_property
    def absolute(self) -> sparse.csr_array:
        """`|A|`, entry by entry."""
        return abs(self.A)

    @cached_property
    def largest(self) -> float:
        """The largest entry of `|A|`."""
        return float(max(self.A.data.max(initial=0.0), -self.A.data.min(initial=0.0)))

    def slack(self, reach: Array) -> Array:
        """Bounds on how far `A @ z + b` is from the layers' exact map where `|z| <= reach`; shape (out,)."""
        return np.zeros(len(self.b)) if self.rounding is None else self.rounding.at(reach)

    def rows(self, chosen: NDArray[np.intp]) -> Affine:
        """The map to the chosen outputs only."""
        rounding = self.rounding and Rounding(sparse.csr_array(self.rounding.A[chosen]), self.rounding.b[chosen])
        return Affine(sparse.csr_array(self.A[chosen]), self.b[chosen], self.source, rounding)


@dataclass(frozen=True, slots=True, eq=False)
class LoweredNetwork:
    """`f(x) = A_L relu(... relu(A_1 x + b_1) ...) + b_L` on flat vectors: a ReLU between every two affine maps.

    A ReLU at the network's beginning or end gets an identity map on its far side.
    """

    affines: tuple[Affine, ...]

    @property
    def hidden(self) -> tuple[Affine, ...]:
        """The affine maps that a ReLU follows."""
        return self.affines[:-1]

    @property
    def last(self) -> Affine:
        """The affine map that gives the outputs."""
        return self.affines[-1]

    def forward(self, batch: Array) -> Array:
        """`(n, inputs) -> (n, outputs)`, in float64."""
        values = batch
        for affine in self.hidden:
            values = np.maximum((affine.A @ values.T).T + affine.b, 0.0)
        return np.asarray((self.last.A @ values.T).T + self.last.b)

    def pre_activations(self, bounds: Sequence[BoundsPair], box: BoundsPair) -> list[BoundsPair]:
        """The bounds on every ReLU's input, flat, out of one (lower, upper) pair a layer and the input box."""
        pairs = [box if affine.source < 0 else bounds[affine.source] for affine in self.hidden]
        return [(np.ravel(lower), np.ravel(upper)) for lower, upper in pairs]


def lower(network: LayerList) -> LoweredNetwork:
    """Lower a layer list: convolutions become their sparse matrices, adjacent affine layers are multiplied out."""
    shape = network.input_shape
    affines: list[Affine] = []
    current: Affine | None = None  # the affine map since the last ReLU, None where nothing stands yet
    for index, layer in enumerate(network.layers):
        if isinstance(layer, ReLU):
            if current is not None or not affines:  # a second ReLU in a row changes nothing
                affines.append(current or _identity(math.prod(shape), -1))
            current = None
        elif isinstance(layer, Flatten):
            if current is not None:
                current = replace(current, source=index)
        else:
            step = conv_affine(layer, shape) if isinstance(layer, Conv2d) else _linear_affine(layer)
            current = _compose(current, step, index)
        shape = network.shapes[index]
    last = current or _identity(math.prod(shape), len(network.layers) - 1)
    return LoweredNetwork((*affines, last))


def conv_affine(layer: Conv2d, shape: Shape) -> tuple[sparse.csr_array, Array]:
    """The sparse matrix and the bias of a convolution on inputs of `shape`, flattened channels first.

    Entry ((o, i, j), (c, p, q)) is `weight[o, c - c_0, u, v]` where `p = i s + u d - padding` and so for q, v; c_0 is
    the first channel of o's group.
    """
    out, height, width = layer.output_shape(shape)
    _, per_group, kernel_height, kernel_width = layer.weight.shape
    axes = np.ogrid[0:out, 0:height, 0:width, 0:per_group, 0:kernel_height, 0:kernel_width]
    o, i, j, c, u, v = axes
    p = i * layer.stride[0] + u * layer.dilation[0] - layer.padding[0]
    q = j * layer.stride[1] + v * layer.dilation[1] - layer.padding[1]
    channel = o // (out // layer.groups) * per_group + c
    inside = np.broadcast_to((p >= 0) & (p < shape[1]) & (q >= 0) & (q < shape[2]), np.broadcast(*axes).shape)
    rows = np.broadcast_to((o * height + i) * width + j, inside.shape)[inside]
    columns = np.broadcast_to((channel * shape[1] + p) * shape[2] + q, inside.shape)[inside]
    values = np.broadcast_to(layer.weight[:, None, None], inside.shape)[inside]
    size = (out * height * width, math.prod(shape))
    return sparse.csr_array((values, (rows, columns)), shape=size), np.repeat(layer.bias, height * width)


def _linear_affine(layer: Linear) -> tuple[sparse.csr_array, Array]:
    return sparse.csr_array(layer.weight), layer.bias


def _compose(first: Affine | None, step: tuple[sparse.csr_array, Array], source: int) -> Affine:
    A, b = step
    rounding = None
    if first is not None:
        rounding = _product_rounding(A, b, first)
        with np.errstate(over="ignore", invalid="ignore"):  # the model refuses what has overflowed
            A, b = sparse.csr_array(A @ first.A), A @ first.b + b
    A.eliminate_zeros()
    A.sort_indices()  # a product comes unsorted
    return Affine(A, read_only(b), source, rounding)


def _product_rounding(A: sparse.csr_array, b: Array, first: Affine) -> Rounding:
    """By how much the computed `A @ first.A` and `A @ first.b + b` may differ from the exact ones.

    A sum of m products is off by at most `gamma_m` times the sum of their absolute values (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1), and by `m t` where they underflow. The factor is more than twice
    `gamma_{m+1}`, for the rounding of these bounds themselves.
    """
    size, terms = abs(A), int(np.diff(A.indptr).max(initial=0)) + 1
    error = 2.0 * (terms + 16) * UNIT
    reached = first.A if first.rounding is None else first.rounding.A
    with np.errstate(over="ignore", invalid="ignore"):
        E = error * (size @ abs(first.A)) + terms * SMALLEST_NORMAL * (_pattern(A) @ _pattern(reached))
        e = error * (size @ np.abs(first.b) + np.abs(b)) + terms * SMALLEST_NORMAL
        if first.rounding is not None:
            E, e = E + 2.0 * (size @ first.rounding.A), e + 2.0 * (size @ first.rounding.b)
    return Rounding(sparse.csr_array(E), e)


def _pattern(A: sparse.csr_array) -> sparse.csr_array:
    """Ones where A has entries."""
    return sparse.csr_array((np.ones(A.nnz), A.indices, A.indptr), shape=A.shape)


def _identity(size: int, source: int) -> Affine:
    return Affine(sparse.eye_array(size, format="csr"), read_only(np.zeros(size)), source)
