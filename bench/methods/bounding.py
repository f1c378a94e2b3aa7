"""Bounds by propagation, and what tightening by a solver makes of them: for the methods, and for the models."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench.choices import SLOPES, TIGHTENING_SHARE
from bench.methods.question import Question
from bench.methods.settings import Settings
from networks.bounds.interval import interval_bounds, interval_margins
from networks.bounds.linear import linear_bounds, linear_margins
from networks.layers import Array
from networks.lowering import BoundsPair
from solvers.registry import get
from solvers.safety import margin_safety
from solvers.scaling import near_one
from solvers.tighten import tighten

ROUNDS = {"lp": (True,), "milp": (True, False)}  # of tightening; True is the LP relaxation
SOURCES = {  # in words, of each method that propagates
    "interval": "interval bounds",
    "linear": "linear bounds",
    "alpha": "linear bounds with optimised slopes",
    "dual": "the LP's dual by one backward pass",
}


@dataclass(frozen=True, slots=True, eq=False)
class Bounded:
    """Sound bounds on every layer's output over the box, and on the margins.

    Attributes
    ----------
    layers : list of (ndarray, ndarray)
        One pair a layer, without a batch dimension.
    lower, upper : ndarray, shape (k,)
        Of the margins.
    counters : dict
        Of the tightening: solves, and neurons settled by them.
    rigorous : bool
        Whether all of it holds in exact arithmetic: what a MILP has tightened is its solver's word.
    """

    layers: list[BoundsPair]
    lower: Array
    upper: Array
    counters: dict[str, float] = field(default_factory=dict)
    rigorous: bool = True

    @property
    def certified(self) -> Array:
        """The lower bounds on the margins, -inf where they hold only as far as a solver is right."""
        return self.lower if self.rigorous else np.full_like(self.lower, -np.inf)

    def restricted(self, targets: NDArray[np.intp]) -> Bounded:
        """The bounds with the margins at these positions only."""
        return Bounded(self.layers, self.lower[targets], self.upper[targets], rigorous=self.rigorous)


def propagate(question: Question, slopes: str | None) -> Bounded:
    """Interval bounds, or with slopes of `networks.bounds.linear` linear ones."""
    box = _batched(question.box)
    if slopes is None:
        layers = interval_bounds(question.network, *box)
    else:
        layers = linear_bounds(question.network, *box, slopes=slopes)
    lower, upper = margin_bounds(question, slopes, layers)
    return Bounded([(low[0], high[0]) for low, high in layers], lower, upper)


def margin_bounds(question: Question, slopes: str | None, layers: list[BoundsPair] | None = None) -> BoundsPair:
    """Bounds on the margins, shape (k,) each; linear ones from the batched bounds of the layers where there are any."""
    box, rows = _batched(question.box), question.instance.margins
    if slopes is None:
        lower, upper = interval_margins(question.network, *box, rows)
    else:
        lower, upper = linear_margins(question.network, *box, rows, slopes=slopes, bounds=layers)
    return lower[0], upper[0]


def tightened(question: Question, start: Bounded, settings: Settings, deadline: float) -> Bounded:
    """The bounds, tightened by the solver's LPs or MILPs until the deadline on `time.perf_counter()`."""
    found = tighten(
        question.network,
        question.lowered,
        question.box,
        start.layers,
        get(settings.solver),
        replace(settings.options, log=None),  # hundreds of small models: nobody reads that
        relaxations=ROUNDS[str(settings.bounds)],
        deadline=deadline,
        exact=settings.exact,
    )
    if not found.solves:
        return start
    lower, upper = margin_bounds(question, SLOPES["linear"], [_batched(pair) for pair in found.bounds])
    counters: dict[str, float] = {"bound_solves": found.solves, "settled": found.settled}
    return Bounded(found.bounds, lower, upper, counters, found.rigorous)


def word_of_a_solver(question: Question, found: Bounded, settings: Settings) -> Array:
    """What the lower bounds must exceed to count as positive, shape (k,): zero where they are rigorous.

    Else a solver's MILPs have tightened them, and its tolerances may hide as much as in the question's own MILP.
    """
    if found.rigorous:
        return np.zeros(len(found.lower))
    box = tuple(np.ravel(side) for side in question.box)
    lowered = question.lowered
    scaled = near_one(lowered, (box[0], box[1]), lowered.pre_activations(found.layers, question.box))
    J = np.asarray(question.instance.margins @ scaled.network.last.A)
    return margin_safety(scaled, J, np.ones(len(J)), get(settings.solver).tolerance(settings.options))


def bounded(question: Question, settings: Settings) -> Bounded:
    """The bounds that a model is made from, as the settings have them."""
    if settings.bounds not in ROUNDS:
        return propagate(question, SLOPES.get(str(settings.bounds)))
    limit = settings.options.time_limit_s
    end = time.perf_counter() + (math.inf if limit is None else TIGHTENING_SHARE * limit)
    return tightened(question, propagate(question, SLOPES["linear"]), settings, end)


def _batched(pair: BoundsPair) -> BoundsPair:
    return pair[0][None], pair[1][None]
