"""The order that has to hold whoever computes it: interval <= linear <= LP <= MILP <= attack, over the same ball."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import Verdict, attack, verify
from networks import zoo
from networks.data import test_image as image_of  # not under a name that pytest collects
from networks.layers import Array, LayerList, Linear, ReLU
from tests.networks.strategies import SEEDS, classifiers

CLIP = (0.0, 1.0)
TOLERANCE = 1e-5  # relative to max(1, |margin|): what solvers' margins agree to


def assert_ascending(names: list[str], values: list[float]) -> None:
    for name, value, next_name, next_value in zip(names, values, names[1:], values[1:], strict=False):
        slack = TOLERANCE * max(1.0, abs(value))
        assert value <= next_value + slack, f"{name} {value} is above {next_name} {next_value}"


def assert_ordered(
    network: LayerList,
    x: Any,
    label: int,
    epsilon: float,
    target: int,
    methods: tuple[str, ...],
    solver: str,
    attacks: tuple[str, ...],
) -> None:
    outcomes = [verify(network, x, label, epsilon, method, solver, targets=[target], clip=CLIP) for method in methods]
    assert all(outcome.status[0] in ("optimal", "bounded") for outcome in outcomes)
    found = [
        attack(network, np.asarray(x)[None], [label], name, epsilon, targets=[target], clip=CLIP, device="cpu").margin
        for name in attacks
    ]
    lower = [float(outcome.lower[0]) for outcome in outcomes]
    for margin in found:
        assert_ascending([*methods, "attack"], [*lower, float(margin[0])])
    for outcome in outcomes:  # the inputs that the methods came across are upper bounds too
        assert_ascending([methods[-1], f"an input of {outcome.method}"], [lower[-1], float(outcome.upper[0])])


@pytest.mark.parametrize(
    ("name", "image", "epsilon", "target", "methods", "solver"),
    [
        ("mnist_small", 20, 0.01, 7, ("interval", "linear", "lp", "milp"), "highs"),
        ("mnist_small", 43, 0.01, 1, ("interval", "linear", "lp", "milp"), "gurobi"),
        ("mnist_small", 20, 0.03, 7, ("interval", "linear", "lp", "milp"), "gurobi"),
        ("mnist_small", 18, 0.01, 8, ("interval", "linear", "lp", "milp"), "cbc"),
        ("mnist_dnn_2", 0, 0.005, 9, ("interval", "linear", "lp", "milp"), "gurobi"),
        ("mnist_dnn_2", 18, 0.02, 8, ("interval", "linear", "lp"), "highs"),
        ("mnist_dnn_4", 0, 0.002, 9, ("interval", "linear", "lp"), "gurobi"),
        ("mnist_cnn", 0, 0.005, 3, ("interval", "dual", "linear"), "highs"),
    ],
)
def test_zoo_networks_keep_the_order(
    name: str, image: int, epsilon: float, target: int, methods: tuple[str, ...], solver: str
) -> None:
    x, label = image_of(image)
    attacks = ("fgsm",) if name == "mnist_cnn" else ("fgsm", "pgd", "pgd_linf", "pgd_linf_versus_all")
    assert_ordered(zoo.load(name), x, label, epsilon, target, methods, solver, attacks)


@pytest.mark.parametrize("solver", ["highs", "gurobi"])
@settings(max_examples=12, deadline=None)
@given(network=classifiers(), seed=SEEDS, epsilon=st.sampled_from((0.0, 0.01, 0.1, 0.5)))
def test_random_networks_keep_the_order(solver: str, network: LayerList, seed: int, epsilon: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.0, 1.0, network.input_shape)
    label, target = rng.permutation(network.class_count)[:2].tolist()
    assert_ordered(
        network, x, label, epsilon, target, ("interval", "linear", "lp", "milp"), solver, ("fgsm", "pgd_linf")
    )


def test_the_least_margin_over_all_targets_is_below_an_untargeted_attack() -> None:
    x, label = image_of(0)
    lower = verify("mnist_small", x, label, 0.01, "lp", "gurobi").lower.min()
    found = attack("mnist_small", x[None], [label], "pgd_linf", 0.01, clip=CLIP, device="cpu", restarts=2).margin[0]
    assert_ascending(["lp", "attack"], [float(lower), float(found)])


def test_a_larger_ball_has_lower_margins_by_every_method() -> None:
    x, label = image_of(20)
    for method in ("interval", "linear", "lp", "milp"):
        margins = [
            float(verify("mnist_small", x, label, epsilon, method, "gurobi", targets=[7]).lower[0])
            for epsilon in (0.0, 0.005, 0.01, 0.02)
        ]
        assert_ascending([f"{method} at a larger epsilon"] * 4, margins[::-1])


def rescaled_network(hidden: float, output: float) -> tuple[LayerList, Array, int, Array]:
    """A network in unusual units, an image, its label, and an input within 0.3 of it that another class wins barely."""
    rng = np.random.default_rng(0)
    shapes = ((8, 4), (8, 8), (3, 8))
    W1, W2, W3 = (rng.normal(size=shape) for shape in shapes)
    b1, b2, b3 = (rng.normal(size=shape[0]) for shape in shapes)
    x = rng.uniform(0.3, 0.7, size=4)

    def network(hidden: float, output: float, last: Array) -> LayerList:
        first = Linear(W1 * hidden, b1 * hidden)
        middle, end = Linear(W2 / 2, b2 * hidden), Linear(W3 / hidden * output, last * output)
        return LayerList((4,), (first, ReLU(), middle, ReLU(), end))

    label = int(network(1, 1, b3).forward(x[None]).argmax())
    worst = verify(network(1, 1, b3), x, label, 0.3, clip=None)
    b3[label] -= worst.upper.min() + 0.1
    return network(hidden, output, b3), x, label, worst.worst_input


@pytest.mark.parametrize("solver", ["highs", "gurobi", "cbc"])
@pytest.mark.parametrize(
    ("hidden", "output"), [(1e4, 1e-4), (1e6, 1e-2), (1e3, 1.0), (1e-6, 1.0), (1e-3, 1e3), (1.0, 1e5)]
)
def test_unusual_units_make_no_wrong_verdict(hidden: float, output: float, solver: str) -> None:
    network, x, label, point = rescaled_network(hidden, output)
    margins = network.forward(point[None])[0]
    true = np.delete(margins[label] - margins, label)
    for method, goal in (
        ("linear", "margin"),
        ("lp", "margin"),
        ("milp", "verdict"),
        ("staged", "verdict"),
        ("milp", "margin"),
    ):
        outcome = verify(network, x, label, 0.3, method, solver, clip=None, goal=goal)
        assert outcome.verdict is not Verdict.VERIFIED
        assert (outcome.lower <= true + max(1e-6 * output, 2e-6)).all()
    assert outcome.verdict is Verdict.FALSIFIED
