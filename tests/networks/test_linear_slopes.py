"""The slopes of linear bounds against brute force, the LP and one another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from networks import interval_margins, linear_bounds, linear_margins, zoo
from networks.bounds import ascent
from networks.bounds.linear import SLOPES
from networks.layers import Array, LayerList, Linear, ReLU
from tests.networks.strategies import SEEDS, boxes, classifiers, instances
from tests.networks.test_linear import (
    CLOSE,
    EVERY_KIND_OF_SLOPE,
    Bounds,
    assert_within,
    dense,
    images,
    linear_layer,
)
from tests.oracles import brute_force_margins

LP_TOLERANCE = 1e-6


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_margins_contain_those_of_brute_force(data: st.DataObject) -> None:
    network = data.draw(classifiers())
    instance = data.draw(instances(network))
    exact = brute_force_margins(network, instance)
    for slopes in SLOPES:
        low, high = linear_margins(network, instance.lower[None], instance.upper[None], instance.margins, slopes=slopes)
        assert (low[0] <= exact + LP_TOLERANCE).all()
        assert (exact <= high[0] + LP_TOLERANCE).all()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_adaptive_optimised_and_lp_margins_come_in_this_order(data: st.DataObject) -> None:
    network = data.draw(classifiers(max_hidden=3, max_width=6))
    box = data.draw(boxes(network.input_shape))
    bounds = linear_bounds(network, box[0][None], box[1][None])
    C = np.random.default_rng(data.draw(SEEDS)).normal(size=(2, network.class_count))
    adaptive, parallel, optimised = (
        linear_margins(network, box[0][None], box[1][None], C, slopes=slopes, bounds=bounds)[0][0]
        for slopes in ("adaptive", "parallel", "optimised")
    )
    optima = lp_margins(network, box, bounds, C)
    assert (adaptive <= optimised).all()
    assert (optimised <= optima + LP_TOLERANCE).all()
    assert (parallel <= optima + LP_TOLERANCE).all()


def test_optimised_slopes_close_the_gap_to_the_lp_behind_one_hidden_layer() -> None:
    gaps = []
    for seed in range(5):
        network, rng = dense((8, 20, 3), seed), np.random.default_rng(seed)
        centre, C = rng.uniform(-1, 1, 8), np.array([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]])
        box = centre - 0.3, centre + 0.3
        bounds = linear_bounds(network, box[0][None], box[1][None])
        optima = lp_margins(network, box, bounds, C)
        for slopes in ("adaptive", "optimised"):
            margins = linear_margins(network, box[0][None], box[1][None], C, slopes=slopes, bounds=bounds)
            gaps.append((optima - margins[0][0]).sum())
    assert sum(gaps[1::2]) < 0.25 * sum(gaps[::2])


def test_a_step_of_the_ascent_that_loses_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ascent, "ASCENT_STEPS", 1)
    monkeypatch.setattr(ascent, "FIRST_STEP", 1.0)
    for seed in range(20):
        network, low = dense((4, 10, 10, 3), seed), np.random.default_rng(seed).uniform(-1, 1, (5, 4))
        bounds = linear_bounds(network, low, low + 0.5)
        adaptive, optimised = (
            linear_margins(network, low, low + 0.5, np.eye(3), slopes=slopes, bounds=bounds)
            for slopes in ("adaptive", "optimised")
        )
        assert (optimised[0] >= adaptive[0]).all()
        assert (optimised[1] <= adaptive[1]).all()


def test_optimised_bounds_on_hidden_layers_are_tighter_than_adaptive_ones() -> None:
    network, low, high = images(zoo.load("mnist_small"), 3)
    adaptive = linear_bounds(network, low, high)
    optimised = linear_bounds(network, low, high, slopes="optimised")
    for inner, outer in zip(optimised, adaptive, strict=True):
        assert_within(inner, outer)
    widths = [np.subtract(*bounds[-1][::-1]).mean() for bounds in (optimised, adaptive)]
    assert widths[0] < 0.99 * widths[1]


def test_linear_margins_of_images_are_far_above_interval_margins() -> None:
    network, low, high = images(zoo.load("mnist_small"), 20)
    C = np.eye(10)[0] - np.eye(10)[1:]
    widths = [
        np.subtract(*bound[::-1])
        for bound in (linear_margins(network, low, high, C), interval_margins(network, low, high, C))
    ]
    assert (widths[0] < 0.6 * widths[1]).all()


def test_a_single_relu_has_the_lines_of_its_triangle() -> None:
    network = LayerList((1,), (ReLU(), linear_layer([[1], [-1]])))
    expected: dict[str, list[list[float]]]
    expected = {"adaptive": [[-1, -2], [2, 0]], "parallel": [[-2 / 3, -2], [2, 2 / 3]], "optimised": [[0, -2], [2, 0]]}
    for slopes, values in expected.items():
        bounds = linear_margins(network, [[-1.0]], [[2.0]], np.eye(2), slopes=slopes)
        interval = interval_margins(network, [[-1.0]], [[2.0]], np.eye(2))
        clipped = np.maximum(values[0], interval[0][0]), np.minimum(values[1], interval[1][0])
        np.testing.assert_allclose(np.array(bounds)[:, 0], clipped, atol=CLOSE)


def test_the_adaptive_slope_is_one_where_the_neuron_is_mostly_active() -> None:
    first = Linear(np.ones((2, 1)), np.array([0.0, 10.0]))  # relu(x) - (x + 10)
    network = LayerList((1,), (first, ReLU(), linear_layer([[1, -1]])))
    low, _ = linear_margins(network, [[-1.0], [-2.0]], [[2.0], [1.0]], [[1.0]])
    np.testing.assert_allclose(low, [[-10.0], [-11.0]], rtol=CLOSE)


@EVERY_KIND_OF_SLOPE
def test_the_upper_lines_of_an_absolute_value_cancel(slopes: str) -> None:
    network = LayerList((1,), (linear_layer([[1], [-1]]), ReLU(), linear_layer([[-1, -1]])))  # -|x|
    low, _ = linear_margins(network, [[-1.0]], [[1.0]], [[1.0]], slopes=slopes)
    np.testing.assert_allclose(low, -1.0, atol=CLOSE)


def lp_margins(network: LayerList, box: tuple[Array, Array], bounds: Bounds, C: Array) -> Array:
    """The margins' least values over the triangles of the given bounds, one LP each; Linear and ReLU in turns."""
    columns = list(zip(*box, strict=True))
    equal: list[tuple[Array, float]] = []
    below: list[tuple[Array, float]] = []
    total = box[0].size + sum(low.size for low, _ in bounds)
    inputs = np.arange(box[0].size)
    for layer, before, (low, _) in zip(network.layers, [box, *bounds[:-1]], bounds, strict=True):
        outputs = len(columns) + np.arange(low.size)
        columns += [(None, None)] * low.size
        rows = np.eye(total)
        if isinstance(layer, Linear):
            equal += [(rows[j] - layer.weight[k] @ rows[inputs], layer.bias[k]) for k, j in enumerate(outputs)]
        else:
            for s, z, l, u in zip(inputs, outputs, np.ravel(before[0]), np.ravel(before[1]), strict=True):
                below += triangle(rows[s], rows[z], l, u)
        inputs = outputs
    answers = [
        linprog(
            C[k] @ np.eye(total)[inputs],
            A_ub=np.array([a for a, _ in below]).reshape(-1, total),
            b_ub=[b for _, b in below],
            A_eq=np.array([a for a, _ in equal]),
            b_eq=[b for _, b in equal],
            bounds=columns,
            method="highs",
        )
        for k in range(len(C))
    ]
    return np.array([answer.fun for answer in answers])


def triangle(s: Array, z: Array, l: float, u: float) -> list[tuple[Array, float]]:
    """`a @ x <= b` for the least convex set around a ReLU."""
    if u <= 0:
        return [(z, 0.0), (-z, 0.0)]
    if l >= 0:
        return [(z - s, 0.0), (s - z, 0.0)]
    return [(-z, 0.0), (s - z, 0.0), (z - u / (u - l) * s, -u * l / (u - l))]
