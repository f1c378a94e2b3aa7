"""Statistics over instances, each against values worked out by hand or by another way to the same number."""

from __future__ import annotations

import time
from math import comb, nan

import numpy as np
import pytest

from bench.statistics import (
    MANY,
    counted_up,
    duel,
    mean_interval,
    penalised,
    ratio_interval,
    shifted_geometric_mean,
    times_the_best,
    virtual_best,
)


def test_an_interval_holds_the_mean_and_narrows_with_more_instances() -> None:
    random = np.random.default_rng(1)
    few, many = (mean_interval(random.normal(3.0, 1.0, size)) for size in (10, 500))
    assert few.low < few.estimate < few.high
    assert many.high - many.low < (few.high - few.low) / 3
    assert many.low < 3.0 < many.high


def test_equal_values_have_equal_intervals_and_no_width() -> None:
    assert mean_interval([2.0, 2.0, 2.0]).low == pytest.approx(2.0)
    sample = [1.0, 2.0, 4.0, 8.0]
    assert mean_interval(sample) == mean_interval(sample)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_one_instance_tells_nothing_of_the_others(values: list[float]) -> None:
    found = mean_interval(values)
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert np.isnan(found.estimate) == (not values)


def test_with_many_values_the_interval_is_what_the_bootstrap_gives() -> None:
    from scipy.stats import bootstrap

    skewed = np.random.default_rng(3).exponential(1.0, MANY + 1)
    low, high = bootstrap((skewed,), np.mean, n_resamples=4_000, method="percentile", rng=0).confidence_interval
    found = mean_interval(skewed)
    assert abs(found.low - low) < 0.05 * (high - low)
    assert abs(found.high - high) < 0.05 * (high - low)


def test_19_of_20_intervals_hold_the_true_mean() -> None:
    random = np.random.default_rng(5)
    found = [mean_interval(random.normal(0.0, 1.0, 40), resamples=499) for _ in range(200)]
    assert sum(one.low <= 0 <= one.high for one in found) >= 180  # 190 are expected; the percentile interval is short


def test_a_ratio_is_a_geometric_mean_over_what_both_solved() -> None:
    found = ratio_interval([2.0, 8.0, nan, 1.0], [1.0, 2.0, 1.0, nan])
    assert found.estimate == pytest.approx(np.sqrt(2.0 * 4.0))
    assert 2.0 <= found.low <= found.estimate <= found.high <= 4.0
    back = ratio_interval([1.0, 2.0], [2.0, 8.0])
    assert back.estimate == pytest.approx(1 / found.estimate)


def test_a_ratio_of_one_instance_has_no_interval_and_of_none_no_estimate() -> None:
    single, none = ratio_interval([3.0, nan], [1.0, 1.0]), ratio_interval([nan], [1.0])
    assert (single.estimate, single.low, single.high) == pytest.approx((3.0, 0.0, np.inf))
    assert np.isnan(none.estimate)


def test_an_unsolved_instance_counts_twice_its_limit() -> None:
    counted = penalised([[1.0, nan], [nan, 4.0]], [[30.0, 30.0], [60.0, nan]])
    assert counted.tolist() == [[1.0, 60.0], [120.0, 4.0]]
    assert penalised([nan], [30.0], factor=10).tolist() == [300.0]


def test_without_a_limit_there_is_no_penalty() -> None:
    assert np.isnan(penalised([nan], [nan])).all()
    assert penalised([2.0], [nan]).tolist() == [2.0]


def test_a_shifted_geometric_mean_lies_between_the_geometric_and_the_arithmetic_one() -> None:
    times = np.array([1.0, 100.0])
    assert shifted_geometric_mean(times, 0.0) == pytest.approx(10.0)
    assert shifted_geometric_mean(times) == pytest.approx(np.sqrt(11.0 * 110.0) - 10.0)
    assert 10.0 < shifted_geometric_mean(times, 1.0) < shifted_geometric_mean(times) < 50.5
    columns = np.column_stack([times, times * 2])
    assert shifted_geometric_mean(columns)[0] == pytest.approx(float(shifted_geometric_mean(times)))


def test_shares_of_the_virtual_best_sum_to_one_and_ties_are_split() -> None:
    best = virtual_best([[1.0, 2.0, 3.0], [5.0, 5.001, nan], [nan, nan, 7.0], [nan, nan, nan]])
    assert best.seconds[:3].tolist() == [1.0, 5.0, 7.0]
    assert np.isnan(best.seconds[3])
    assert best.shares.tolist() == pytest.approx([0.5, 1 / 6, 1 / 3])
    assert best.ties == 1


def test_a_virtual_best_of_nothing_has_no_shares() -> None:
    assert np.isnan(virtual_best([[nan, nan]]).shares).all()
    assert np.isnan(virtual_best(np.empty((0, 2))).shares).all()


def test_a_duel_counts_what_only_one_solved_and_leaves_out_what_neither_did() -> None:
    found = duel([1.0, 2.0, nan, 3.0, nan], [2.0, 1.0, 5.0, 3.0, nan])
    assert (found.wins, found.losses, found.ties) == (1, 2, 1)


def test_the_sign_test_is_the_binomial_one() -> None:
    found = duel(np.ones(10), np.full(10, 2.0))
    assert (found.wins, found.losses) == (10, 0)
    assert found.p_value == pytest.approx(2 / 2**10)
    uneven = duel([1.0] * 8 + [2.0] * 2, [1.5] * 10)
    assert uneven.p_value == pytest.approx(2 * sum(comb(10, k) for k in range(3)) / 2**10)
    assert np.isnan(duel([1.0], [1.0]).p_value)


def test_times_over_the_best_are_infinite_where_unsolved() -> None:
    assert times_the_best([[1.0, 3.0], [4.0, nan], [nan, nan]]).tolist() == [
        [1.0, 3.0],
        [1.0, np.inf],
        [np.inf, np.inf],
    ]


def test_a_curve_counts_what_lies_at_or_below() -> None:
    steps, counts = counted_up([3.0, 1.0, nan, 1.0, np.inf])
    assert (steps.tolist(), counts.tolist()) == ([1.0, 3.0], [2, 3])
    assert [part.size for part in counted_up([nan])] == [0, 0]


def test_100000_instances_of_20_setups_take_seconds() -> None:
    times = np.random.default_rng(2).lognormal(size=(100_000, 20))
    times[times > 10] = nan
    begun = time.process_time()
    virtual_best(times)
    times_the_best(times)
    shifted_geometric_mean(penalised(times, np.full_like(times, 10.0)))
    for other in range(1, 20):
        ratio_interval(times[:, 0], times[:, other])
        duel(times[:, 0], times[:, other])
        counted_up(times[:, other])
    assert time.process_time() - begun < 8
