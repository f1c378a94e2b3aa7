"""The lane of times: shown, and never a gate, as two runs at two times have two machines under them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from bench.compare.comparison import FINE, Excluded, Lane, Ratio
from bench.compare.pairs import Pair, instance_of, setup_of
from bench.row import failed


def compare_times(pairs: Sequence[Pair]) -> Lane:
    """How the seconds of each setup compare, over its instances."""
    timed = [pair for pair in pairs if not failed(pair.base) and not failed(pair.head)]
    logs: dict[str, dict[object, list[float]]] = defaultdict(lambda: defaultdict(list))
    excluded: list[Excluded] = []
    for pair in timed:
        if pair.clock or not pair.base.total_s or not pair.head.total_s:
            reason = f"stopped by the {pair.clock}" if pair.clock else "no time was measured"
            excluded.append(Excluded(pair.words, "time", reason))
            continue
        logs[setup_of(pair.head)][instance_of(pair.head)].append(math.log(pair.head.total_s / pair.base.total_s))
    count = len(timed) - len(excluded)
    ratios = tuple(_ratio(setup, list(map(fmean, found.values()))) for setup, found in logs.items())
    return Lane("time", FINE, count, count, (), tuple(excluded), ratios)


def _ratio(setup: str, logs: Sequence[float]) -> Ratio:
    from bench.statistics import mean_interval

    interval = mean_interval(logs)
    slower, faster = sum(log > 0 for log in logs), sum(log < 0 for log in logs)
    estimate, low, high = map(_exponential, (interval.estimate, interval.low, interval.high))
    return Ratio(setup, "seconds", len(logs), slower, faster, estimate, low, high)


def _exponential(value: float) -> float:
    return math.exp(value) if value < math.log(1e300) else math.inf
