"""Linear bounds against exact rational arithmetic: what floating point may not lose."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import interval_bounds, linear_bounds, linear_margins
from networks.bounds.linear import SLOPES
from networks.layers import Array, LayerList, Linear, ReLU
from tests.networks.exact_intervals import exact_bounds, exact_margins
from tests.networks.strategies import SEEDS, Box, boxes, layer_lists, points_in
from tests.networks.test_interval import CLOSE, FLUSHED, denormals_flushed, magnitudes

EVERY_KIND_OF_SLOPE = pytest.mark.parametrize("slopes", SLOPES)
TINY, HUGE = 5e-324, 1e300


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_points_evaluated_exactly_are_inside(data: st.DataObject) -> None:
    network = data.draw(layer_lists(max_layers=5))
    box = data.draw(boxes(network.input_shape))
    C = np.random.default_rng(data.draw(SEEDS)).normal(size=(2, network.class_count))
    assert_sound(network, box, C, data.draw(st.sampled_from(SLOPES)), points_in(box, 1, data.draw(SEEDS)))


@EVERY_KIND_OF_SLOPE
def test_the_roundings_of_a_row_are_counted(slopes: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        network = dense(rng, (8, 8, 8, 30))
        point = rng.normal(size=8)
        assert_sound(network, (point, point), rng.normal(size=(20, 30)), slopes, point[None])


@EVERY_KIND_OF_SLOPE
def test_the_roundings_of_the_lines_are_counted(slopes: str) -> None:
    """The sum of ReLUs of one input is at its upper lines' sum where all of them are at an end of their ranges."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        weight, bias = np.abs(rng.normal(size=(6, 1))), np.zeros(6)
        network = LayerList((1,), (Linear(weight, bias), ReLU(), Linear(-np.abs(rng.normal(size=(4, 6))), np.zeros(4))))
        low, high = -np.abs(rng.normal(size=1)), np.abs(rng.normal(size=1))
        assert_sound(network, (low, high), rng.normal(size=(3, 4)), slopes, np.array([low, high]))


@FLUSHED
@pytest.mark.parametrize("scale", [1e-320, 1e-308, 1e-300, 1e-160, 1e-20, 1e20, 1e150, HUGE])
@pytest.mark.parametrize("inputs", [1e-320, 1e-160, 1.0, HUGE])
def test_bounds_hold_at_any_scale(scale: float, inputs: float, flushed: bool) -> None:
    rng = np.random.default_rng(3)
    network = dense(rng, (4, 5, 4, 3), scale)
    centre, radius = rng.normal(size=4), rng.uniform(0, 0.5, 4)
    box = inputs * (centre - radius), inputs * (centre + radius)
    for slopes in SLOPES:
        assert_sound(network, box, rng.normal(size=(2, 3)), slopes, points_in(box, 3, seed=4), flushed)


@FLUSHED
@pytest.mark.parametrize(
    ("first", "second", "inputs"),
    [(TINY, 1e300, 1e308), (1e-310, 1e300, 1e300), (1e300, 1e-310, 1.0), (1e-160, 1e-160, 1e300), (1e-200, 1e200, 1.0)],
)
def test_what_underflows_or_is_flushed_is_not_lost(first: float, second: float, inputs: float, flushed: bool) -> None:
    rng = np.random.default_rng(5)
    layers = (
        Linear(first * np.sign(rng.normal(size=(3, 2))), np.zeros(3)),
        ReLU(),
        Linear(np.full((2, 3), second), np.zeros(2)),
    )
    box = np.full(2, -inputs), np.full(2, inputs)
    for slopes in SLOPES:
        points = inputs * np.array([[-1.0, -1.0], [1.0, 1.0], [0.9, -0.7], [-1.0, 1.0]])
        assert_sound(LayerList((2,), layers), box, np.eye(2), slopes, points, flushed)


@pytest.mark.parametrize("big", [1e8, 1e16, 1e100])
def test_cancellation_keeps_the_exact_values_inside(big: float) -> None:
    first = Linear(np.array([[big, 1.0, -big], [1.0, big, -big], [-big, 0.5, big]]), np.array([0.1, -0.3, 0.0]))
    last = Linear(np.array([[1.0, -1.0, 1.0], [big, -big, big]]), np.array([0.2, 0.1]))
    box = np.full(3, 0.1), np.full(3, 0.7)
    for slopes in SLOPES:
        assert_sound(LayerList((3,), (first, ReLU(), last)), box, np.eye(2), slopes, points_in(box, 10, seed=7))


@pytest.mark.parametrize("big", [1e6, 1e10, 1e14])
def test_the_roundings_of_products_that_cancel_are_counted(big: float) -> None:
    """Large weights cancel in each neuron, so that its bounds are small, and in each row, so that its end is."""
    rng = np.random.default_rng(9)
    for _ in range(5):
        weight = big * np.array([1.0, -1.0]) + rng.normal(size=(6, 2))
        rows = rng.normal(size=(30, 6))
        last = Linear(rows - rows.mean(axis=1, keepdims=True), np.zeros(30))
        network = LayerList((2,), (Linear(weight, np.full(6, 10.0)), ReLU(), last))
        assert_sound(network, (np.ones(2), np.ones(2)), rng.normal(size=(20, 30)), "adaptive", np.ones((1, 2)))


@EVERY_KIND_OF_SLOPE
def test_where_a_row_overflows_the_interval_stands(slopes: str) -> None:
    rng = np.random.default_rng(8)
    network = dense(rng, (3, 4, 4, 2), scale=1e100)
    box = np.full((1, 3), -1e5), np.full((1, 3), 1e5)
    bounds = [*linear_bounds(network, *box, slopes=slopes), linear_margins(network, *box, np.eye(2), slopes=slopes)]
    intervals = interval_bounds(network, *box)
    assert not any(np.isnan(pair).any() for pair in bounds)
    assert (bounds[-2][0] >= intervals[-1][0]).all()
    huge = linear_bounds(dense(rng, (3, 4, 4, 2), scale=1e200), *box, slopes=slopes)
    assert not any(np.isnan(pair).any() for pair in huge)
    assert huge[-1][0].min() == -math.inf
    assert huge[-1][1].max() == math.inf


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_point_has_bounds_a_few_roundings_wide(data: st.DataObject) -> None:
    network = data.draw(layer_lists())
    point = data.draw(boxes(network.input_shape, max_radius=0.0))
    sizes = magnitudes(network, point)
    for (low, high), (_, size) in zip(bounds_of(network, point, "adaptive"), sizes, strict=True):
        assert (high - low <= 2 * CLOSE * size).all()


def bounds_of(network: LayerList, box: Box, slopes: str) -> list[tuple[Array, Array]]:
    return linear_bounds(network, box[0][None], box[1][None], slopes=slopes)


def assert_sound(network: LayerList, box: Box, C: Array, slopes: str, points: Array, flushed: bool = False) -> None:
    """The exact values of points of the box are inside every layer's bounds and the margins'."""
    with denormals_flushed(flushed):
        margins = linear_margins(network, box[0][None], box[1][None], C, slopes=slopes)
        computed = [*bounds_of(network, box, slopes), margins]
    for point in points:
        exact = [*exact_bounds(network, (point, point)), exact_margins(network, (point, point), C)]
        for (low, high), (values, _) in zip(computed, exact, strict=True):
            assert all(l <= value for l, value in zip(low.ravel().tolist(), values, strict=True))
            assert all(value <= u for u, value in zip(high.ravel().tolist(), values, strict=True))


def dense(rng: np.random.Generator, widths: tuple[int, ...], scale: float = 1.0) -> LayerList:
    layers: list[Linear | ReLU] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [Linear(scale * rng.normal(size=(outputs, inputs)), scale * rng.normal(size=outputs)), ReLU()]
    return LayerList(widths[:1], tuple(layers[:-1]))
