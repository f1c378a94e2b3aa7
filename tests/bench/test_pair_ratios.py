"""From pairs of measurements to ratios, intervals and a decision."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.pairing.ratios import (
    LEAST_PART_S,
    Decision,
    Pair,
    decide,
    expanded,
    log_ratio,
    ratio_interval,
)
from bench.pairing.side import Timing
from bench.statistics import CONFIDENCE, Interval, mean_interval

TRIALS, COUNT = 400, 6


def pairs_of(base: list[float], head: list[float]) -> list[Pair]:
    """Pairs of these seconds by the clock."""
    return [
        Pair(1, False, Timing(b, b, 0.0, 0.0, b), Timing(h, h, 0.0, 0.0, h)) for b, h in zip(base, head, strict=True)
    ]


def test_a_drift_of_the_machine_and_an_outlier_change_nothing() -> None:
    speed = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    head = 1.2 * speed
    head[3] *= 50  # another program's burst
    assert log_ratio(pairs_of(speed.tolist(), head.tolist()), 1, "wall_s") == pytest.approx(math.log(1.2))


def test_what_depends_on_the_place_cancels() -> None:
    """The first of two measurements is 5 % slower: once that is base's, once head's."""
    assert log_ratio(pairs_of([1.05, 1.0] * 3, [1.0, 1.05] * 3), 1, "wall_s") == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("calls", "measured"), [(1, False), (2, True)])
def test_a_part_that_is_too_short_in_one_measurement_has_no_ratio(calls: int, measured: bool) -> None:
    short = [0.6 * LEAST_PART_S] * COUNT
    assert math.isfinite(log_ratio(pairs_of(short, short), calls, "solve_s")) is measured
    assert math.isnan(log_ratio(pairs_of(short, short), calls, "build_s"))


def test_no_pairs_have_no_ratio() -> None:
    assert math.isnan(log_ratio([], 1, "wall_s"))


def test_the_interval_is_over_the_cells_that_have_a_ratio() -> None:
    found, count = ratio_interval([math.log(2), math.nan, math.log(8), math.log(4)])
    assert count == 3
    assert found.estimate == pytest.approx(4)
    assert 2 <= found.low < 4 < found.high <= 8


@pytest.mark.parametrize("count", [0, 1])
def test_one_cell_tells_nothing_of_others(count: int) -> None:
    found, counted = ratio_interval([0.1] * count)
    assert counted == count
    assert (found.low, found.high) == (0, math.inf)


def test_the_level_is_raised_for_few_cells_and_not_for_many() -> None:
    levels = [expanded(count) for count in (2, 5, 10, 100, 100_000)]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == pytest.approx(CONFIDENCE, abs=1e-4)
    assert 0.98 < expanded(6) < 1


def test_raised_intervals_of_few_cells_hold_the_truth_more_often() -> None:
    samples = np.random.default_rng(0).normal(size=(TRIALS, COUNT))
    plain = [mean_interval(sample, resamples=999) for sample in samples]
    wide = [mean_interval(sample, confidence=expanded(COUNT), resamples=999) for sample in samples]
    covered, wider = (np.mean([found.low <= 0 <= found.high for found in each]) for each in (plain, wide))
    assert covered < 0.89
    assert 0.90 < wider < 0.98


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (1.11, 1.3, Decision.SLOWER),
        (1.1, 1.3, Decision.UNDECIDED),
        (0.9, 1.11, Decision.UNDECIDED),
        (0.9, 1.1, Decision.FINE),
        (0.0, math.inf, Decision.UNDECIDED),
    ],
)
def test_only_an_interval_above_the_threshold_is_slower(low: float, high: float, decision: Decision) -> None:
    assert decide(Interval(1.0, low, high), 1.1) is decision
