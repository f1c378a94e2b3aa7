"""The MILP of a ReLU network over an input box, and its LP relaxation, by one code and independent switches.

Tjeng, Xiao and Tedrake, "Evaluating Robustness of Neural Networks with Mixed Integer Programming" (2019); chapter 4 of
Kolter and Madry's tutorial. A hidden neuron has the pre-activation `s = W z + b` with bounds `l <= s <= u`, the output
`z` and, where its sign is open, a binary `v` (a relaxed one in the LP):

    z >= s,    z >= 0,    z <= u v,    z <= s - l (1 - v)

**Rows.** `textbook` writes down just these four rows, with `W z + b` in the place of s. `compact` substitutes
`p = z - s`, the negative part of s:

    z - p = W z' + b,    z <= u v,    p <= -l (1 - v),    0 <= z <= u,    0 <= p <= -l

This is the same set, with one row of weights a neuron instead of two; two of the four rows become variable bounds.

**Stable neurons.** `eliminate` gives a binary only to unstable neurons (l < 0 < u), makes `z = s` of active ones
(l >= 0), and leaves out the inactive ones (u <= 0), whose output is zero. `keep` treats all alike.

**Open signs.** `bigm` has the two rows with `u` and `l` above. `indicator` says `v = 0 => z = 0` and `v = 1 => p = 0`
instead, and `sos1` says without a binary that at most one of z and p is not zero.

**Query.** `each` has one objective a target. `maximum` asks for the strongest target in one model: it minimises m over

    m >= margin_t - M_t (1 - a_t),    sum of a_t = 1,    a_t binary,    M_t = u_t - min over t of l_t

with bounds `l_t <= margin_t <= u_t`; m then ends at the margin of the target that is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from networks.errors import InputError, NumericsError
from networks.exact import SMALLEST_NORMAL, UNIT
from networks.layers import Array
from networks.lowering import Affine, BoundsPair, LoweredNetwork
from solvers.encoding import NONE, Encoding, Indices, Neurons
from solvers.formulation import Formulation
from solvers.linear_model import LinearModel, ModelError
from solvers.scaling import LARGEST_EXPONENT, SMALLEST_SHARE, near_one, power_of_two

Mask = NDArray[np.bool_]
BEYOND_DOUBLES = "the model leaves the range of doubles; expected smaller weights or a smaller input box"
BIG_M_ROUNDING = 1e-12  # relative: M_t is a difference of two bounds


def encode(
    network: LoweredNetwork,
    box: BoundsPair,
    pre_activations: Sequence[BoundsPair],
    margins: Array,
    *,
    relaxation: bool = False,
    formulation: Formulation | None = None,
    margin_bounds: BoundsPair | None = None,
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
    formulation : Formulation, optional
        Compact rows, big-M and one objective a target unless given.
    margin_bounds : (ndarray, ndarray), each of shape (k,)
        Sound bounds on the margins, which the query `maximum` needs.

    Raises
    ------
    NumericsError
        Bounds, weights or margins that leave the range of doubles.
    InputError
        A relaxation of what has none.
    """
    formulation = formulation or Formulation()
    if relaxation and (formulation.relu != "bigm" or formulation.query != "each"):
        raise InputError(
            f"the LP relaxation has relu {formulation.relu!r}, query {formulation.query!r}; expected 'bigm' and 'each'"
        )
    _check_finite(pre_activations)
    flat = np.ravel(box[0]), np.ravel(box[1])
    scaled = near_one(network, flat, pre_activations)
    network, largest = scaled.network, scaled.reaches
    _check_representable(scaled.in_range)
    build = _Build()
    previous = build.columns(*scaled.box)
    neurons = []
    for affine, bounds, reach in zip(network.hidden, scaled.pre_activations, largest, strict=False):
        neurons.append(_add_layer(build, affine, previous, bounds, affine.slack(reach), formulation))
        previous = neurons[-1].z
    with np.errstate(over="ignore", invalid="ignore"):
        margin_rows, margin_offsets = np.asarray(margins @ network.last.A), margins @ network.last.b
        errors = _objective_errors(margins, network.last, largest[-1])
        magnitudes = _magnitudes(margin_rows, margin_offsets, largest[-1])
    _check_representable(np.isfinite(errors).all() and magnitudes.max() <= 2.0**LARGEST_EXPONENT)
    rows, offsets, choices, big_m = margin_rows, margin_offsets, np.empty(0, np.int32), 0.0
    if formulation.query == "maximum":
        unit, choices, previous, big_m = _add_maximum(build, rows, offsets, errors, previous, margin_bounds)
        rows, offsets, magnitudes = np.array([[unit]]), np.zeros(1), np.array([unit])
        errors = np.zeros(1)  # its rows have them
    objectives = np.zeros((len(rows), build.column_count))
    objectives[:, previous[previous != NONE]] = rows[:, previous != NONE]
    try:
        model = build.model(objectives[0], float(offsets[0]), relaxation=relaxation)
    except ModelError as error:  # weights that overflowed, in their units or in a product of layers
        raise NumericsError(BEYOND_DOUBLES) from error
    return Encoding(
        model,
        objectives,
        offsets,
        magnitudes,
        tuple(neurons),
        scaled,
        *_count_neurons(pre_activations),
        choices,
        margin_rows,
        margin_offsets,
        big_m,
        _joined(build.boxes),
        errors,
    )


def _magnitudes(rows: Array, offsets: Array, largest: Array) -> Array:
    """The largest term of each margin, shape (k,), and at least a share of its largest coefficient."""
    terms = np.abs(rows * largest).max(axis=1, initial=0.0)
    least = SMALLEST_SHARE * np.abs(rows).max(axis=1, initial=0.0)
    return np.asarray(np.maximum(np.maximum(terms, least), np.abs(offsets)))


def _objective_errors(margins: Array, last: Affine, largest: Array) -> Array:
    """Bounds, shape (k,), on the rounding of `margins @ A` and `margins @ b` times outputs of at most `largest`.

    The map's own rounding counts too. A sum of m products is off by at most `gamma_m` times the sum of their absolute
    values (Higham, section 3.1), and a single product by a power of two is exact; the factor is nearly twice that, for
    the rounding of this sum itself.
    """
    size = np.abs(margins) @ (last.absolute @ largest + np.abs(last.b))
    error = 2.0 * (margins.shape[1] + 16) * UNIT
    copied = (np.abs(margins) != 0).sum(axis=1) <= 1
    whole = np.isin(np.abs(margins), (0.0, 1.0)).all(axis=1)
    rounded = np.where(copied & whole, 0.0, error * size + size.size * SMALLEST_NORMAL)
    if last.rounding is None:
        return rounded
    return np.asarray(rounded + np.abs(margins) @ last.slack(largest) * (1.0 + error))


def _check_representable(in_range: bool | np.bool_) -> None:
    """Raise NumericsError where numbers of the model have overflowed, or have no unit in which they are near one."""
    if not in_range:
        raise NumericsError(BEYOND_DOUBLES)


def _check_finite(pre_activations: Sequence[BoundsPair]) -> None:
    """Raise NumericsError where bounds have overflowed: they are the coefficients of the binaries."""
    for index, (lower, upper) in enumerate(pre_activations):
        bad = np.flatnonzero(~(np.isfinite(lower) & np.isfinite(upper)))
        if bad.size:
            raise NumericsError(
                f"neuron {bad[0]} of ReLU layer {index} has the pre-activation bounds [{lower[bad[0]]:g}, "
                f"{upper[bad[0]]:g}]; expected finite ones: the input box or the weights are too large"
            )


def _add_layer(
    build: _Build, affine: Affine, previous: Indices, bounds: BoundsPair, slack: Array, formulation: Formulation
) -> Neurons:
    """Add a hidden layer on top of the columns `previous`; its rows hold up to `slack`, shape (neurons,)."""
    lower, upper = bounds
    live = upper > 0 if formulation.eliminates else np.ones(len(upper), bool)
    open_ = live & (lower < 0) if formulation.eliminates else live
    add = _ROWS[formulation.rows]
    sides = _outwards(-affine.b, slack)
    return add(build, affine, previous, sides, bounds, (live, open_), formulation.relu)


def _outwards(values: Array, slack: Array) -> BoundsPair:
    """`values - slack` and `values + slack`, rounded outwards; the values themselves where there is no slack."""
    if not slack.any():
        return values, values
    below, above = np.nextafter(values - slack, -np.inf), np.nextafter(values + slack, np.inf)
    return np.where(slack > 0, below, values), np.where(slack > 0, above, values)


def _compact(
    build: _Build,
    affine: Affine,
    previous: Indices,
    sides: BoundsPair,
    bounds: BoundsPair,
    masks: tuple[Mask, Mask],
    relu: str,
) -> Neurons:
    """`z - p = W z' + b` for all live neurons, with p only where the sign is open."""
    (lower, upper), (live, open_) = bounds, masks
    negative = np.maximum(-lower[open_], 0.0)
    z = _spread(build.columns(np.maximum(lower[live], 0.0), np.maximum(upper[live], 0.0)), live)
    p = _spread(build.columns(np.zeros_like(negative), negative), open_)
    # W z' - z + p = -b, up to the slack
    equality = _spread(build.rows(sides[0][live], sides[1][live]), live)
    build.weights(equality, affine.A, previous)
    build.entries(equality[live], z[live], -1.0)
    build.entries(equality[open_], p[open_], 1.0)
    v = _spread(_SIGNS[relu](build, z[open_], p[open_], lower[open_], upper[open_]), open_)
    return Neurons(affine, z, p, v)


def _big_m(build: _Build, z: Indices, p: Indices, l: Array, u: Array) -> Indices:
    v = build.binaries(len(l))
    # z - u v <= 0
    upper_row = build.rows(np.full_like(u, -np.inf), np.zeros_like(u))
    build.entries(upper_row, z, 1.0)
    build.entries(upper_row, v, -u)
    # p - l v <= -l
    lower_row = build.rows(np.full_like(l, -np.inf), -l)
    build.entries(lower_row, p, 1.0)
    build.entries(lower_row, v, -l)
    return v


def _indicator(build: _Build, z: Indices, p: Indices, l: Array, u: Array) -> Indices:
    v = build.binaries(len(l))
    build.indicators += [(v, 0, z), (v, 1, p)]
    return v


def _sos1(build: _Build, z: Indices, p: Indices, l: Array, u: Array) -> Indices:
    build.sos1.append((z, p))
    return np.full(len(l), NONE, np.int32)


_SIGNS = {"bigm": _big_m, "indicator": _indicator, "sos1": _sos1}


def _spread(indices: Indices, where: Mask) -> Indices:
    """One entry a neuron: the next of `indices` where `where` is true, else `NONE`."""
    spread = np.full(len(where), NONE, np.int32)
    spread[where] = indices
    return spread


def _textbook(
    build: _Build,
    affine: Affine,
    previous: Indices,
    sides: BoundsPair,
    bounds: BoundsPair,
    masks: tuple[Mask, Mask],
    relu: str,
) -> Neurons:
    """A column a live neuron, and a binary and four rows where the sign is open, an equality where it is not."""
    (lower, upper), (live, open_) = bounds, masks
    active = live & ~open_
    anything = np.full(live.sum(), np.inf)
    box = np.maximum(lower[live], 0.0), np.maximum(upper[live], 0.0)
    z = _spread(build.columns(-anything, anything, box=box), live)
    v = _spread(build.binaries(int(open_.sum())), open_)
    # W z' - z = -b, up to the slack
    equality = build.rows(sides[0][active], sides[1][active])
    build.weights(_spread(equality, active), affine.A, previous)
    build.entries(equality, z[active], -1.0)
    l, u = lower[open_], upper[open_]
    infinite = np.full_like(l, np.inf)
    # W z' - z <= -b
    above = build.rows(-infinite, sides[1][open_])
    build.weights(_spread(above, open_), affine.A, previous)
    build.entries(above, z[open_], -1.0)
    # z >= 0
    positive = build.rows(np.zeros_like(l), infinite)
    build.entries(positive, z[open_], 1.0)
    # z - u v <= 0
    upper_row = build.rows(-infinite, np.zeros_like(l))
    build.entries(upper_row, z[open_], 1.0)
    build.entries(upper_row, v[open_], -u)
    # W z' - z + l v >= l - b, a difference that is rounded down: the row then holds of the network
    lower_row = build.rows(np.nextafter(l + sides[0][open_], -infinite), infinite)
    build.weights(_spread(lower_row, open_), affine.A, previous)
    build.entries(lower_row, z[open_], -1.0)
    build.entries(lower_row, v[open_], l)
    return Neurons(affine, z, np.full(len(live), NONE, np.int32), v)


_ROWS = {"compact": _compact, "textbook": _textbook}


def _add_maximum(
    build: _Build,
    rows: Array,
    offsets: Array,
    errors: Array,
    previous: Indices,
    margin_bounds: BoundsPair | None,
) -> tuple[float, Indices, Indices, float]:
    """Add the choice of a target and, as the last column, the strongest margin.

    Returns its unit, the columns of both, and the largest big-M in the margins' own unit.
    """
    if margin_bounds is None or not np.isfinite(margin_bounds).all():
        raise NumericsError("the query 'maximum' needs finite bounds on the margins; the input box is too large")
    # As a neuron's unit: bounds that are next to nothing must not blow the weights up.
    unit = power_of_two(float(max(np.abs(margin_bounds).max(), SMALLEST_SHARE * np.abs(rows).max(initial=0.0))))
    lower, upper = margin_bounds[0] / unit, margin_bounds[1] / unit
    least = float(lower.min())
    big_m = (upper - least) * (1 + BIG_M_ROUNDING)
    choices = build.binaries(len(rows))
    strongest = build.columns(np.array([least]), np.array([max(least, float(upper.min()))]))
    # margin_t - m + M_t a_t <= M_t, with room for what rounding the margin and this side may cost
    side = np.nextafter(np.nextafter(big_m - offsets / unit, np.inf) + errors / unit, np.inf)
    above = build.rows(np.full_like(big_m, -np.inf), side)
    build.weights(above, sparse.csr_array(rows / unit), previous)
    build.entries(above, np.repeat(strongest, len(rows)), -1.0)
    build.entries(above, choices, big_m)
    # sum of a_t = 1
    one = build.rows(np.ones(1), np.ones(1))
    build.entries(np.repeat(one, len(rows)), choices, 1.0)
    return unit, choices, strongest, unit * float(big_m.max())


@dataclass(slots=True)
class _Build:
    """Columns, rows and entries so far, as lists of arrays that are joined once at the end."""

    column_count: int = 0
    row_count: int = 0
    column_bounds: list[BoundsPair] = field(default_factory=list)
    boxes: list[BoundsPair] = field(default_factory=list)  # of what the network computes
    row_bounds: list[BoundsPair] = field(default_factory=list)
    integer: list[NDArray[np.bool_]] = field(default_factory=list)
    triplets: list[tuple[Indices, Indices, Array]] = field(default_factory=list)
    sos1: list[tuple[Indices, Indices]] = field(default_factory=list)
    indicators: list[tuple[Indices, int, Indices]] = field(default_factory=list)

    def __post_init__(self) -> None:
        nothing = self.rows(np.empty(0), np.empty(0))  # so that there is something to join without a hidden layer
        self.entries(nothing, nothing, 0.0)

    def columns(self, lower: Array, upper: Array, *, integer: bool = False, box: BoundsPair | None = None) -> Indices:
        self.column_bounds.append((lower, upper))
        self.boxes.append((lower, upper) if box is None else box)
        self.integer.append(np.full(len(lower), integer))
        self.column_count += len(lower)
        return np.arange(self.column_count - len(lower), self.column_count, dtype=np.int32)

    def binaries(self, count: int) -> Indices:
        return self.columns(np.zeros(count), np.ones(count), integer=True)

    def rows(self, lower: Array, upper: Array) -> Indices:
        self.row_bounds.append((lower, upper))
        self.row_count += len(lower)
        return np.arange(self.row_count - len(lower), self.row_count, dtype=np.int32)

    def entries(self, rows: Indices, columns: Indices, values: Array | float) -> None:
        self.triplets.append((rows, columns, np.full(len(rows), values)))

    def weights(self, rows: Indices, A: sparse.csr_array, previous: Indices) -> None:
        """`A`, with a neuron's weights in its row of `rows` and its inputs' columns in `previous`."""
        counts, there = np.diff(A.indptr), rows != NONE
        kept = np.repeat(there, counts)
        if (previous == NONE).any():
            kept &= (previous != NONE).take(A.indices)
            entry_rows = np.repeat(rows, counts)[kept]
        else:
            entry_rows = np.repeat(rows[there], counts[there])
        self.triplets.append((entry_rows, previous.take(A.indices[kept]), A.data[kept]))

    def model(self, c: Array, offset: float, *, relaxation: bool) -> LinearModel:
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self.triplets, strict=True))
        A = sparse.coo_array((values, (rows, columns)), shape=(self.row_count, self.column_count))
        integer = np.concatenate(self.integer) & (not relaxation)
        pairs = [np.stack(pair, axis=1) for pair in self.sos1]
        triples = [np.stack([v, np.full_like(v, value), z], axis=1) for v, value, z in self.indicators]
        return LinearModel(
            c,
            A,
            *_joined(self.row_bounds),
            *_joined(self.column_bounds),
            integer,
            offset,
            np.concatenate(pairs) if pairs else None,
            np.concatenate(triples) if triples else None,
        )


def _joined(bounds: list[BoundsPair]) -> BoundsPair:
    lower, upper = (np.concatenate(side) for side in zip(*bounds, strict=True))
    return lower, upper


def _count_neurons(bounds: Sequence[BoundsPair]) -> tuple[int, int, int]:
    """How many neurons are unstable, active and inactive."""
    inactive = sum(int((upper <= 0).sum()) for _, upper in bounds)
    active = sum(int(((lower >= 0) & (upper > 0)).sum()) for lower, upper in bounds)
    return sum(len(upper) for _, upper in bounds) - active - inactive, active, inactive
