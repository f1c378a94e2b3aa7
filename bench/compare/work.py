"""The lane of work: simplex iterations, nodes, and the solvers' own measures of effort."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.compare.comparison import SLOWER, Excluded, Finding, Lane, Level, Ratio
from bench.compare.pairs import Pair, instance_of, setup_of
from bench.row import failed

# What counts as work, with what is added to both sides of a ratio: from 0 to 1 node is not infinitely more.
SHIFTS = {"simplex_iterations": 1.0, "nodes": 1.0, "work": 1e-3}
THRESHOLD = 1.05  # of the geometric mean, where nothing can be held to exact counts
LEAST_SEEDS = 3  # of an instance, before a mean over its searches says anything


@dataclass(frozen=True, slots=True)
class Value:
    """One counter of one cell in both runs."""

    pair: Pair
    what: str
    base: float
    head: float

    @property
    def log_ratio(self) -> float:
        """The logarithm of the shifted ratio."""
        shift = SHIFTS[self.what]
        return math.log((self.head + shift) / (self.base + shift))


def compare_work(pairs: Sequence[Pair], threshold: float = THRESHOLD) -> Lane:
    """What takes more work, or less.

    Parameters
    ----------
    threshold : float
        The geometric mean of HEAD over BASE from which on it fails, where another solver version, processor or library
        leaves no count exactly as it was.
    """
    searched = [pair for pair in pairs if pair.base.solver is not None and not failed(pair.base)]
    values = [value for pair in searched for value in _values(pair)]
    exact = [value for value in values if not value.pair.unequal]
    similar, few = _with_seeds([value for value in values if value.pair.unequal])
    groups = _grouped(similar)
    findings = [finding for value in exact if (finding := _exactly(value))]
    findings += [finding for group in groups.values() for finding in _about(group, threshold)]
    ratios = [_ratio(group, exact=True) for group in _grouped(exact).values()]
    ratios += [_ratio(group, exact=False) for group in groups.values()]
    compared = {value.pair.words for value in (*exact, *similar)}
    excluded = [*_not_comparable(searched), *few]
    return Lane("work", SLOWER, len(compared), len(exact) + len(similar), tuple(findings), tuple(excluded), (*ratios,))


def _values(pair: Pair) -> Iterator[Value]:
    if _reason(pair):
        return
    for name in SHIFTS:
        if name in pair.base.counters and name in pair.head.counters:
            yield Value(pair, name, pair.base.counters[name], pair.head.counters[name])


def _not_comparable(pairs: Sequence[Pair]) -> Iterator[Excluded]:
    for pair in pairs:
        reason = _reason(pair)
        if reason:
            yield Excluded(pair.words, "work", reason)
            continue
        for name in SHIFTS:
            there = [run for run, row in (("BASE", pair.base), ("HEAD", pair.head)) if name in row.counters]
            if len(there) == 1:
                yield Excluded(pair.words, name, f"only {there[0]} has it")


def _reason(pair: Pair) -> str:
    """Why no work of the cell can be compared; empty where it can."""
    if failed(pair.head):
        return "failed in HEAD"
    if pair.clock:
        return f"stopped by the {pair.clock}"
    return pair.unequal if max(pair.base.threads, pair.head.threads) > 1 else ""


def _with_seeds(values: Sequence[Value]) -> tuple[list[Value], list[Excluded]]:
    """The values of instances with enough seeds, and the others, not comparable."""
    by_instance = defaultdict(list)
    for value in values:
        by_instance[_instance(value)].append(value)
    enough = [item for group in by_instance.values() if _seeds(group) >= LEAST_SEEDS for item in group]
    few = [
        Excluded(item.pair.words, item.what, f"{item.pair.unequal}, and fewer than {LEAST_SEEDS} seeds")
        for group in by_instance.values()
        if _seeds(group) < LEAST_SEEDS
        for item in group
    ]
    return enough, few


def _instance(value: Value) -> tuple[object, ...]:
    return (value.what, *instance_of(value.pair.head))


def _seeds(group: Sequence[Value]) -> int:
    return len({value.pair.head.seed for value in group})


def _grouped(values: Sequence[Value]) -> dict[tuple[str, str], list[Value]]:
    groups = defaultdict(list)
    for value in values:
        groups[setup_of(value.pair.head), value.what].append(value)
    return groups


def _exactly(value: Value) -> Finding | None:
    if value.base == value.head:
        return None
    more = value.head > value.base
    level, word = (Level.FAILURE, "more work") if more else (Level.NOTICE, "less work: refresh the baseline to keep it")
    return Finding(level, value.pair.words, value.what, _shown(value.base), _shown(value.head), word)


def _about(group: Sequence[Value], threshold: float) -> Iterator[Finding]:
    """What the values of one setup come to where none is held to exact counts."""
    ratio, why = _ratio(group, exact=False), group[0].pair.unequal
    first = next((value for value in group if value.base != value.head), None)
    if first is None:
        return
    totals = (_shown(sum(value.base for value in group)), _shown(sum(value.head for value in group)))
    changed = f"{ratio.more + ratio.fewer} of {ratio.count} counts changed, {ratio.estimate:.3g}x in the geometric mean"
    above = ratio.estimate > threshold
    level, word = (Level.FAILURE, f", above {threshold:g}x") if above else (Level.WARNING, "")
    yield Finding(level, ratio.setup, ratio.what, *totals, f"{changed}{word} ({why})")


def _ratio(group: Sequence[Value], *, exact: bool) -> Ratio:
    """Of one setup: the mean over each instance's seeds, then over the instances."""
    by_instance = defaultdict(list)
    for value in group:
        by_instance[_instance(value)].append(value.log_ratio)
    mean = fmean(fmean(logs) for logs in by_instance.values())
    more, fewer = (sum(sign * value.head > sign * value.base for value in group) for sign in (1, -1))
    return Ratio(setup_of(group[0].pair.head), group[0].what, len(group), more, fewer, math.exp(mean), exact=exact)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"
