"""Units in which every input and every neuron of a model is near one.

Solvers' tolerances are absolute: 1e-7 is nothing to a neuron in the thousands, and more than all of a neuron in the
millionths. As `relu(s / t) = relu(s) / t`, each neuron may have a unit of its own. Powers of two round nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from networks.exact import SMALLEST_NORMAL
from networks.layers import Array
from networks.lowering import Affine, BoundsPair, LoweredNetwork, Rounding

SMALLEST_ORDINARY, LARGEST_ORDINARY = 2.0**-4, 2.0**10  # sizes at which solvers' tolerances mean what they say
SMALLEST_INPUT = 2.0**-10  # of the inputs, so that the dark pixels of an image stay as they are
LARGEST_EXPONENT = 500  # of a unit, so that the quotient of two of them is a double
# A neuron smaller than this share of its weights is dead, or what a cancellation leaves: a smaller unit would only blow
# the weights up.
SMALLEST_SHARE = 2.0**-30
SMALLEST_WIDTH = 2.0**-30  # of a neuron's bounds, in its unit


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """A network with its inputs and neurons in units near their own sizes; its outputs keep their unit.

    Attributes
    ----------
    network : LoweredNetwork
    box : (ndarray, ndarray), each of shape (inputs,)
    pre_activations : list of (ndarray, ndarray)
        Flat, one pair a hidden affine map. Neither these bounds nor the box are narrower than what they stand for.
    units : list of ndarray
        Of the inputs and, layer by layer, of the neurons: powers of two.
    """

    network: LoweredNetwork
    box: BoundsPair
    pre_activations: list[BoundsPair]
    units: list[Array]

    @property
    def in_range(self) -> bool:
        """Whether a unit was found for all: values beyond 2^501 have none."""
        sides = (side for pair in (self.box, *self.pre_activations) for side in pair)
        return all(np.abs(side).max(initial=0.0) <= 2 * LARGEST_ORDINARY for side in sides)

    @property
    def reaches(self) -> list[Array]:
        """The largest absolute values of the inputs and, layer by layer, of the ReLUs' outputs."""
        return [size(self.box), *(np.maximum(upper, 0.0) for _, upper in self.pre_activations)]


def powers_of_two(sizes: Array, smallest: float = SMALLEST_ORDINARY) -> Array:
    """The powers of two next to `sizes`, of any shape; one where a size is zero or from `smallest` to ordinary."""
    ordinary = (sizes == 0) | ((sizes >= smallest) & (sizes <= LARGEST_ORDINARY))
    if ordinary.all():
        return np.ones_like(sizes)
    exponents = np.round(np.log2(np.where(ordinary, 1.0, sizes)))
    return np.asarray(np.ldexp(1.0, np.clip(exponents, -LARGEST_EXPONENT, LARGEST_EXPONENT).astype(int)))


def power_of_two(size: float) -> float:
    """The power of two next to `size`; one where `size` is ordinary or zero."""
    return float(powers_of_two(np.array(size)))


def size(bounds: BoundsPair) -> Array:
    """The largest absolute value within each pair of bounds."""
    return np.maximum(np.abs(bounds[0]), np.abs(bounds[1]))


def near_one(network: LoweredNetwork, box: BoundsPair, pre_activations: Sequence[BoundsPair]) -> Scaled:
    """Scale a network by what the box and the bounds on its ReLUs' inputs, all flat, allow its numbers to be."""
    units = [powers_of_two(size(box), SMALLEST_INPUT)]
    for affine, bounds in zip(network.hidden, pre_activations, strict=True):
        units.append(powers_of_two(_sizes(affine, bounds, units[-1])))
    targets = [*units[1:], np.ones(len(network.last.b))]
    affines = tuple(_scaled(*step) for step in zip(network.affines, targets, units, strict=True))
    scaled = [_outwards(pair, unit) for pair, unit in zip([box, *pre_activations], units, strict=True)]
    return Scaled(LoweredNetwork(affines), scaled[0], [_not_too_narrow(pair) for pair in scaled[1:]], units)


def _sizes(affine: Affine, bounds: BoundsPair, units: Array) -> Array:
    """The sizes of neurons by their bounds, and by a share of their weights where next to nothing is left of those.

    `units`, shape (in,), are those of the map's inputs.
    """
    sizes = size(bounds)
    with np.errstate(over="ignore", invalid="ignore"):
        most = affine.largest * units.max(initial=0.0)
        small = np.flatnonzero(~(sizes >= SMALLEST_SHARE * (most + np.abs(affine.b))))
        if small.size:
            weights = abs(affine.A[small])
            weights.data *= units[weights.indices]
            largest = np.maximum(weights.max(axis=1).toarray().ravel(), np.abs(affine.b[small]))
            sizes[small] = np.maximum(sizes[small], SMALLEST_SHARE * largest)
    return sizes


def _scaled(affine: Affine, out: Array, into: Array) -> Affine:
    """The map from inputs in units of `into` to outputs in units of `out`; what underflows becomes rounding."""
    if (out == 1.0).all() and (into == 1.0).all():
        return affine
    A, b = _quotients(affine.A, out, into), affine.b / out
    lost = abs(A.data) < SMALLEST_NORMAL
    rounding = affine.rounding
    if rounding is None and not lost.any() and not (np.abs(b[affine.b != 0]) < SMALLEST_NORMAL).any():
        return Affine(A, b, affine.source)
    E = sparse.csr_array((lost * SMALLEST_NORMAL, A.indices, A.indptr), shape=A.shape)
    e = np.full(len(b), SMALLEST_NORMAL)
    if rounding is not None:
        scaled = _quotients(rounding.A, out, into)
        scaled.data += SMALLEST_NORMAL
        E, e = E + scaled, e + rounding.b / out
    return Affine(A, b, affine.source, Rounding(sparse.csr_array(E), e))


def _quotients(A: sparse.csr_array, out: Array, into: Array) -> sparse.csr_array:
    """`A[i, j] * into[j] / out[i]`."""
    factors = into[A.indices] / np.repeat(out, np.diff(A.indptr))
    with np.errstate(over="ignore"):  # the model refuses what has overflowed
        return sparse.csr_array((A.data * factors, A.indices, A.indptr), shape=A.shape)


def _not_too_narrow(bounds: BoundsPair) -> BoundsPair:
    """The bounds with some room where they leave almost none; no sign that they settle is unsettled.

    A presolve that rounds, or drops a small coefficient, would step out of them and call the model infeasible.
    """
    lower, upper = bounds
    narrow = upper - lower < SMALLEST_WIDTH
    if not narrow.any():
        return bounds
    room = np.where(narrow, SMALLEST_WIDTH, 0.0)
    return np.where(lower >= 0, np.maximum(lower - room, 0.0), lower - room), np.where(upper > 0, upper + room, upper)


def _outwards(bounds: BoundsPair, units: Array) -> BoundsPair:
    """The bounds in their units, wider by the last digit where one underflows."""
    if (units == 1.0).all():
        return bounds
    lower, upper = bounds[0] / units, bounds[1] / units
    return (
        np.where(lower * units > bounds[0], np.nextafter(lower, -np.inf), lower),
        np.where(upper * units < bounds[1], np.nextafter(upper, np.inf), upper),
    )
