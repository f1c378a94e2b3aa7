"""What the judge says: which cells contradict what, by how much."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.choices import SWITCHES
from bench.outcome import plain
from bench.row import Row


@dataclass(frozen=True, slots=True)
class Side:
    """One row's part in a finding.

    Attributes
    ----------
    row : int
        The row's place among those judged.
    cell : str
        The row's cell.
    who : str
        Method, solver and what sets the row apart, e.g. `milp highs`.
    epsilon : float
    said : str
        What the value is, e.g. `lower bound`.
    value : float or None
        None where what was said is no number.
    guilty : bool
        Whether the row is wrong; where two disagree and nothing settles it, both are.
    """

    row: int
    cell: str
    who: str
    epsilon: float
    said: str
    value: float | None
    guilty: bool

    @property
    def told(self) -> str:
        """What was said, with its value."""
        return self.said if self.value is None else f"{self.said} {self.value:.9g}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must hold and does not.

    Attributes
    ----------
    check : str
        One of `bench.judge.CHECKS`, or `witness`.
    network : str
    image : int or None
    epsilon : float
        Of the first guilty row.
    target : int or None
        None where it is not about one target.
    sides : tuple of Side
        Those that contradict each other; one alone where a row contradicts itself or what was asked.
    tolerance : float or None
        By how much the values could differ and still agree.
    message : str
        Why it cannot be, in words.
    """

    check: str
    network: str
    image: int | None
    epsilon: float
    target: int | None
    sides: tuple[Side, ...]
    tolerance: float | None
    message: str

    @property
    def guilty(self) -> tuple[Side, ...]:
        """The sides that are wrong."""
        return tuple(side for side in self.sides if side.guilty)

    @property
    def where(self) -> str:
        """The instance in words."""
        parts = (
            self.network,
            None if self.image is None else f"image {self.image}",
            f"epsilon {self.epsilon:g}",
            None if self.target is None else f"target {self.target}",
        )
        return ", ".join(part for part in parts if part)

    def __str__(self) -> str:
        wrong = " and ".join(dict.fromkeys(side.who for side in self.guilty))
        values = "; ".join(self._told(side) for side in self.sides)
        tolerance = "" if self.tolerance is None else f"; tolerance {self.tolerance:.2g}"
        return f"{wrong} ({self.where}): {self.message}: {values}{tolerance}"

    def _told(self, side: Side) -> str:
        """What a side said, and who it was where that is not plain."""
        who = f" by {side.who}" if len({(side.row, side.who) for side in self.sides}) > 1 else ""
        return side.told + who + (f" at epsilon {side.epsilon:g}" if side.epsilon != self.epsilon else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values for JSON."""
        return dict(plain(asdict(self)))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was tested, and what does not hold.

    Attributes
    ----------
    tested : dict of str to int
        For each check how many values it held against others: where that is none, the check says nothing.
    findings : tuple of Finding
        Empty where all holds.
    notes : tuple of str
        What could not be tested, and why.
    """

    tested: dict[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def firsts(self) -> list[Finding]:
        """Of the findings the first of each check against each who is wrong: the others are like these."""
        told: set[tuple[str, str]] = set()
        firsts = []
        for finding in self.findings:
            accused = {(finding.check, side.who) for side in finding.guilty}
            firsts += [] if accused <= told else [finding]
            told |= accused
        return firsts

    @property
    def guilty(self) -> frozenset[int]:
        """The places of the rows that are not to be believed."""
        return frozenset(side.row for finding in self.findings for side in finding.guilty)

    def __add__(self, other: Judgement) -> Judgement:
        tested = {name: self.tested.get(name, 0) + other.tested.get(name, 0) for name in self.tested | other.tested}
        return Judgement(tested, self.findings + other.findings, self.notes + other.notes)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of running inputs of rows forward again.

    Attributes
    ----------
    confirmed : set of (int, int)
        Rows and targets whose upper bound is the margin of the input that the row has.
    judgement : Judgement
        The rows whose input is not what they say.
    """

    confirmed: frozenset[tuple[int, int]] = frozenset()
    judgement: Judgement = field(default_factory=Judgement)

    def __add__(self, other: Replayed) -> Replayed:
        return Replayed(self.confirmed | other.confirmed, self.judgement + other.judgement)


Replay = Callable[[Collection[int]], Replayed]  # of the rows at these places


def who(row: Row) -> str:
    """A row in words: its method, its solver, and the switches that are not at their usual values."""
    switches = {name: getattr(row, name) for name in SWITCHES}
    unusual = [f"{name} {value}" for name, value in switches.items() if value and value != SWITCHES[name][0]]
    others = [f"{name} {getattr(row, name)}" for name in ("seed", "repeat") if getattr(row, name)]
    return ", ".join([" ".join(filter(None, (row.method, row.solver))), *unusual, *others])
