"""What a comparison says."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from bench.outcome import plain

FINE, SLOWER, WRONG, NOTHING = 0, 1, 3, 4  # exit codes; 2 is bad usage, as everywhere
MEANINGS = {
    FINE: "nothing got worse",
    SLOWER: "slower, or more work",
    WRONG: "a wrong or changed answer",
    NOTHING: "nothing could be compared",
}
FAILED, GONE = "failure", "no longer measured"  # what a finding is about, and what another says
MISSING = {GONE: "what BASE measured is no longer measured", FAILED: "a cell failed"}  # no answer, and so no wrong one


class Level(StrEnum):
    """How much a finding weighs: a failure blocks, a warning should be looked at, a notice is for the record."""

    FAILURE = "failure"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was.

    Attributes
    ----------
    level : Level
    where : str
        The cell, or the setup, in words.
    what : str
        What changed, e.g. `verdict` or `nodes`.
    base, head : str
        The values, as they are shown.
    message : str
        What that means, in words.
    """

    level: Level
    where: str
    what: str
    base: str
    head: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.base} -> {self.head}: {self.message}"


@dataclass(frozen=True, slots=True)
class Excluded:
    """A value that was not compared, with its reason."""

    where: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """HEAD over BASE, of one setup.

    Attributes
    ----------
    setup, what : str
        E.g. `milp highs` and `nodes`.
    count, more, fewer : int
        How many cells were compared, and how many of them have a larger, or a smaller, value in HEAD.
    estimate : float
        The geometric mean of the ratios.
    low, high : float
        Its confidence interval; NaN where none is given, infinite where the cells are too few for one.
    exact : bool
        Whether HEAD was held to exactly the value of BASE.
    """

    setup: str
    what: str
    count: int
    more: int
    fewer: int
    estimate: float
    low: float = math.nan
    high: float = math.nan
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """One kind of comparison.

    Attributes
    ----------
    name : str
    code : int
        The exit code of its failures; zero for a lane that never gates.
    cells, values : int
        How many cells were compared, and how many of their values.
    findings : tuple of Finding
    excluded : tuple of Excluded
    ratios : tuple of Ratio
    terms : str
        What the ratios are, where they are neither of work nor of two unrelated runs' times.
    """

    name: str
    code: int
    cells: int = 0
    values: int = 0
    findings: tuple[Finding, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    terms: str = ""

    def at(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(finding for finding in self.findings if finding.level is level)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, held against each other.

    Attributes
    ----------
    base, head : str
        What was compared, as it was named.
    lanes : tuple of Lane
    notes : tuple of str
        What else there is to say, e.g. which versions differ.
    """

    base: str
    head: str
    lanes: tuple[Lane, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The worst of what was found: a wrong answer, then that nothing could be compared, then more work."""
        failed = {lane.code for lane in self.lanes if lane.at(Level.FAILURE)}
        if WRONG in failed:
            return WRONG
        if not any(lane.values for lane in self.lanes if lane.code):
            return NOTHING
        return max(failed, default=FINE)

    @property
    def verdict(self) -> str:
        """The exit code in words, with the number of failures."""
        counts = [(len(lane.at(Level.FAILURE)), lane.name) for lane in self.lanes]
        failures = ", ".join(f"{count:,} in {name}" for count, name in counts if count)
        return self._meaning + (f" ({failures})" if failures else "")

    @property
    def _meaning(self) -> str:
        """The exit code in words; where answers are only missing, none of them is wrong."""
        found = [item for lane in self.lanes if lane.code == WRONG for item in lane.at(Level.FAILURE)]
        kinds = {GONE if item.message == GONE else item.what for item in found}
        if self.exit_code != WRONG or kinds - MISSING.keys():
            return MEANINGS[self.exit_code]
        return ", and ".join(words for kind, words in MISSING.items() if kind in kinds)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values for JSON."""
        return dict(plain(asdict(self))) | {"exit_code": self.exit_code, "verdict": self.verdict}
