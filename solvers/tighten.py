"""Tighter pre-activation bounds by the LP relaxation or the MILP of the layers before, only where they may pay.

Tjeng, Xiao and Tedrake, "Evaluating Robustness of Neural Networks with Mixed Integer Programming" (2019), section 4.2:
every neuron gets the cheapest bound that settles its sign. Linear bounds come first, of all neurons; then, layer by
layer, two LPs for each neuron that is still unstable (one where the first settles it); then its MILPs while there is
time. What is won in one layer tightens the linear bounds and the models of all later ones.

An LP's bound is certified from its duals (`solvers.certify`). A MILP's is the solver's own dual bound less what the
solver's tolerances can hide (`solvers.safety`), as there is nothing to certify it from.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from networks.errors import NumericsError
from networks.layers import Array, LayerList
from networks.lowering import BoundsPair, LoweredNetwork
from solvers.backend import Backend, Session, SolverOptions
from solvers.certify import less, lower_bound
from solvers.encode import encode
from solvers.encoding import Encoding
from solvers.safety import enough


@dataclass(slots=True)
class Tightening:
    """Bounds of every layer, tightened in place, and what it took.

    Attributes
    ----------
    bounds : list of (lower, upper)
        One pair a layer of the layer list, without a batch dimension.
    solves : int
        LPs and MILPs solved.
    settled : int
        Neurons whose sign they settled.
    rigorous : bool
        Whether every bound holds in exact arithmetic: false once one is a solver's word.
    """

    bounds: list[BoundsPair]
    solves: int = 0
    settled: int = 0
    rigorous: bool = True


def tighten(
    network: LayerList,
    lowered: LoweredNetwork,
    box: BoundsPair,
    bounds: list[BoundsPair],
    backend: Backend,
    options: SolverOptions,
    *,
    relaxations: tuple[bool, ...] = (True,),
    deadline: float = math.inf,
    exact: bool = False,
) -> Tightening:
    """Tighten the bounds on every ReLU's input.

    Parameters
    ----------
    network, lowered
        The layer list and its lowering.
    box : (ndarray, ndarray), each of shape (*input_shape)
    bounds : list of (ndarray, ndarray)
        Sound bounds to start from, one pair a layer, without a batch dimension.
    relaxations : tuple of bool
        The rounds, in order: True is the LP relaxation, False the MILP.
    deadline : float
        On `time.perf_counter()`: what is not tightened by then stays as it is.
    exact : bool
        Certify the LPs' bounds by rational arithmetic.

    Notes
    -----
    The bounds over a box of the first affine map are exact already.
    """
    found = Tightening(bounds)
    for index, affine in enumerate(lowered.hidden[1:], start=1):
        if affine.source < 0 or time.perf_counter() >= deadline:
            continue
        for relaxation in relaxations:
            _tighten_layer(found, lowered, box, index, backend, options, relaxation, deadline, exact)
        found.bounds = _refreshed(network, box, found.bounds)
    return found


def _refreshed(network: LayerList, box: BoundsPair, known: list[BoundsPair]) -> list[BoundsPair]:
    """Linear bounds that make use of the known ones."""
    from networks.bounds.linear import linear_bounds  # torch

    batched = [(lower[None], upper[None]) for lower, upper in known]
    return [(lower[0], upper[0]) for lower, upper in linear_bounds(network, box[0][None], box[1][None], known=batched)]


def _tighten_layer(
    found: Tightening,
    lowered: LoweredNetwork,
    box: BoundsPair,
    index: int,
    backend: Backend,
    options: SolverOptions,
    relaxation: bool,
    deadline: float,
    exact: bool,
) -> None:
    affine, pre_activations = lowered.hidden[index], lowered.pre_activations(found.bounds, box)
    lower, upper = (side.copy() for side in pre_activations[index])
    unstable = _unstable(lower, upper)
    if not unstable.size:
        return
    try:
        encoding = _encode_neurons(lowered, box, pre_activations, index, unstable, relaxation)
    except NumericsError:
        return  # nothing to tighten with: the bounds stay as they are
    layer = _Layer(encoding, unstable, lower, upper, exact)
    model = layer.encoding.model
    with backend.load(model, replace(options, time_limit_s=None)) as session:
        layer.run(session, deadline)
    found.solves += layer.solves
    found.rigorous &= layer.rigorous
    found.settled += unstable.size - _unstable(lower, upper).size
    shape = found.bounds[affine.source][0].shape
    found.bounds[affine.source] = lower.reshape(shape), upper.reshape(shape)


def _unstable(lower: Array, upper: Array) -> NDArray[np.intp]:
    return np.flatnonzero((lower < 0) & (upper > 0))


def _encode_neurons(
    lowered: LoweredNetwork,
    box: BoundsPair,
    pre_activations: list[BoundsPair],
    index: int,
    neurons: NDArray[np.intp],
    relaxation: bool,
) -> Encoding:
    """The layers before `index`, with the pre-activations of `neurons` as objectives."""
    prefix = LoweredNetwork((*lowered.hidden[:index], lowered.hidden[index].rows(neurons)))
    return encode(prefix, box, pre_activations[:index], np.eye(neurons.size), relaxation=relaxation)


@dataclass(slots=True)
class _Layer:
    """The neurons of one layer: objective i of the encoding is the pre-activation of neuron `neurons[i]`."""

    encoding: Encoding
    neurons: NDArray[np.intp]
    lower: Array
    upper: Array
    exact: bool
    safety: Array | None = None  # of MILPs, and of LPs without duals: worked out when it is asked for
    solves: int = 0
    rigorous: bool = True

    def run(self, session: Session, deadline: float) -> None:
        """Both sides of every neuron, nearest to zero first, until the sign is known or the time is over."""
        for i, neuron in self._easiest_first():
            sides = (-1, 1) if self.upper[neuron] < -self.lower[neuron] else (1, -1)
            for sign in sides:
                if time.perf_counter() >= deadline:
                    return
                self._tighten(session, i, sign, deadline)
                if self.lower[neuron] >= 0 or self.upper[neuron] <= 0:
                    break

    def _easiest_first(self) -> list[tuple[int, int]]:
        distance = np.minimum(-self.lower[self.neurons], self.upper[self.neurons])
        return [(int(i), int(self.neurons[i])) for i in np.argsort(distance, kind="stable")]

    def _tighten(self, session: Session, i: int, sign: int, deadline: float) -> None:
        """Minimise the pre-activation (sign 1: a lower bound) or its negative (sign -1: an upper bound)."""
        neuron = self.neurons[i]
        c, offset, scale = self.encoding.objective(i)
        session.set_objective(sign * c, sign * offset)
        left = deadline - time.perf_counter()
        # A sign is all that is asked: a bound above zero settles it, a point below zero shows that this side cannot.
        stops = {"stop_below": 0.0, "stop_above": enough(self._safety(session)[i], scale)} if self._is_mip else {}
        result = session.solve(left if math.isfinite(left) else None, **stops)
        self.solves += 1
        believed, certified = (bound * scale for bound in lower_bound(session.model, result, exact=self.exact))
        proved = math.isfinite(certified) and self.encoding.is_objective(
            i, session.model.c, session.model.offset, scale
        )
        if proved:
            bound = less(certified, float(self.encoding.objective_errors[i]))
        else:
            bound = believed - self._safety(session)[i] if math.isfinite(believed) else -math.inf
        if not bound <= (self.upper[neuron] if sign > 0 else -self.lower[neuron]):
            return  # beyond the other side, which is proved: this solver is wrong
        self.rigorous &= proved or bound == -math.inf
        if sign > 0:
            self.lower[neuron] = max(self.lower[neuron], bound)
        else:
            self.upper[neuron] = min(self.upper[neuron], -bound)

    @property
    def _is_mip(self) -> bool:
        return self.encoding.model.is_mip

    def _safety(self, session: Session) -> Array:
        if self.safety is None:
            self.safety = self.encoding.safety(session.tolerance)
        return self.safety
