"""How far a run is: what is done of each method and solver, what that came to, and how long the rest may take."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec

from bench.row import failed
from bench.verdict import Verdict

if TYPE_CHECKING:
    from bench.row import Row

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]  # a sum of them is a number
VERDICTS = tuple(str(verdict) for verdict in Verdict)


class SeenRow(msgspec.Struct, frozen=True):
    """What is counted of a row, read from its line without the rest."""

    cell: str
    kind: Literal["verify", "attack"]
    method: str
    started: str = ""
    solver: str | None = None
    verdict: Verdict | None = None
    status: list[str] = []
    error: str | None = None
    falsified: int | None = None
    unknown: int | None = None
    total_s: Seconds | None = None


class Line(NamedTuple):
    """What is counted together: the cells of one method by one solver."""

    kind: str
    method: str
    solver: str | None = None

    @property
    def label(self) -> str:
        """As a table calls it."""
        return f"{self.method} {self.solver}" if self.solver else self.method


class Running(NamedTuple):
    """A cell that is being measured: what it is, in words, and since when, in seconds of the clock."""

    line: Line
    what: str
    since: float


class Left(NamedTuple):
    """Seconds that the rest may take; `least` where some of it is not known and left out."""

    seconds: float
    least: bool = False


@dataclass(slots=True)
class Tally:
    """The counts of one line, or of several together.

    Attributes
    ----------
    label : str
    kinds : set of str
        `verify`, `attack` or both.
    cells : int or None
        How many there are to be in the end; None where that is not known.
    counts : Counter
        `done` cells, of them `failed` and, of verifications, `verified`, `falsified` and `unknown`; of attacks, the
        images that are falsified and not: `images_falsified`, `images_unknown`.
    timed : int
        The cells that `seconds`, their total time, is known of.
    """

    label: str
    kinds: set[str]
    cells: int | None
    counts: Counter[str] = field(default_factory=Counter)
    timed: int = 0
    seconds: float = 0.0

    @property
    def left(self) -> int | None:
        """How many cells are still to be measured; None where that is not known."""
        return None if self.cells is None else max(0, self.cells - self.counts["done"])

    @property
    def mean_s(self) -> float | None:
        """Of the cells that are finished; None where there is none."""
        return self.seconds / self.timed if self.timed else None

    def add(self, counts: Mapping[str, int], seconds: float | None, times: int = 1) -> None:
        """Count a row `times` times: once, or -1 times where another takes its place."""
        for name, number in counts.items():
            self.counts[name] += times * number
        if seconds is not None:
            self.timed += times
            self.seconds += times * seconds


class Counts:
    """The counts of a run, line by line, in the order of the plan; lines that are not in it come behind.

    Parameters
    ----------
    cells : mapping of Line to int, or None
        The plan; None where it is not known.
    jobs : int
        How many cells are measured at a time.
    """

    def __init__(self, cells: Mapping[Line, int] | None, jobs: int = 1) -> None:
        self.jobs = jobs
        self.running: dict[str, Running] = {}
        self._known = cells is not None
        self._tallies = {line: _empty(line, number) for line, number in (cells or {}).items()}
        self._counted: dict[str, tuple[Tally, dict[str, int], float | None]] = {}

    def begin(self, cell: str, running: Running) -> None:
        """A cell is being measured from now on."""
        self.running[cell] = running

    def add(self, row: Row | SeenRow) -> None:
        """Count a cell's row, in place of the one before where it was measured again."""
        self.running.pop(row.cell, None)
        if row.cell in self._counted:
            before, counts, seconds = self._counted[row.cell]
            before.add(counts, seconds, times=-1)
        line = Line(row.kind, row.method, row.solver)
        tally = self._tallies.setdefault(line, _empty(line, 0 if self._known else None))
        self._counted[row.cell] = (tally, _counts(row), row.total_s)
        tally.add(_counts(row), row.total_s)

    @property
    def tallies(self) -> list[Tally]:
        """One a line."""
        return list(self._tallies.values())

    @property
    def busy(self) -> set[str]:
        """The labels of the lines that are being worked on."""
        return {running.line.label for running in self.running.values()}

    def left(self, tallies: Iterable[Tally], now: float) -> Left | None:
        """How long these lines may still take: the mean of what is done times what is left, shared by the jobs.

        What a cell has taken already counts. None before anything is known, zero where nothing is left.
        """
        lines = [tally for tally in tallies if tally.left != 0]
        known = [seconds for tally in lines if (seconds := self._left_s(tally, now)) is not None]
        if lines and not known:
            return None
        return Left(sum(known), len(known) < len(lines))

    def _left_s(self, tally: Tally, now: float) -> float | None:
        if tally.left is None or tally.mean_s is None:
            return None
        mean_s = tally.mean_s
        begun = [now - running.since for running in self.running.values() if running.line.label == tally.label]
        seconds = mean_s * tally.left - sum(min(max(0.0, taken), mean_s) for taken in begun)
        return max(0.0, seconds) / self.jobs


def together(tallies: Iterable[Tally], label: str) -> Tally:
    """The sum of lines; how many cells there are is known where it is known of each."""
    total = Tally(label, set(), 0)
    for tally in tallies:
        total.kinds |= tally.kinds
        total.cells = None if total.cells is None or tally.cells is None else total.cells + tally.cells
        total.add(tally.counts, None)
        total.timed += tally.timed
        total.seconds += tally.seconds
    return total


def fold(counts: Counts, most: int) -> tuple[list[Tally], list[Tally]]:
    """The lines to show, and the others, which take one of the `most` lines that there is room for, as a sum.

    What is worked on comes first, then what is not done.
    """
    tallies = counts.tallies
    if len(tallies) <= most:
        return tallies, []
    busy = counts.busy
    by_need = sorted(tallies, key=lambda tally: (tally.label not in busy, tally.left == 0))
    shown = {id(tally) for tally in by_need[: max(0, most - 1)]}
    return [each for each in tallies if id(each) in shown], [each for each in tallies if id(each) not in shown]


def _empty(line: Line, cells: int | None) -> Tally:
    return Tally(line.label, {line.kind}, cells)


def _counts(row: Row | SeenRow) -> dict[str, int]:
    if failed(row):
        return {"done": 1, "failed": 1}
    if row.kind == "attack":
        return {"done": 1, "images_falsified": row.falsified or 0, "images_unknown": row.unknown or 0}
    return {"done": 1, row.verdict or str(Verdict.UNKNOWN): 1}


def words(tally: Tally) -> dict[str, str]:
    """The counts as text: `done`, `verified`, `falsified`, `unknown`, `failed`.

    An attack says nothing of cells: its images are counted, and said to be images. Of verifications and attacks
    together, the former's.
    """
    done, of = tally.counts["done"], "" if tally.cells is None else f"/{tally.cells:,}"
    attack = tally.kinds == {"attack"}
    verdicts = {name: f"{tally.counts[name]:,}" for name in VERDICTS}
    images = {name: f"{tally.counts[f'images_{name}']:,} img" for name in VERDICTS} | {str(Verdict.VERIFIED): "-"}
    return {"done": f"{done:,}{of}", **(images if attack else verdicts), "failed": f"{tally.counts['failed']:,}"}


def one_line(counts: Counts, now: float) -> str:
    """The counts of all lines together, in a line of text."""
    total = together(counts.tallies, "all")
    numbers = words(total)
    found = [f"{numbers[name]} {name}" for name in (*VERDICTS, "failed") if numbers[name] != "-"]
    return ", ".join([f"{numbers['done']} cells", *found, f"{clock(counts.left(counts.tallies, now))} left"])


def clock(left: Left | None) -> str:
    """A time as h:mm:ss, `>` before it where it is the least; `-` where it is not known."""
    if left is None:
        return "-"
    minutes, seconds = divmod(math.ceil(left.seconds), 60)
    return f"{'>' if left.least else ''}{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def to_dict(counts: Counts, now: float) -> dict[str, Any]:
    """The counts as JSON has them, of all and of each line."""
    lines = [_plain(counts, [tally], tally.label, now) for tally in counts.tallies]
    return {**_plain(counts, counts.tallies, "all", now), "lines": lines}


def _plain(counts: Counts, tallies: list[Tally], label: str, now: float) -> dict[str, Any]:
    total, left = together(tallies, label), counts.left(tallies, now)
    names = ("done", *VERDICTS, "failed", "images_falsified", "images_unknown")
    return {
        "label": label,
        "cells": total.cells,
        **{name: total.counts[name] for name in names},
        "left_s": None if left is None else left.seconds,
        "left_is_least": bool(left and left.least),
    }
