"""What contradicts what, and who is to blame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.judge.facts import Facts


class Trust(IntEnum):
    """What a claim rests on.

    A solver's word, a proof in exact arithmetic, an input as its row tells of it, an input that was replayed.
    """

    WORD = 0
    PROOF = 1
    SEEN = 2
    INPUT = 3


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

    def wrong(self, guilty: Collection[int]) -> list[Claim]:
        """The claims of guilty rows: bounds rather than inputs, of proofs and words the words."""
        accused = [claim for claim in self.claims if claim.row in guilty]
        bounds = [claim for claim in accused if claim.trust < Trust.SEEN] or accused
        least = min(claim.trust for claim in bounds)
        return [claim for claim in bounds if claim.trust is least]


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found: how many values it held against others, and what contradicts what."""

    tested: int
    conflicts: Sequence[Conflict] = ()


Check = Callable[["Facts"], Result]
# Of a proof, and its conflict with an input: whether nobody else has found an input that contradicts this proof.
Alone = Callable[[Claim, Conflict], bool]


@dataclass(frozen=True, slots=True)
class Blame:
    """Rows that are wrong, and those of which the input that they tell of is."""

    guilty: frozenset[int]
    false_inputs: frozenset[int] = frozenset()

    def rejects(self, conflict: Conflict) -> bool:
        """Whether the conflict is one of a false input with a proof."""
        proof, found = conflict.claims[0], conflict.claims[-1]
        return _proves(proof) and found.trust is Trust.SEEN and found.row in self.false_inputs


def blame(conflicts: Sequence[Conflict], voice_of: Mapping[int, str], alone: Alone = lambda *_: True) -> Blame:
    """Who is wrong.

    Whoever contradicts itself or an input that was replayed is wrong. An input that was not is believed against any
    word, and against a proof too, unless it stands alone and several prove otherwise. Whoever contradicts a proof that
    none of this refutes is wrong then. That explains every other conflict that it has a part in. Of the rest the
    majority settles it: whoever contradicts the most solvers is wrong, and so on until nothing is left unexplained.
    Where two contradict each other and nobody else, either may be wrong, and both are named.
    """
    alike = [conflict for conflict in conflicts if len({claim.row for claim in conflict.claims}) == 1]
    guilty = {conflict.claims[0].row for conflict in alike} | _accused(conflicts, Trust.INPUT)
    false_inputs = _false_inputs(conflicts, guilty, voice_of, alone)
    believed = [c for c in conflicts if not any(claim.row in false_inputs for claim in c.claims)]
    guilty |= _accused(believed, Trust.SEEN)
    unrefuted = [c for c in believed if not any(_proves(claim) and claim.row in guilty for claim in c.claims)]
    guilty |= _accused(unrefuted, Trust.PROOF)
    disputes = [c for c in believed if max(claim.trust for claim in c.claims) is Trust.WORD]
    open_ = [(c.claims[0].row, c.claims[1].row) for c in disputes if len(c.claims) > 1]
    while open_ := [pair for pair in open_ if guilty.isdisjoint(pair)]:
        guilty |= _most_opposed(open_, voice_of)
    return Blame(frozenset(guilty | false_inputs), frozenset(false_inputs))


def _proves(claim: Claim) -> bool:
    return claim.trust is Trust.PROOF


def _accused(conflicts: Iterable[Conflict], trust: Trust) -> set[int]:
    """The rows of claims that one of just that trust contradicts, where they have less."""
    best = [(max(claim.trust for claim in conflict.claims), conflict.claims) for conflict in conflicts]
    return {claim.row for most, claims in best if most is trust for claim in claims if claim.trust < most}


def _false_inputs(
    conflicts: Iterable[Conflict], refuted: Collection[int], voice_of: Mapping[int, str], alone: Alone
) -> set[int]:
    """The rows whose input, not replayed, several others prove to be none, where nobody else has found one like it."""
    against: defaultdict[int, list[tuple[Claim, Conflict]]] = defaultdict(list)
    for conflict in conflicts:
        proof, found = conflict.claims[0], conflict.claims[-1]
        if _proves(proof) and found.trust is Trust.SEEN and proof.row not in refuted and proof.row != found.row:
            against[found.row].append((proof, conflict))
    return {
        row
        for row, proofs in against.items()
        if len({voice_of[proof.row] for proof, _ in proofs} - {voice_of[row]}) > 1
        and all(alone(*one) for one in proofs)
    }


def _most_opposed(disputes: Iterable[tuple[int, int]], voice_of: Mapping[int, str]) -> set[int]:
    """The rows that contradict the most solvers; a solver's repeats have one voice."""
    opponents: defaultdict[int, set[str]] = defaultdict(set)
    for one, other in disputes:
        opponents[one].add(voice_of[other])
        opponents[other].add(voice_of[one])
    most = max(map(len, opponents.values()))
    return {row for row, voices in opponents.items() if len(voices) == most}
