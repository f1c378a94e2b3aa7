"""The exact oracle, against networks whose minima are known by hand, other oracles and the inputs themselves."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from networks.instance import ball
from networks.layers import LayerList, Linear, ReLU
from tests.oracles import brute_force_margins
from tests.soundness.exact import Ball, TooManyRegionsError, forward, margins_at, minima
from tests.soundness.hostile import FAMILIES, LABEL, case, convolution

F = Fraction


def dense(*pairs: tuple[object, object]) -> LayerList:
    layers = [
        layer for weight, bias in pairs for layer in (Linear(np.array(weight, float), np.array(bias, float)), ReLU())
    ]
    assert isinstance(layers[0], Linear)
    return LayerList((layers[0].weight.shape[1],), tuple(layers[:-1]))


HAT = dense(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0], [0.0, 0.0]], [0.0, 0.25]))  # rises to 1/2, falls: margin
DISTANCE = dense(([[1.0, -1.0], [-1.0, 1.0]], [0.0, 0.0]), ([[1.0, 1.0], [0.0, 0.0]], [-0.25, 0.0]))  # |x - y| - 1/4
SWITCH = dense(([[1.0]], [-1.0 + 2.0**-40]), ([[-(2.0**41)], [0.0]], [1.0, 0.0]))  # 1, but -1 at the upper end
SUM = dense(([[0.1, 0.2, -0.3]], [0.0]), ([[1.0], [0.0]], [0.0, 0.0]))


@pytest.mark.parametrize(
    ("network", "image", "epsilon", "clip", "least"),
    [
        (HAT, [0.5], 0.5, (0.0, 1.0), F(-1, 4)),
        (HAT, [0.5], 0.125, None, F(1, 8)),
        (HAT, [0.5], 0.0, None, F(1, 4)),
        (HAT, [0.25], 1.0, (0.125, 0.375), F(-1, 8)),
        (DISTANCE, [0.5, 0.5], 0.5, (0.0, 1.0), F(-1, 4)),  # in the middle, at no corner
        (DISTANCE, [0.0, 1.0], 0.25, (0.0, 1.0), F(1, 4)),
        (SWITCH, [0.5], 0.5, (0.0, 1.0), F(-1)),
        (SWITCH, [0.5], 0.25, (0.0, 1.0), F(1)),
        (SUM, [1.0, 1.0, 1.0], 0.0, None, max(F(0), F(0.1) + F(0.2) - F(0.3))),  # 2.8e-17, which floats see as 5.6e-17
    ],
)
def test_minima_known_by_hand(
    network: LayerList, image: list[float], epsilon: float, clip: tuple[float, float] | None, least: Fraction
) -> None:
    assert minima(network, Ball(tuple(image), epsilon, clip), 0, [1]) == [least]


def test_the_ball_is_that_of_real_numbers() -> None:
    ball = Ball((0.9, 0.1), 0.3, (0.0, 1.0))
    assert ball.sides() == ([F(0.9) - F(0.3), F(0)], [F(1), F(0.1) + F(0.3)])
    assert F(0.9 - 0.3) > ball.sides()[0][0]  # floats round this side inwards
    assert ball.contains([0.9 - 0.3, 0.0])
    assert not ball.contains([np.nextafter(0.9 - 0.3, 0.0), 0.0])


@pytest.mark.parametrize("seed", range(12))
def test_minima_are_those_of_brute_force_over_activation_patterns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [int(rng.integers(1, 4)), *rng.integers(1, 4, 2).tolist(), 3]
    network = dense(*((rng.normal(size=(b, a)), rng.normal(size=b) * 0.3) for a, b in itertools.pairwise(sizes)))
    image = rng.uniform(0.0, 1.0, sizes[0])
    expected = brute_force_margins(network, ball(network, image, 0, 0.3))
    found = minima(network, Ball(tuple(image.tolist()), 0.3, (0.0, 1.0)), 0, [1, 2])
    np.testing.assert_allclose([float(value) for value in found], expected, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_input_of_the_ball_has_a_smaller_margin(family: str) -> None:
    place, rng = list(FAMILIES).index(family), np.random.default_rng(0)
    for index in range(place, place + 3 * len(FAMILIES), len(FAMILIES)):
        made = case(5, index)
        network, ball, targets = made.question.network, made.question.ball, made.question.targets
        assert made.known
        shares = [*itertools.islice(itertools.product((0, 1), repeat=len(ball.image)), 20)]
        shares += rng.integers(0, 9, (20, len(ball.image))).tolist()
        for share, parts in [*((s, 1) for s in shares[:-20]), *((s, 8) for s in shares[-20:])]:
            point = [a + (b - a) * F(k, parts) for a, b, k in zip(*ball.sides(), share, strict=True)]
            outputs = forward(network, point)
            margins = [outputs[LABEL] - outputs[target] for target in targets]
            assert all(least <= margin for least, margin in zip(made.most, margins, strict=True))


@pytest.mark.parametrize("power", [-1000, -60, 60, 900])
def test_a_power_of_two_behind_the_network_is_one_before_its_minimum(power: int) -> None:
    scaled = LayerList(HAT.input_shape, (*HAT.layers, Linear(np.eye(2) * 2.0**power, np.zeros(2))))
    assert minima(scaled, Ball((0.5,), 0.5, None), 0, [1]) == [F(-1, 4) * F(2) ** power]


def test_convolutions_are_those_of_the_layers() -> None:
    for seed in range(40):  # weights in eighths and inputs in quarters: floats are exact
        rng = np.random.default_rng(seed)
        network = convolution(rng).network
        point = rng.integers(0, 5, network.input_shape) / 4
        expected = network.forward(point[None])[0]
        assert [float(value) for value in forward(network, [F(v) for v in point.ravel().tolist()])] == expected.tolist()


def test_families_make_robust_networks_and_others() -> None:
    robust = [case(0, index).robust for index in range(10 * len(FAMILIES))]
    assert None not in robust
    assert 0.3 < robust.count(True) / len(robust) < 0.7


def test_a_hidden_corner_is_what_it_says() -> None:
    place = list(FAMILIES).index("hidden_corner")
    for index in range(place, place + 8 * len(FAMILIES), len(FAMILIES)):
        question = case(0, index).question
        assert question.worst is not None
        assert margins_at(question.network, LABEL, [1], question.worst) == pytest.approx(
            minima(question.network, question.ball, LABEL, [1]), abs=0.3
        )


def test_too_many_regions_are_refused() -> None:
    with pytest.raises(TooManyRegionsError):
        minima(HAT, Ball((0.5,), 0.5, None), 0, [1], most_regions=1)
