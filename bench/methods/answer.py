"""What a bounding method hands back, before anything is judged."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from networks.layers import Array

OF_ALL = -1.0  # in a trace's first column: the search stands for all targets


def no_trace() -> Array:
    """The trace of no search."""
    return np.empty((0, 4))


def at_targets(trace: Array, targets: ArrayLike) -> Array:
    """A trace whose places among `targets`, shape (k,), become the targets themselves."""
    place = trace[:, 0].astype(int)
    found = np.where(place < 0, OF_ALL, np.asarray(targets, dtype=float)[place])
    return np.column_stack([found, trace[:, 1:]])


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Lower bounds, candidate inputs and costs of one method on one instance.

    Attributes
    ----------
    lower : ndarray, shape (k,)
        Lower bounds on the margins; -inf where there is none.
    status : tuple of str, length k
    candidates : ndarray, shape (m, inputs)
        Inputs that may be witnesses, inside the box up to the solver's tolerance.
    gap, safety : ndarray, shape (k,)
        What the solver achieved; and what a lower bound must exceed to count as positive, zero for rigorous bounds.
    certified : ndarray, shape (k,)
        Lower bounds that hold in exact arithmetic; -inf where there is none.
    claimed : ndarray, shape (k,), or None
        The solver's own bounds, as it said them, -inf where it said none; None without a solver.
    violation : float or None
        The largest violation of the model by a solution that the solver gave; None without one.
    source : str
        What gave the lower bounds, in words, e.g. `interval bounds`.
    bounds_s, build_s, solve_s : float
    counters : dict
    messages : tuple of str, length k
        What the solver said of a failure, empty where all is well; no entry at all without a solver.
    stage : tuple of str, length k
        The stage that decided each target, empty where none did; no entry at all without stages.
    stage_s : dict of str to float
        What each stage took.
    trace : ndarray, shape (m, 4)
        Of the MILPs: the target's place (OF_ALL for a search that stands for all), seconds since its search began,
        incumbent and bound on the margin.
    """

    lower: Array
    status: tuple[str, ...]
    candidates: Array
    gap: Array
    safety: Array
    certified: Array
    source: str
    claimed: Array | None = None
    violation: float | None = None
    bounds_s: float = 0.0
    build_s: float = 0.0
    solve_s: float = 0.0
    counters: dict[str, float] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    stage: tuple[str, ...] = ()
    stage_s: dict[str, float] = field(default_factory=dict)
    trace: Array = field(default_factory=no_trace)
