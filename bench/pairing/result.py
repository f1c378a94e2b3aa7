"""What comes of a pairing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.pairing.ratios import Decision, Pair, decide, log_ratio, ratio_interval
from bench.pairing.side import Described
from bench.plan import Planned
from bench.row import Row
from bench.statistics import Interval
from networks.errors import InputError
from networks.instance import is_finite_number, is_whole_number

LEAST_ROUNDS, MOST_ROUNDS = 3, 1000


@dataclass(frozen=True, slots=True)
class Rules:
    """How long to measure, and what is too slow.

    Attributes
    ----------
    threshold : float
        Of head's time over base's.
    rounds, max_rounds : int
        At least, and at most while the answer is undecided; of two pairs a cell each.

    Raises
    ------
    InputError
        A value that makes no sense.
    """

    threshold: float = 1.10
    rounds: int = LEAST_ROUNDS
    max_rounds: int = 10

    def __post_init__(self) -> None:
        if not (is_finite_number(self.threshold) and self.threshold >= 1):
            raise InputError(f"threshold is {self.threshold!r}; expected a ratio of times of at least 1, such as 1.1")
        if not (is_whole_number(self.rounds) and self.rounds >= LEAST_ROUNDS):
            raise InputError(f"rounds is {self.rounds!r}; expected at least {LEAST_ROUNDS}, for five pairs a cell")
        if not (is_whole_number(self.max_rounds) and self.rounds <= self.max_rounds <= MOST_ROUNDS):
            expected = f"from {self.rounds}, the rounds, to {MOST_ROUNDS}"
            raise InputError(f"max rounds is {self.max_rounds!r}; expected a whole number {expected}")


@dataclass(slots=True)
class Timed:
    """A cell that is timed.

    Attributes
    ----------
    planned : Planned
    calls : int
        That make one measurement.
    within_s : float
        A measurement that takes longer hangs.
    pairs : list of Pair
        So far.
    """

    planned: Planned
    calls: int
    within_s: float
    pairs: list[Pair] = field(default_factory=list)

    def log_ratio(self, part: str = "wall_s") -> float:
        """See `bench.pairing.ratios.log_ratio`."""
        return log_ratio(self.pairs, self.calls, part)


@dataclass(slots=True)
class Pairing:
    """What came of a pairing, so far.

    Attributes
    ----------
    rules : Rules
    sides : dict of str to Described
        `base` and `head`.
    answers : list of (Row, Row)
        Base's and head's of each cell, as far as the sides have answered.
    timed : list of Timed
    left_out : list of (Planned, str)
        Cells that are not timed, and why.
    notes : dict of str to None
        What else there is to know, each once.
    rounds : int
        How many there were.
    load : list of float
        The one-minute load average at the start and after each round, where the platform has one.
    """

    rules: Rules
    sides: dict[str, Described]
    answers: list[tuple[Row, Row]] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    left_out: list[tuple[Planned, str]] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    rounds: int = 0
    load: list[float] = field(default_factory=list)

    def interval(self, part: str = "wall_s", of: Callable[[Timed], bool] = lambda _: True) -> tuple[Interval, int]:
        """The ratio of a part over those cells, and how many of them have one."""
        return ratio_interval(timed.log_ratio(part) for timed in self.timed if of(timed))

    @property
    def decision(self) -> Decision:
        """By the clock, all cells together."""
        return decide(self.interval()[0], self.rules.threshold)

    @property
    def cores(self) -> str:
        """The processors that both keep to."""
        found = {str(core) for side in self.sides.values() for core in side.cores or ()}
        return ", ".join(sorted(found)) or "of the system's choice"

    @property
    def same_source(self) -> bool:
        """Whether both sides run the very same modules."""
        return len({side.source for side in self.sides.values()}) == 1
