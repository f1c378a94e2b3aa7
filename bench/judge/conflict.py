"""What contradicts what, and who is to blame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from bench.judge.facts import Facts


class Trust(IntEnum):
    """What a claim rests on: a solver's word, a proof in exact arithmetic, an input run forward by the harness."""

    WORD = 0
    PROOF = 1
    INPUT = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """What a row says, and what that rests on."""

    row: int
    said: str
    value: float | None = None
    trust: Trust = Trust.WORD


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two claims of which one is wrong, or a single one that is.

    Attributes
    ----------
    message : str
        Why they cannot both be.
    claims : tuple of Claim
    target : int or None
    tolerance : float or None
    """

    message: str
    claims: tuple[Claim, ...]
    target: int | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found: how many values it held against others, and what contradicts what."""

    tested: int
    conflicts: Sequence[Conflict] = ()


Check = Callable[[Facts], Result]


def blame(conflicts: Sequence[Conflict], solver_of: Mapping[int, str]) -> frozenset[int]:
    """The rows that are wrong.

    Whoever contradicts an input, or itself, is wrong; so is whoever contradicts a proof that no input refutes. That
    explains every other conflict that it has a part in. Of the rest the majority settles it: whoever contradicts the
    most solvers is wrong, and so on until nothing is left unexplained. Where two contradict each other and nobody
    else, either may be wrong, and both are named.
    """
    refuted = {claim.row for conflict in conflicts for claim in _accused(conflict, Trust.INPUT)}
    guilty = refuted | {
        claim.row
        for conflict in conflicts
        for claim in _accused(conflict, Trust.PROOF)
        if not any(other.trust is Trust.PROOF and other.row in refuted for other in conflict.claims)
    }
    disputes = [(c.claims[0].row, c.claims[1].row) for c in conflicts if not _accused(c, Trust.PROOF)]
    while disputes := [pair for pair in disputes if guilty.isdisjoint(pair)]:
        guilty |= _most_opposed(disputes, solver_of)
    return frozenset(guilty)


def _accused(conflict: Conflict, trust: Trust) -> list[Claim]:
    """The claims that one of at least that trust contradicts, or that stand alone; none where there is no such one."""
    if len(conflict.claims) == 1:
        return list(conflict.claims)
    best = max(claim.trust for claim in conflict.claims)
    return [claim for claim in conflict.claims if claim.trust < best] if best >= trust else []


def _most_opposed(disputes: Iterable[tuple[int, int]], solver_of: Mapping[int, str]) -> set[int]:
    """The rows that contradict the most solvers; a solver's repeats have one voice."""
    opponents: defaultdict[int, set[str]] = defaultdict(set)
    for one, other in disputes:
        opponents[one].add(solver_of[other])
        opponents[other].add(solver_of[one])
    most = max(map(len, opponents.values()))
    return {row for row, solvers in opponents.items() if len(solvers) == most}
