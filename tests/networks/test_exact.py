"""Networks in exact arithmetic, against rational numbers, and the error bounds of float64 against these."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from networks import zoo
from networks.data import test_images as images_of
from networks.errors import NetworkError
from networks.exact import exact_forward, exact_outputs, forward_with_error, largest_error, nearest
from networks.layers import Array, Conv2d, LayerList, Linear, ReLU
from tests.networks.exact_intervals import exact_bounds
from tests.networks.strategies import SEEDS, layer_lists

LARGEST = float(np.finfo(np.float64).max)


def linear(weight: list[list[float]], bias: list[float]) -> Linear:
    return Linear(np.array(weight), np.array(bias))


def by_hand(network: LayerList, point: Array) -> list[Fraction]:
    """The outputs, number by number."""
    return exact_bounds(network, (point, point))[-1][0]


def spread(rng: np.random.Generator, values: Array, decades: int) -> Array:
    """The values over up to so many decades to either side, some of them zero."""
    with np.errstate(under="ignore"):
        return values * 10.0 ** rng.integers(-decades, decades + 1, values.shape) * (rng.random(values.shape) > 0.1)


def hostile(network: LayerList, rng: np.random.Generator, decades: int) -> LayerList:
    """The network with parameters that stand far apart."""
    layers = [
        layer
        if not isinstance(layer, Linear | Conv2d)
        else type(layer)(
            **{
                **{name: getattr(layer, name) for name in layer.__slots__},
                "weight": spread(rng, layer.weight, decades),
                "bias": spread(rng, layer.bias, decades),
            }
        )
        for layer in network.layers
    ]
    return LayerList(network.input_shape, tuple(layers))


@settings(max_examples=60, deadline=None)
@given(network=layer_lists(), seed=SEEDS, decades=st.sampled_from((0, 3, 12, 90)))
def test_outputs_are_those_of_rational_arithmetic_and_float64_is_within_its_bound(
    network: LayerList, seed: int, decades: int
) -> None:
    rng = np.random.default_rng(seed)
    network = hostile(network, rng, decades)
    batch = spread(rng, rng.normal(size=(3, *network.input_shape)), decades)
    expected = [by_hand(network, point) for point in batch]
    assert exact_outputs(network, batch) == expected
    assert exact_forward(network, batch[0]) == expected[0]
    values, error = forward_with_error(network, batch)
    largest = largest_error(network, batch)
    for found, own, exact in zip(values.reshape(3, -1), error.reshape(3, -1), expected, strict=True):
        for value, bound, number in zip(found.tolist(), own.tolist(), exact, strict=True):
            if math.isfinite(bound):
                assert abs(Fraction(value) - number) <= Fraction(bound)
            if math.isfinite(largest):
                assert abs(Fraction(value) - number) <= Fraction(largest)


def test_what_float64_cannot_add_is_added() -> None:
    # relu(x + 2^54) - 2^54 is x; in float64 it is a multiple of 4.
    network = LayerList((1,), (linear([[1.0]], [2.0**54]), ReLU(), linear([[1.0], [0.0]], [-(2.0**54), 0.25])))
    assert exact_forward(network, [0.7]) == [Fraction(0.7), Fraction(0.25)]
    values, error = forward_with_error(network, [[0.7]])
    assert values[0, 0] != 0.7
    assert error[0, 0] >= abs(values[0, 0] - 0.7)


def test_the_smallest_and_the_largest_numbers_are_numbers_like_any_other() -> None:
    tiny, huge = math.ulp(0.0), LARGEST
    network = LayerList((2,), (linear([[huge, tiny], [huge, huge]], [tiny, -huge]), linear([[huge, -1.0]], [0.0])))
    x = np.array([huge, tiny])
    a, b = Fraction(huge), Fraction(tiny)
    first, second = a * a + b * b + b, a * a + a * b - a
    assert exact_forward(network, x) == [a * first - second]
    assert forward_with_error(network, x[None])[1] == np.inf
    assert largest_error(network, x[None]) == np.inf


def test_a_point_has_one_value_whatever_stands_beside_it() -> None:
    network, batch = zoo.load("mnist_dnn_4"), images_of(7).images.astype(np.float64)
    together = exact_outputs(network, batch)
    assert [exact_forward(network, point) for point in batch] == together
    values, error = forward_with_error(network, batch)
    exact = np.array(
        [[float(Fraction(v) - n) for v, n in zip(*pair, strict=True)] for pair in zip(values, together, strict=True)]
    )
    assert (np.abs(exact) <= error).all()
    assert error.max() < 1e-8
    assert largest_error(network, batch) < 1e-6


def test_convolutions_of_the_zoo_are_exact_too() -> None:
    network, (x,) = zoo.load("mnist_cnn"), images_of(1).images.astype(np.float64)
    values, error = forward_with_error(network, x[None])
    exact = exact_forward(network, x)
    assert all(abs(Fraction(v) - n) <= Fraction(e) for v, n, e in zip(values[0], exact, error[0], strict=True))
    assert error.max() < 1e-8
    assert any(Fraction(v) != n for v, n in zip(values[0], exact, strict=True))


@given(numerator=st.integers(), shift=st.integers(-1200, 1200))
@example(numerator=1, shift=-1200)
@example(numerator=-1, shift=-1200)
def test_rounding_keeps_the_sign_and_the_order(numerator: int, shift: int) -> None:
    exact = numerator * Fraction(2) ** shift
    rounded = nearest(exact)
    assert np.sign(rounded) == np.sign(numerator)
    if exact > LARGEST:
        assert rounded == math.inf or rounded == LARGEST
    elif abs(exact) >= Fraction(math.ulp(0.0)):
        below, above = math.nextafter(rounded, -math.inf), math.nextafter(rounded, math.inf)
        distance = abs(Fraction(rounded) - exact) if math.isfinite(rounded) else None
        assert distance is None or all(
            distance <= abs(Fraction(near) - exact) for near in (below, above) if math.isfinite(near)
        )


def test_a_shape_that_does_not_fit_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"takes batches of shape \(n, 1\), not \(1, 2\)"):
        exact_forward(LayerList((1,), (ReLU(),)), [1.0, 2.0])
