"""What a pairing has to say, as lines and tables of text, whoever shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bench.pairing.ratios import Decision
from bench.pairing.result import Pairing, Timed
from bench.pairing.side import Described
from bench.statistics import Interval
from bench.suite import Cell

WORDS = {
    "wall_s": "by the clock",
    "cpu_s": "processor time",
    "bounds_s": "bounds, by the clock",
    "build_s": "build, by the clock",
    "solve_s": "solve, by the clock",
}
EXTREME = 5  # cells, of those that changed most
COMMIT = 12  # characters of a commit that tell it from others


@dataclass(frozen=True, slots=True)
class TextTable:
    """A heading, the columns' names, and lines of text; all columns but the first stand to the right."""

    title: str
    columns: tuple[str, ...]
    lines: list[tuple[str, ...]]


def headings(pairing: Pairing) -> Iterator[str]:
    """Lines that say what was held against what."""
    for name, side in pairing.sides.items():
        yield f"{name}  {_installation(side)}"
    if pairing.same_source:
        yield "Both sides run the same source: the ratio shows the noise of this machine."
    pairs = 2 * pairing.rounds
    yield f"{len(pairing.timed)} cells timed, {pairs} pairs of measurements each, {len(pairing.left_out)} left out"


def _installation(side: Described) -> str:
    commit = f", commit {side.commit[:COMMIT]}{'-dirty' * side.commit.endswith('-dirty')}" if side.commit else ""
    version = side.versions.get("relubench", "of unknown version")
    return f"relubench {version} in {side.folder}{commit}, source {side.source[:COMMIT]}, Python {side.python}"


def tables(pairing: Pairing) -> Iterator[TextTable]:
    """The ratios of all cells, of each method and solver, and the cells that changed most."""
    columns = ("cells", "ratio", "95 % interval")
    parts = [_line(words, *pairing.interval(part)) for part, words in WORDS.items()]
    yield TextTable("Head's time over base's", ("", *columns), [line for line in parts if line[1] != "0"])
    yield TextTable("Each method and solver, by the clock", ("", *columns), list(_by_setup(pairing)))
    changed = sorted(pairing.timed, key=lambda timed: -abs(timed.log_ratio()))[:EXTREME]
    lines = [_extreme(timed) for timed in changed if not math.isnan(timed.log_ratio())]
    yield TextTable("Cells that differ most, by the clock", ("", "base", "head", "ratio"), lines)


def _by_setup(pairing: Pairing) -> Iterator[tuple[str, ...]]:
    for setup in sorted({_setup(timed.planned.cell) for timed in pairing.timed}):
        yield _line(setup, *pairing.interval(of=_is_of(setup)))


def _is_of(setup: str) -> Callable[[Timed], bool]:
    return lambda timed: _setup(timed.planned.cell) == setup


def _setup(cell: Cell) -> str:
    return " ".join(part for part in (cell.method, cell.solver) if part)


def _line(words: str, found: Interval, count: int) -> tuple[str, ...]:
    return words, str(count), _times(found.estimate), _reach(found) if count > 1 else "-"


def _times(ratio: float) -> str:
    return "-" if math.isnan(ratio) else f"{ratio:.3f}x"


def _reach(found: Interval) -> str:
    return f"{found.low:.3f} to {found.high:.3f}"


def _extreme(timed: Timed) -> tuple[str, ...]:
    cell = timed.planned.cell
    base, head = (
        float(np.median(seconds)) for seconds in zip(*(pair.seconds("wall_s") for pair in timed.pairs), strict=True)
    )
    image = "" if cell.image is None else f" image {cell.image}"
    return cell.describe() + image, _milliseconds(base), _milliseconds(head), _times(math.exp(timed.log_ratio()))


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


def conclusion(pairing: Pairing) -> str:
    """One line: how head does, and whether that is too slow."""
    found, count = pairing.interval()
    if not count:
        return "nothing was timed"
    threshold = pairing.rules.threshold
    said = f"head takes {found.estimate:.3f} times base's time (95 %: {_reach(found)})"
    return f"{CONCLUSIONS[pairing.decision]}: {said}; threshold {threshold:g}, {pairing.rounds} rounds"


CONCLUSIONS = {
    Decision.FINE: "fine",
    Decision.SLOWER: "slower",
    Decision.UNDECIDED: "fine, as far as can be told",
}
