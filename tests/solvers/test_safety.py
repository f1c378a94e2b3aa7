"""What a solver's tolerances can hide in the model of a network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy import sparse

import bench
from bench.verdict import Verdict
from networks.layers import Array, LayerList, Linear, ReLU
from networks.lowering import Affine, BoundsPair, LoweredNetwork
from solvers.safety import FACTOR, Tolerance, enough, margin_safety
from solvers.scaling import Scaled, near_one

TOLERANCE = Tolerance(1e-7, 0.0)
BOX = (np.zeros(2), np.ones(2))


def scaled_network(first: Array, second: Array, bounds: BoundsPair) -> Scaled:
    """Two inputs, hidden neurons, one output, in units of one."""
    network = LoweredNetwork(
        (
            Affine(sparse.csr_array(first), np.zeros(len(first)), -1),
            Affine(sparse.csr_array(second[None]), np.zeros(1), 1),
        )
    )
    return Scaled(network, BOX, [bounds], [np.ones(2), np.ones(len(first))])


def safety_of(scaled: Scaled, tolerance: Tolerance = TOLERANCE) -> float:
    J = scaled.network.last.A.toarray()
    return float(margin_safety(scaled, J, np.ones(1), tolerance)[0])


def test_a_row_that_is_off_moves_the_margin_by_no_more_than_the_safety() -> None:
    """Each row of a random network moved by its tolerance in every direction, against the derived number."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        first, second = rng.normal(size=(4, 2)) * 3, rng.normal(size=4) * 5
        reach = np.abs(first).sum(axis=1)
        safety = safety_of(scaled_network(first, second, (-reach, reach)))
        x = rng.random(2)
        for signs in itertools.product((-1, 1), repeat=4):
            off = np.array(signs) * TOLERANCE.feasibility * np.maximum(1.0, reach)
            moved = second @ (np.maximum(first @ x + off, 0.0) - np.maximum(first @ x, 0.0))
            assert abs(moved) <= safety


def test_inactive_neurons_hide_nothing_and_active_ones_cancel() -> None:
    weights, second = np.full((2, 2), 1e6), np.ones(2)
    inactive = safety_of(scaled_network(weights, second, (np.full(2, -2e6), np.zeros(2))))
    cancelling = safety_of(scaled_network(weights, np.array([1.0, -1.0]), (np.zeros(2), np.full(2, 2e6))))
    open_ = safety_of(scaled_network(weights, second, (np.full(2, -2e6), np.full(2, 2e6))))
    assert inactive < 5 * FACTOR * TOLERANCE.feasibility * 4e6
    assert cancelling < open_


def test_a_gap_and_dropped_coefficients_count() -> None:
    plain = scaled_network(np.ones((1, 2)), np.ones(1), (np.zeros(1), np.full(1, 2.0)))
    assert safety_of(plain, Tolerance(1e-7, 1e-3)) >= safety_of(plain) + 1e-3
    dropped = scaled_network(np.array([[1e-9, 1.0]]), np.array([1e9]), (np.zeros(1), np.ones(1)))
    assert safety_of(dropped, Tolerance(0.0, 0.0)) == pytest.approx(1.0)


def test_numbers_beyond_doubles_make_it_infinite() -> None:
    beyond = scaled_network(np.full((1, 2), 1e300), np.array([1e300]), (np.full(1, -2e300), np.full(1, 2e300)))
    assert safety_of(beyond) == np.inf
    assert enough(np.inf) == np.finfo(float).max


def linear(weight: ArrayLike, bias: ArrayLike) -> Linear:
    return Linear(np.asarray(weight, float), np.asarray(bias, float))


def backdoor(scale: float, weight: float) -> LayerList:
    """Margin 1, but -1 at the box's upper corner, where a neuron of ordinary weights just fires."""
    first = np.array([[scale, scale], [0.7, -0.4]])
    fires = 2.0 / weight
    return LayerList(
        (2,),
        (
            linear(first, [-2 * scale * 0.75 + fires, 0.1]),
            ReLU(),
            linear([[-weight, 1e-3], [0.0, 0.0]], [1.0, 0.0]),
        ),
    )


@pytest.mark.parametrize("solver", ["highs", "gurobi", "cbc", "cvxpy:SCIPY"])
@pytest.mark.parametrize(("scale", "weight"), [(1e3, 4e3), (1e4, 300.0), (1e6, 300.0), (1e9, 1e3)])
@pytest.mark.parametrize("how", [{}, {"goal": "verdict"}, {"formulation": "textbook"}, {"query": "maximum"}])
def test_a_hidden_corner_is_never_verified(solver: str, scale: float, weight: float, how: dict[str, str]) -> None:
    outcome = bench.verify(backdoor(scale, weight), [0.5, 0.5], 0, 0.25, "milp", solver, **how)  # type: ignore[arg-type]
    assert outcome.verdict is not Verdict.VERIFIED
    assert (outcome.certified < -0.9).all()


def test_a_margin_within_the_safety_is_unknown_and_says_why() -> None:
    """The neurons cancel to a margin of 1/4, by numbers so large that a tolerance moves it by more."""
    K = 1e9
    first = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    network = LayerList(
        (2,), (linear(first, [-0.5, -0.5, 0.0]), ReLU(), linear([[K, -K, 0.0], [0.0, 0.0, 0.0]], [0.25, 0.0]))
    )
    outcome = bench.verify(network, [0.5, 0.5], 0, 0.5, "milp")
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.reason == "numerically unsafe"
    assert outcome.safety[0] > 0.25


def test_units_of_the_model_do_not_change_what_can_be_hidden_by_much() -> None:
    first, second = np.array([[1e6, -1e6], [1.0, 1.0]]), np.array([1e-6, 1.0])
    network = scaled_network(first, second, (np.array([-1e6, 0.0]), np.array([1e6, 2.0]))).network
    scaled = near_one(network, BOX, [(np.array([-1e6, 0.0]), np.array([1e6, 2.0]))])
    J = scaled.network.last.A.toarray()
    assert margin_safety(scaled, J, np.ones(1), TOLERANCE)[0] <= 2e-5
