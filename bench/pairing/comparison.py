"""A pairing as a comparison of two lanes, which `bench.compare` shows in all its forms: answers, and paired times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bench.compare import pairs as cells
from bench.compare.answers import ABSENT, compare_answers
from bench.compare.comparison import NOTHING, SLOWER, Comparison, Excluded, Finding, Lane, Level, Ratio
from bench.environment import cpu_model
from bench.pairing.ratios import LEAST_CELLS, Decision, ratio_interval
from bench.pairing.result import Pairing, Timed
from bench.pairing.side import Described
from bench.row import Row, failed
from bench.statistics import Interval
from networks.errors import PairingError

PARTS = {
    "wall_s": "seconds",
    "cpu_s": "processor seconds",
    "bounds_s": "seconds of bounds",
    "build_s": "seconds of build",
    "solve_s": "seconds of solve",
}
TERMS = (
    "HEAD / BASE: of each cell the median over its pairs, of these the geometric mean over the cells, with its 95 % "
    "bootstrap interval. The first line alone blocks, where its interval lies above the threshold."
)
ALL = "all"
EXTREME = 5  # cells that are named, of those that changed by more than the threshold
COMMIT = 12  # characters of a digest that tell it from others


def compared(pairing: Pairing) -> Comparison:
    """The lanes: answers, and the times of `pairing`; its exit code is that of the command."""
    base, head = (_named(side) for side in pairing.sides.values())
    return Comparison(base, head, (_answers(pairing), _times(pairing)), tuple(_notes(pairing)))


def not_compared(base: str, head: str, why: PairingError) -> Comparison:
    """What is to be said where a side could not be measured."""
    return Comparison(base, head, (), (str(why),))


def _named(side: Described) -> str:
    version = side.versions.get("relubench", "of unknown version")
    dirty = "-dirty" if (side.commit or "").endswith("-dirty") else ""
    commit = f", commit {side.commit[:COMMIT]}{dirty}" if side.commit else ""
    return f"relubench {version} in {side.folder}{commit} (Python {side.python})"


def _notes(pairing: Pairing) -> Iterator[str]:
    found, count = pairing.interval()
    if count:
        yield f"HEAD takes {_told(found)} times BASE's time; above {pairing.rules.threshold:g} it is too slow."
    unequal = _unequal_packages(*pairing.sides.values())
    if unequal:
        yield f"The two have other packages: {unequal}."
    elif pairing.same_source:
        yield "Both sides run the same source: the ratio shows this machine's noise."
    yield f"{2 * pairing.rounds} pairs of measurements a cell, in {pairing.rounds} rounds of A B B A."
    if len(pairing.load) > 1:
        yield f"Load average {min(pairing.load):g} to {max(pairing.load):g}, on processor {pairing.cores}."
    cpu, count = pairing.interval("cpu_s")
    if pairing.decision is Decision.SLOWER and count and cpu.low <= pairing.rules.threshold:
        yield f"Its processor time, {_told(cpu)} times as much, does not show that: it waits, or others disturbed it."
    yield from pairing.notes


def _unequal_packages(base: Described, head: Described) -> str:
    """The packages besides relubench of which the two have other versions."""
    one, other = base.versions | {"Python": base.python}, head.versions | {"Python": head.python}
    names = sorted((one.keys() | other.keys()) - {"relubench"})
    unequal = [name for name in names if one.get(name) != other.get(name)]
    return ", ".join(f"{name} {one.get(name, ABSENT)} and {other.get(name, ABSENT)}" for name in unequal)


def _told(found: Interval) -> str:
    return f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})"


def _answers(pairing: Pairing) -> Lane:
    machine = cells.Machine.of({"starts": [{"cpu": cpu_model()}]})  # one for both
    unequal = cells.inequality(machine, machine)
    same = [rows for rows in pairing.answers if not _other_weights(*rows)]
    lane = compare_answers([cells.Pair(base, head, unequal(base, head)) for base, head in same], [], [], [])
    retrained = {rows[0].network: rows for rows in pairing.answers if _other_weights(*rows)}
    return replace(lane, findings=(*(_other_network(*rows) for rows in retrained.values()), *lane.findings))


def _other_weights(base: Row, head: Row) -> bool:
    return base.network_digest != head.network_digest and not (failed(base) or failed(head))


def _other_network(base: Row, head: Row) -> Finding:
    old, new = (row.network_digest[:COMMIT] for row in (base, head))
    return Finding(Level.FAILURE, f"network {base.network}", "weights", old, new, "the two answer other questions")


def _times(pairing: Pairing) -> Lane:
    count = len(pairing.timed)
    excluded = tuple(Excluded(_words(pairing, planned.digest), "time", why) for planned, why in pairing.left_out)
    findings = (*_judged(pairing), *(_changed(pairing, timed) for timed in _extremes(pairing)))
    code = SLOWER if count >= LEAST_CELLS else NOTHING
    ratios = tuple(_ratios(pairing))
    return Lane("paired time", code, count, 2 * pairing.rounds * count, findings, excluded, ratios, TERMS)


def _judged(pairing: Pairing) -> Iterator[Finding]:
    """What the interval over all cells says of the threshold, where it does not say that all is well."""
    count, threshold = len(pairing.timed), f"{pairing.rules.threshold:g}"
    where = f"{count} cells"
    if count < LEAST_CELLS:
        expected = f"expected at least {LEAST_CELLS}, as fewer say nothing of others"
        yield Finding(Level.FAILURE, where, "time", ABSENT, ABSENT, f"too few were timed; {expected}")
        return
    found, _ = pairing.interval()
    ratio = f"{found.estimate:.3f}x"
    if pairing.decision is Decision.SLOWER:
        why = f"slower: {_reach(found)} times as long, threshold {threshold}"
        yield Finding(Level.FAILURE, where, "time", "1x", ratio, why)
    if pairing.decision is Decision.UNDECIDED:
        why = f"not clear after {pairing.rounds} rounds: {_reach(found)} has the threshold {threshold} in it"
        yield Finding(Level.WARNING, where, "time", "1x", ratio, why)


def _reach(found: Interval) -> str:
    return f"{found.low:.3f} to {found.high:.3f}"


def _extremes(pairing: Pairing) -> list[Timed]:
    beyond = [timed for timed in pairing.timed if abs(timed.log_ratio()) > math.log(pairing.rules.threshold)]
    return sorted(beyond, key=lambda timed: -abs(timed.log_ratio()))[:EXTREME]


def _changed(pairing: Pairing, timed: Timed) -> Finding:
    """One cell's ratio: it has no interval and blocks nothing, and says where to look."""
    base, head = np.median([pair.seconds("wall_s") for pair in timed.pairs], axis=0).tolist()
    ratio = math.exp(timed.log_ratio())
    message = f"{ratio:.2f} times, the median of {len(timed.pairs)} pairs"
    where = _words(pairing, timed.planned.digest)
    return Finding(Level.NOTICE, where, "time", _seconds(base), _seconds(head), message)


def _seconds(value: float) -> str:
    return f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.3g} s"


def _words(pairing: Pairing, digest: str) -> str:
    """A cell in words, as the answers lane has it."""
    return next(cells.words_of(head) for _, head in pairing.answers if head.cell == digest)


def _ratios(pairing: Pairing) -> Iterator[Ratio]:
    """All cells together by each part, then each method and solver by the clock."""
    for part, words in PARTS.items():
        yield from _ratio(ALL, words, pairing.timed, part)
    setups = {timed.planned.digest: cells.setup_of(base) for timed, (base, _) in _with_answers(pairing)}
    for setup in sorted(set(setups.values())):
        those = [timed for timed in pairing.timed if setups[timed.planned.digest] == setup]
        yield from _ratio(setup, PARTS["wall_s"], those, "wall_s")


def _with_answers(pairing: Pairing) -> Iterator[tuple[Timed, tuple[Row, Row]]]:
    answers = {base.cell: (base, head) for base, head in pairing.answers}
    yield from ((timed, answers[timed.planned.digest]) for timed in pairing.timed)


def _ratio(setup: str, words: str, of: Sequence[Timed], part: str) -> Iterator[Ratio]:
    logs = [value for timed in of if not math.isnan(value := timed.log_ratio(part))]
    if logs:
        found, count = ratio_interval(logs)
        more, fewer = sum(value > 0 for value in logs), sum(value < 0 for value in logs)
        yield Ratio(setup, words, count, more, fewer, found.estimate, found.low, found.high)
