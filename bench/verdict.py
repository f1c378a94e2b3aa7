"""From an outcome to VERIFIED, FALSIFIED or UNKNOWN, with the evidence. A pure function: it measures nothing.

A verdict is about the ball of real numbers and the network in real arithmetic over its stored weights. Runs in float32
or float64 may differ from that; what they make of an input is said beside the verdict and is no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from networks.layers import Array

DONE = ("optimal", "bounded")  # a target that ended so lacks nothing but a better bound


class Verdict(StrEnum):
    """What an outcome says of the question "does the label win everywhere in the ball?"."""

    VERIFIED = "verified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"


class Tier(StrEnum):
    """What a verdict rests on, from the strongest ground to the weakest, of either verdict.

    VERIFIED is `certified` where every lower bound that it needs holds in exact arithmetic, whatever the solver's
    tolerances; it is `solver` where one of them is a solver's own dual bound, trusted beyond the safety margin.
    FALSIFIED rests on a witness that violates in exact arithmetic. It is `float32` where runs in float64 and in float32
    misclassify it too, `float64` where only the former does, `exact` where not even that.
    """

    CERTIFIED = "certified"
    SOLVER = "solver"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    EXACT = "exact"


def tier_of(
    verdict: Verdict, lower: Array, certified: Array, *, witness_double: bool, witness_single: bool
) -> Tier | None:
    """The tier of a verdict, given each target's lower bound and its certified one, shape (k,); None for UNKNOWN.

    `witness_double` and `witness_single` say whether runs in that arithmetic misclassify the witness.
    """
    if verdict is Verdict.FALSIFIED and not witness_double:
        return Tier.EXACT
    if verdict is Verdict.FALSIFIED:
        return Tier.FLOAT32 if witness_single else Tier.FLOAT64
    if verdict is Verdict.VERIFIED:
        return Tier.CERTIFIED if (certified > 0).all() else Tier.SOLVER
    return None


class Decision(NamedTuple):
    """A verdict, its evidence in words, and for UNKNOWN the reason in few: `time limit`, `not decided`, ..."""

    verdict: Verdict
    evidence: str
    reason: str | None = None


def decide(
    targets: Sequence[int],
    lower: Array,
    upper: Array,
    witness_margin: float | None,
    statuses: Sequence[str],
    *,
    safety: Array,
    source: str,
    messages: Sequence[str] = (),
) -> Decision:
    """The verdict and its evidence in words.

    Parameters
    ----------
    targets : sequence of int, length k
    lower, upper : ndarray, shape (k,)
        Bounds on the margins, the upper ones exact margins of inputs in the ball, rounded to nearest.
    witness_margin : float or None
        The smallest exact margin of an input that lies in the ball, with its sign; None without one.
    statuses : sequence of str, length k
        How each target ended.
    safety : ndarray, shape (k,)
        The lower bounds must exceed this, and may exceed the upper ones by no more: zero for rigorous bounds.
    source : str
        What gave the lower bounds, e.g. `interval bounds`.
    messages : sequence of str, length k or 0
        What the solver said of its failure for each target, empty where it said nothing.

    Notes
    -----
    A margin of exactly zero decides nothing: ties are neither wins nor losses of the label.
    """
    if witness_margin is not None and witness_margin < 0:
        return Decision(Verdict.FALSIFIED, f"witness with margin {witness_margin:.6g}")
    wrong = np.flatnonzero(contradicted(lower, upper, safety))
    if wrong.size:
        first = wrong[0]
        both = f"lower bound {lower[first]:.9g}, an input has {upper[first]:.9g}"
        return Decision(Verdict.UNKNOWN, f"contradicted: target {targets[first]} has {both}", "contradicted")
    open_targets = [i for i in range(len(targets)) if not lower[i] > safety[i]]
    if not open_targets:
        return Decision(Verdict.VERIFIED, source)
    worst = min(open_targets, key=lambda i: (lower[i], i))
    unsafe = lower[worst] > 0 or safety[worst] >= upper[worst] > 0  # a perfect bound would not clear the safety either
    done = "numerically unsafe" if unsafe else "not decided"
    reason = done if statuses[worst] in DONE else statuses[worst].replace("_", " ")
    if messages and messages[worst]:
        return Decision(Verdict.UNKNOWN, messages[worst], reason)
    bound = f"lower bound {lower[worst]:.6g}" if lower[worst] > -math.inf else "no lower bound"
    return Decision(Verdict.UNKNOWN, f"{reason}: target {targets[worst]} has {bound}", reason)


def contradicted(lower: Array, upper: Array, safety: Array) -> NDArray[np.bool_]:
    """Where a lower bound exceeds an input's exact margin, rounded to nearest, by more than its safety; shape (k,).

    A double that is no larger than a margin is no larger than the double nearest to it: rigorous bounds need no slack.
    """
    return np.asarray(lower > upper + safety)
