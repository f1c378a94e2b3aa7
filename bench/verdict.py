"""From an outcome to VERIFIED, FALSIFIED or UNKNOWN, with the evidence. A pure function: it measures nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from networks.layers import Array

# A solver's bound counts as positive only beyond this: ten times the feasibility tolerance that is asked of it.
SOLVER_SAFETY = 1e-6
DONE = ("optimal", "bounded")  # a target that ended so lacks nothing but a better bound


class Verdict(StrEnum):
    """What an outcome says of the question "does the label win everywhere in the ball?"."""

    VERIFIED = "verified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"


def decide(
    targets: Sequence[int],
    lower: Array,
    witness_margin: float | None,
    statuses: Sequence[str],
    *,
    safety: float,
    source: str,
    messages: Sequence[str] = (),
) -> tuple[Verdict, str]:
    """The verdict and its evidence in words.

    Parameters
    ----------
    targets : sequence of int, length k
    lower : ndarray, shape (k,)
        Lower bounds on the margins.
    witness_margin : float or None
        The smallest margin of an input that lies in the ball, run forward through the network again; None without one.
    statuses : sequence of str, length k
        How each target ended.
    safety : float
        The lower bounds must exceed this: zero for rigorous bounds, `SOLVER_SAFETY` for a solver's.
    source : str
        What gave the lower bounds, e.g. `interval bounds`.
    messages : sequence of str, length k or 0
        What the solver said of its failure for each target, empty where it said nothing.

    Notes
    -----
    A margin of exactly zero decides nothing: ties are neither wins nor losses of the label.
    """
    if witness_margin is not None and witness_margin < 0:
        return Verdict.FALSIFIED, f"witness with margin {witness_margin:.6g}"
    open_targets = [i for i in range(len(targets)) if not lower[i] > safety]
    if not open_targets:
        return Verdict.VERIFIED, source
    worst = min(open_targets, key=lambda i: (lower[i], i))
    if messages and messages[worst]:
        return Verdict.UNKNOWN, messages[worst]
    reason = "not decided" if statuses[worst] in DONE else statuses[worst].replace("_", " ")
    bound = f"lower bound {lower[worst]:.6g}" if lower[worst] > -math.inf else "no lower bound"
    return Verdict.UNKNOWN, f"{reason}: target {targets[worst]} has {bound}"
