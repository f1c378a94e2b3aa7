"""The MILP of a ReLU network over an input box, and its LP relaxation, by one code and one switch.

Tjeng, Xiao and Tedrake, "Evaluating Robustness of Neural Networks with Mixed Integer Programming" (2019); chapter 4 of
Kolter and Madry's tutorial. A hidden neuron has the pre-activation `s = W z + b` with bounds `l <= s <= u`, the output
`z` and, where its sign is open, a binary `v` (a relaxed one in the LP):

    z >= s,    z >= 0,    z <= u v,    z <= s - l (1 - v)

`textbook` writes down just these four rows, for every neuron, with `W z + b` in the place of s.

`compact` gives a binary only to unstable neurons (l < 0 < u), makes `z = s` of active ones (l >= 0), and leaves out the
inactive ones (u <= 0), whose output is zero. It substitutes `p = z - s`, the negative part of s:

    z - p = W z' + b,    z <= u v,    p <= -l (1 - v),    0 <= z <= u,    0 <= p <= -l

This is the same set, with one row of weights a neuron instead of two; two of the four rows become variable bounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from networks.errors import InputError
from networks.layers import Array
from networks.lowering import Affine, BoundsPair, LoweredNetwork
from solvers.linear_model import LinearModel

Indices = NDArray[np.int32]  # half of scipy's default, and what the solvers take
NONE = -1  # in the place of a column or row: the neuron has none


SMALLEST_ORDINARY, LARGEST_ORDINARY = 2.0**-4, 2.0**10  # sizes at which solvers' tolerances mean what they say


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One model for all targets: they differ only in the objective.

    Attributes
    ----------
    model : LinearModel
        With the first target's objective. Its first columns are the input, flat.
    objectives : ndarray, shape (k, columns), float64
    offsets : ndarray, shape (k,), float64
        `objectives[i] @ x + offsets[i]` is the margin of target i.
    magnitudes : ndarray, shape (k,), float64
        The largest term that the bounds allow in each of these sums: what a solver's errors are relative to.
    input_count, unstable_count, active_count, inactive_count : int
        Columns of the input, and neurons by what their bounds say.
    """

    model: LinearModel
    objectives: Array
    offsets: Array
    magnitudes: Array
    input_count: int
    unstable_count: int
    active_count: int
    inactive_count: int

    def input_of(self, x: Array) -> Array:
        """The network's input, flat, out of a solution of the model."""
        return x[: self.input_count]


def encode(
    network: LoweredNetwork,
    box: BoundsPair,
    pre_activations: Sequence[BoundsPair],
    margins: Array,
    *,
    relaxation: bool = False,
    formulation: str = "compact",
) -> Encoding:
    """The model whose minimum for target i is `min margins[i] @ f(x)` over the box.

    Parameters
    ----------
    network : LoweredNetwork
    box : (ndarray, ndarray), each of shape (inputs,) after flattening
        The input box; it becomes variable bounds.
    pre_activations : sequence of (ndarray, ndarray)
        Sound lower and upper bounds on the input of every ReLU layer, flat, one pair a hidden affine map.
    margins : ndarray, shape (k, outputs)
    relaxation : bool
        Let the binaries range over [0, 1]: the LP relaxation.
    formulation : {"compact", "textbook"}

    Raises
    ------
    InputError
        An unknown formulation, or a pre-activation bound that is not finite.
    """
    if formulation not in FORMULATIONS:
        raise InputError(f"formulation is {formulation!r}; expected one of {', '.join(FORMULATIONS)}")
    _check_finite(pre_activations)
    network, pre_activations = near_one(network, pre_activations)
    add_layer = FORMULATIONS[formulation]
    build = _Build()
    inputs = previous = build.columns(np.ravel(box[0]), np.ravel(box[1]))
    for affine, (lower, upper) in zip(network.hidden, pre_activations, strict=True):
        previous = add_layer(build, affine, previous, lower, upper)
    rows = margins @ network.last.A
    objectives = np.zeros((len(margins), build.column_count))
    objectives[:, previous[previous != NONE]] = rows[:, previous != NONE]
    offsets = margins @ network.last.b
    model = build.model(objectives[0], float(offsets[0]), relaxation=relaxation)
    largest = np.maximum(pre_activations[-1][1], 0.0) if pre_activations else np.abs(box).max(axis=0).ravel()
    magnitudes = np.abs(rows * largest).max(axis=1, initial=0.0)
    return Encoding(model, objectives, offsets, magnitudes, len(inputs), *_count_neurons(pre_activations))


def near_one(
    network: LoweredNetwork, pre_activations: Sequence[BoundsPair]
) -> tuple[LoweredNetwork, Sequence[BoundsPair]]:
    """The same function with each hidden layer's values in units of a power of two, so that they come near one.

    As `relu(s / t) = relu(s) / t`. Solvers' tolerances are absolute: 1e-7 is nothing to a neuron in the thousands, and
    more than all of a neuron in the millionths. Layers of ordinary size stay as they are; powers of two round nothing.
    """
    scales = [power_of_two(float(np.abs(pair).max(initial=0.0))) for pair in pre_activations]
    if all(scale == 1.0 for scale in scales):
        return network, pre_activations
    before = [1.0, *scales]
    hidden = [
        Affine(affine.A * (before[i] / scales[i]), affine.b / scales[i], affine.source)
        for i, affine in enumerate(network.hidden)
    ]
    last = Affine(network.last.A * before[-1], network.last.b, network.last.source)
    scaled = [(lower / scale, upper / scale) for (lower, upper), scale in zip(pre_activations, scales, strict=True)]
    return LoweredNetwork((*hidden, last)), scaled


def power_of_two(size: float) -> float:
    """The power of two next to `size`; one where `size` is ordinary or zero."""
    ordinary = size == 0 or SMALLEST_ORDINARY <= size <= LARGEST_ORDINARY
    return 1.0 if ordinary else 2.0 ** round(math.log2(size))


def _check_finite(pre_activations: Sequence[BoundsPair]) -> None:
    """Raise InputError where bounds have overflowed: they are the coefficients of the binaries."""
    for index, (lower, upper) in enumerate(pre_activations):
        bad = np.flatnonzero(~(np.isfinite(lower) & np.isfinite(upper)))
        if bad.size:
            raise InputError(
                f"neuron {bad[0]} of ReLU layer {index} has the pre-activation bounds [{lower[bad[0]]:g}, "
                f"{upper[bad[0]]:g}]; expected finite ones: the input box or the weights are too large"
            )


def _compact(build: _Build, affine: Affine, previous: Indices, lower: Array, upper: Array) -> Indices:
    """Add a layer on top of the columns `previous`; returns every neuron's column, `NONE` for the inactive ones."""
    live = upper > 0
    unstable = live & (lower < 0)
    l, u = lower[unstable], upper[unstable]
    z = build.columns(np.maximum(lower[live], 0.0), upper[live])
    p = build.columns(np.zeros_like(l), -l)
    v = build.columns(np.zeros_like(l), np.ones_like(l), integer=True)
    z_unstable = z[unstable[live]]
    # W z' - z + p = -b
    equality = build.rows(-affine.b[live], -affine.b[live])
    build.weights(_spread(equality, live), affine.A, previous)
    build.entries(equality, z, -1.0)
    build.entries(equality[unstable[live]], p, 1.0)
    # z - u v <= 0
    upper_row = build.rows(np.full_like(u, -np.inf), np.zeros_like(u))
    build.entries(upper_row, z_unstable, 1.0)
    build.entries(upper_row, v, -u)
    # p - l v <= -l
    lower_row = build.rows(np.full_like(l, -np.inf), -l)
    build.entries(lower_row, p, 1.0)
    build.entries(lower_row, v, -l)
    return _spread(z, live)


def _spread(indices: Indices, where: NDArray[np.bool_]) -> Indices:
    """One entry a neuron: the next of `indices` where `where` is true, else `NONE`."""
    spread = np.full(len(where), NONE, np.int32)
    spread[where] = indices
    return spread


def _textbook(build: _Build, affine: Affine, previous: Indices, lower: Array, upper: Array) -> Indices:
    """Add a layer with a column, a binary and four rows for every neuron; returns the columns."""
    infinite = np.full_like(lower, np.inf)
    z = build.columns(-infinite, infinite)
    v = build.columns(np.zeros_like(lower), np.ones_like(lower), integer=True)
    # W z' - z <= -b
    above = build.rows(-infinite, -affine.b)
    build.weights(above, affine.A, previous)
    build.entries(above, z, -1.0)
    # z >= 0
    positive = build.rows(np.zeros_like(lower), infinite)
    build.entries(positive, z, 1.0)
    # z - u v <= 0
    upper_row = build.rows(-infinite, np.zeros_like(lower))
    build.entries(upper_row, z, 1.0)
    build.entries(upper_row, v, -upper)
    # W z' - z + l v >= l - b
    lower_row = build.rows(lower - affine.b, infinite)
    build.weights(lower_row, affine.A, previous)
    build.entries(lower_row, z, -1.0)
    build.entries(lower_row, v, lower)
    return z


FORMULATIONS = {"compact": _compact, "textbook": _textbook}


@dataclass(slots=True)
class _Build:
    """Columns, rows and entries so far, as lists of arrays that are joined once at the end."""

    column_count: int = 0
    row_count: int = 0
    column_bounds: list[BoundsPair] = field(default_factory=list)
    row_bounds: list[BoundsPair] = field(default_factory=list)
    integer: list[NDArray[np.bool_]] = field(default_factory=list)
    triplets: list[tuple[Indices, Indices, Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        nothing = self.rows(np.empty(0), np.empty(0))  # so that there is something to join without a hidden layer
        self.entries(nothing, nothing, 0.0)

    def columns(self, lower: Array, upper: Array, *, integer: bool = False) -> Indices:
        self.column_bounds.append((lower, upper))
        self.integer.append(np.full(len(lower), integer))
        self.column_count += len(lower)
        return np.arange(self.column_count - len(lower), self.column_count, dtype=np.int32)

    def rows(self, lower: Array, upper: Array) -> Indices:
        self.row_bounds.append((lower, upper))
        self.row_count += len(lower)
        return np.arange(self.row_count - len(lower), self.row_count, dtype=np.int32)

    def entries(self, rows: Indices, columns: Indices, values: Array | float) -> None:
        self.triplets.append((rows, columns, np.full(len(rows), values)))

    def weights(self, rows: Indices, A: sparse.csr_array, previous: Indices) -> None:
        """`A`, with a neuron's weights in its row of `rows` and its inputs' columns in `previous`."""
        entry_rows, entry_columns = np.repeat(rows, np.diff(A.indptr)), previous.take(A.indices)
        kept = (entry_rows != NONE) & (entry_columns != NONE)
        self.triplets.append((entry_rows[kept], entry_columns[kept], A.data[kept]))

    def model(self, c: Array, offset: float, *, relaxation: bool) -> LinearModel:
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self.triplets, strict=True))
        A = sparse.coo_array((values, (rows, columns)), shape=(self.row_count, self.column_count))
        integer = np.concatenate(self.integer) & (not relaxation)
        return LinearModel(c, A, *_joined(self.row_bounds), *_joined(self.column_bounds), integer, offset)


def _joined(bounds: list[BoundsPair]) -> BoundsPair:
    lower, upper = (np.concatenate(side) for side in zip(*bounds, strict=True))
    return lower, upper


def _count_neurons(bounds: Sequence[BoundsPair]) -> tuple[int, int, int]:
    """How many neurons are unstable, active and inactive."""
    inactive = sum(int((upper <= 0).sum()) for _, upper in bounds)
    active = sum(int(((lower >= 0) & (upper > 0)).sum()) for lower, upper in bounds)
    return sum(len(upper) for _, upper in bounds) - active - inactive, active, inactive
