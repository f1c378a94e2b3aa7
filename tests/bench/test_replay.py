"""Replays: points are moved exactly inside the ball, and run forward in float64 and in float32."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.replay import into_box, replay, replay_single, single_inside
from networks.instance import Clip, Instance, ball
from networks.layers import Array, Flatten, LayerList, Linear

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


def test_replay_gives_each_points_margins_in_float64() -> None:
    instance = ball(LARGE, np.zeros(2), 0, 1.0)
    points = np.array([[0.0, 1e-3], [1.0, 0.0]])
    margins = replay(LARGE, instance, points)
    np.testing.assert_allclose(margins, [[-1e-3], [1.0]], atol=1e-7)


def test_a_witness_that_lives_by_the_last_bits_fails_in_single_precision() -> None:
    instance = ball(LARGE, np.zeros(2), 0, 1.0)
    point = np.array([0.0, 1e-3])
    assert replay(LARGE, instance, point[None]).item() < 0
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
        assert (rounded >= instance.lower).all()
        assert (rounded <= instance.upper).all()


def test_a_box_too_thin_for_single_precision_takes_the_nearest_number() -> None:
    instance = question(np.full(2, 0.1), 0.0)
    np.testing.assert_array_equal(single_inside(instance, instance.image), np.full(2, np.float32(0.1)))
