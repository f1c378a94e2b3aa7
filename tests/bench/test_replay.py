"""Replays: points are moved exactly inside the ball, and run forward in exact arithmetic and in floats."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import Verdict, verify, witnesses
from bench.replay import (
    into_box,
    is_wrong,
    least_margins,
    replay,
    replay_double,
    replay_single,
    signed_margins,
    single_inside,
)
from networks.instance import Clip, Instance, ball
from networks.layers import Array, Flatten, LayerList, Linear, ReLU
from tests.networks.strategies import SEEDS, classifiers

# f(x) = (1e8 + x_0, 1e8 + x_1): float64 tells a difference of 1e-3 between the inputs, float32 does not.
LARGE = LayerList((2,), (Linear(np.eye(2), np.full(2, 1e8)),))
IDENTITY = LayerList((2,), (Linear(np.eye(2), np.zeros(2)),))


def question(image: Array, epsilon: float, clip: Clip | None = (0.0, 1.0)) -> Instance:
    return ball(IDENTITY, image, 0, epsilon, clip=clip)


@given(
    image=st.lists(st.floats(0.0, 1.0, width=32), min_size=2, max_size=2),
    epsilon=st.floats(0.0, 1.0),
    direction=st.sampled_from((-1.0, 1.0)),
)
def test_points_from_outside_come_exactly_inside_the_ball_and_the_clip(
    image: list[float], epsilon: float, direction: float
) -> None:
    x = np.array(image)
    point = into_box(question(x, epsilon), direction * np.full(2, 10.0))[0]
    # In exact arithmetic: float64 subtraction could round a distance down to epsilon.
    assert all(abs(Fraction(p) - Fraction(c)) <= Fraction(epsilon) for p, c in zip(point, x, strict=True))
    assert point.min() >= 0.0
    assert point.max() <= 1.0
    np.testing.assert_allclose(point, np.clip(x + direction * epsilon, 0.0, 1.0), rtol=0.0, atol=1e-15)


def test_points_inside_the_ball_stay_as_they_are() -> None:
    points = np.array([[0.5, 0.5], [0.41, 0.59], [0.55, 0.5]])
    np.testing.assert_array_equal(into_box(question(np.full(2, 0.5), 0.1), points), points)


def test_a_point_without_a_value_gets_the_images() -> None:
    found = into_box(question(np.array([0.25, 0.5]), 0.1), np.array([[np.nan, np.inf]]))
    np.testing.assert_allclose(found, [[0.25, 0.6]])


def test_a_ball_of_radius_zero_is_its_centre() -> None:
    x = np.array([0.1, 1.0])
    np.testing.assert_array_equal(into_box(question(x, 0.0), np.array([[5.0, -5.0]])), [x])


def test_flat_points_take_the_shape_of_the_input() -> None:
    network = LayerList((1, 2, 2), (Flatten(), Linear(np.eye(4), np.zeros(4))))
    instance = ball(network, np.full((1, 2, 2), 0.5), 0, 0.5)
    np.testing.assert_array_equal(into_box(instance, np.array([[0.1, 0.2, 0.3, 0.4]])), [[[[0.1, 0.2], [0.3, 0.4]]]])


def test_replay_gives_each_points_margins_without_rounding_on_the_way() -> None:
    instance = ball(LARGE, np.zeros(2), 0, 1.0)
    points = np.array([[0.0, 1e-3], [1.0, 0.0], [0.1, 1e-30]])
    # 1e8 + 1e-3 is off by 1e-9 in float64, and 1e8 + 1e-30 is 1e8.
    np.testing.assert_array_equal(replay(LARGE, instance, points), [[-1e-3], [1.0], [0.1]])
    np.testing.assert_array_equal(replay(LARGE, instance, points[:0]), np.empty((0, 1)))


def wide(seed: int) -> tuple[LayerList, Array]:
    """A network whose margins cancel down to float64's rounding errors, and points."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(40, 30))
    last = rng.normal(size=(1, 40)).repeat(3, axis=0)
    last[1:] += rng.normal(size=(2, 40)) * 1e-17
    network = LayerList((30,), (Linear(W, rng.normal(size=40)), ReLU(), Linear(last, np.zeros(3))))
    return network, rng.random((20, 30))


@pytest.mark.parametrize("seed", range(3))
def test_signs_are_exact_and_a_point_has_the_same_in_every_batch(seed: int) -> None:
    network, points = wide(seed)
    instance = ball(network, points[0], 0, 1.0)
    exact = replay(network, instance, points)
    assert (exact != 0).any()
    assert not np.array_equal(np.sign(network.forward(points) @ instance.margins.T), np.sign(exact))
    zeros = np.zeros(20, dtype=np.int64)
    np.testing.assert_array_equal(np.sign(signed_margins(network, points, zeros)[:, 1:]), np.sign(exact))
    for size in (1, 7):
        parts = [points[start : start + size] for start in range(0, 20, size)]
        np.testing.assert_array_equal(np.concatenate([replay(network, instance, part) for part in parts]), exact)
        signs = np.concatenate([np.sign(signed_margins(network, part, zeros[: len(part)])) for part in parts])
        np.testing.assert_array_equal(signs[:, 1:], np.sign(exact))


@settings(max_examples=30, deadline=None)
@given(network=classifiers(), seed=SEEDS)
def test_the_least_margins_of_points_are_those_of_all(network: LayerList, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.choice(rng.random(3), (9, *network.input_shape))  # some of them twice
    instance = ball(network, points[0], 0, 1.0)
    exact = replay(network, instance, points)
    upper, worst = least_margins(network, instance, points)
    np.testing.assert_array_equal(upper, exact.min(axis=0))
    assert exact[worst].min() == exact.min()


# Exactly, the margin is 3/4 at every input; float64 loses the first neuron's 1 beside 2^54.
ROUNDED_AWAY = LayerList(
    (1,),
    (
        Linear(np.array([[1.0], [0.0]]), np.array([0.0, 1.0])),
        ReLU(),
        Linear(np.array([[0.0, 1.0]]), np.array([2.0**54])),
        ReLU(),
        Linear(np.array([[1.0], [0.0]]), np.array([-(2.0**54), 0.25])),
    ),
)
# Exactly, the margin is -1/4 at every input; float64 rounds the last bias' sum with 2^54 up.
ROUNDED_UP = LayerList(
    (1,),
    (
        Linear(np.array([[0.0]]), np.array([3.0])),
        ReLU(),
        Linear(np.array([[1.0]]), np.array([2.0**54])),
        ReLU(),
        Linear(np.array([[1.0], [0.0]]), np.array([-(2.0**54), 3.25])),
    ),
)


def test_what_float64_misclassifies_alone_is_not_falsified_and_said() -> None:
    for method in ("interval", "linear", "lp", "milp", "staged"):
        outcome = verify(ROUNDED_AWAY, [0.5], 0, 0.5, method)
        assert outcome.verdict is not Verdict.FALSIFIED
        assert outcome.upper.tolist() == [0.75]
        assert (outcome.witness_double, outcome.witness_single) == (True, True)
        assert outcome.caveat is not None
        assert outcome.caveat.startswith("Runs in float64 and in float32 misclassify an input of the ball")


def test_what_exact_arithmetic_alone_misclassifies_is_falsified_and_said() -> None:
    outcome = verify(ROUNDED_UP, [0.5], 0, 0.5, "interval")
    assert (outcome.verdict, outcome.tier, outcome.upper.tolist()) == (Verdict.FALSIFIED, "exact", [-0.25])
    assert (outcome.witness_double, outcome.witness_single, outcome.caveat) == (False, True, None)
    assert outcome.evidence == "witness with margin -0.25"


def test_a_tie_is_neither_won_nor_lost() -> None:
    network = LayerList((1,), (Linear(np.ones((2, 1)), np.zeros(2)),))
    outcome = verify(network, [0.5], 0, 0.25, "milp")
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.upper.tolist() == [0.0]
    assert (outcome.witness_double, outcome.witness_single) == (False, False)
    assert (is_wrong(0.0), is_wrong(-1e-300), is_wrong(float("nan"))) == (False, True, True)


def test_a_witness_that_lives_by_the_last_bits_fails_in_single_precision() -> None:
    instance = ball(LARGE, np.zeros(2), 0, 1.0)
    point = np.array([0.0, 1e-3])
    assert replay(LARGE, instance, point[None]).item() < 0
    assert replay_double(LARGE, instance, point) < 0
    assert replay_single(LARGE, instance, point) == 0.0


def test_a_plain_witness_holds_in_single_precision() -> None:
    instance = question(np.array([0.5, 0.25]), 0.25)
    assert np.isclose(replay_single(IDENTITY, instance, np.array([0.3, 0.5])), -0.2)


@given(image=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2), epsilon=st.floats(1e-6, 1.0))
def test_rounding_to_single_precision_stays_inside_the_box(image: list[float], epsilon: float) -> None:
    instance = question(np.array(image), epsilon)
    for corner in (instance.lower, instance.upper):
        rounded = single_inside(instance, corner)
        assert rounded.dtype == np.float32
        assert instance.contains(rounded[None].astype(np.float64))


def test_a_box_too_thin_for_single_precision_takes_the_nearest_number() -> None:
    instance = question(np.full(2, 0.1), 0.0)
    np.testing.assert_array_equal(single_inside(instance, instance.image), np.full(2, np.float32(0.1)))


def test_the_check_of_witnesses_tells_a_point_outside_the_ball_by_less_than_a_rounding() -> None:
    image, epsilon, point = 0.46350555337716814, 0.5, -0.03649444662283186
    assert not abs(point - image) > epsilon  # as float64 has the distance
    instance = question(np.full(2, image), epsilon, clip=None)
    ((message, *_),) = witnesses._outside(instance, np.array([point, image]))
    assert message == "its witness lies outside the ball"
    assert witnesses._outside(instance, np.array([math.nextafter(point, 1.0), image])) == []
