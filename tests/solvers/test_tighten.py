"""Tightened pre-activation bounds: sound, never wider, and as tight as what they were asked of."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import zoo
from networks.bounds.linear import linear_bounds
from networks.data import test_image as image_of  # not under a name that pytest collects
from networks.instance import Instance, ball
from networks.layers import LayerList, Linear, ReLU
from networks.lowering import BoundsPair, lower
from solvers.backend import Limits, SolverOptions
from solvers.backends.highs_ import Highs, HighsSession
from solvers.linear_model import LinearModel
from solvers.registry import get
from solvers.result import SolveResult, Status
from solvers.tighten import Tightening, tighten
from tests.networks.strategies import SEEDS, classifiers, points_in

ROUNDING = 1e-9
ROUNDS = {"lp": (True,), "milp": (False,), "both": (True, False)}


def propagated(network: LayerList, instance: Instance) -> list[BoundsPair]:
    bounds = linear_bounds(network, instance.lower[None], instance.upper[None])
    return [(low[0], high[0]) for low, high in bounds]


def tightened(network: LayerList, instance: Instance, rounds: str, solver: str = "highs") -> Tightening:
    box, bounds = (instance.lower, instance.upper), propagated(network, instance)
    return tighten(network, lower(network), box, bounds, get(solver), SolverOptions(), relaxations=ROUNDS[rounds])


def question(network: LayerList, seed: int, epsilon: float) -> Instance:
    return ball(network, np.random.default_rng(seed).uniform(0.0, 1.0, network.input_shape), 0, epsilon)


def assert_within(inner: list[BoundsPair], outer: list[BoundsPair]) -> None:
    for (low, high), (wide_low, wide_high) in zip(inner, outer, strict=True):
        assert (low >= wide_low).all()
        assert (high <= wide_high).all()


@settings(max_examples=15, deadline=None)
@given(network=classifiers(max_hidden=3), seed=SEEDS, epsilon=st.sampled_from((0.05, 0.3, 1.0)))
@pytest.mark.parametrize("rounds", list(ROUNDS))
def test_bounds_hold_at_every_point_and_are_never_wider(
    rounds: str, network: LayerList, seed: int, epsilon: float
) -> None:
    instance = question(network, seed, epsilon)
    found = tightened(network, instance, rounds)
    assert_within(found.bounds, propagated(network, instance))
    values = points_in((instance.lower, instance.upper), 200, seed)
    for layer, (low, high) in zip(network.layers, found.bounds, strict=True):
        values = layer.forward(values)
        slack = ROUNDING * np.maximum(1.0, np.abs(values).max())
        assert (values >= low - slack).all()
        assert (values <= high + slack).all()


def third_layer_neuron() -> tuple[LayerList, Instance]:
    """A neuron `relu(a + b) + relu(a - b) + relu(b - a) + relu(-a - b) - 2` of inputs a, b, and one beside it."""
    first = Linear(np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]), np.zeros(4))
    second = Linear(np.array([[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 0.5, 0.0]]), np.array([-2.0, 0.2]))
    network = LayerList((2,), (first, ReLU(), second, ReLU(), Linear(np.array([[1.0, 1.0], [0.0, 1.0]]), np.zeros(2))))
    return network, ball(network, np.zeros(2), 0, 0.8, clip=None)


def test_a_milp_settles_a_sign_that_no_relaxation_does() -> None:
    network, instance = third_layer_neuron()
    # At most 1.6 - 2 in the box; in the relaxation all four may be half their largest value at once.
    lp, milp = (tightened(network, instance, rounds) for rounds in ("lp", "milp"))
    assert lp.bounds[2][1][0] > 0
    assert milp.bounds[2][1][0] <= 0
    assert (lp.settled, milp.settled) == (0, 1)


def test_lp_bounds_are_the_optima_of_the_relaxation() -> None:
    network, instance = third_layer_neuron()
    # The four chords add up to 3.2 everywhere, and the neuron is 3.2 - 2 there; at the least all four are zero.
    low, high = tightened(network, instance, "lp").bounds[2]
    assert (low[0], high[0]) == (pytest.approx(-2.0, abs=1e-6), pytest.approx(1.2, abs=1e-6))


@pytest.mark.parametrize("solver", ["highs", "gurobi", "cbc"])
def test_every_solver_tightens_a_real_network_alike(solver: str) -> None:
    network = zoo.load("mnist_small")
    instance = ball(network, *image_of(0), 0.03)
    low, high = tightened(network, instance, "lp", solver).bounds[3]
    reference = tightened(network, instance, "lp").bounds[3]
    unstable = (reference[0] < 0) & (reference[1] > 0)
    assert unstable.any()
    np.testing.assert_allclose(low[unstable], reference[0][unstable], atol=1e-5)
    np.testing.assert_allclose(high[unstable], reference[1][unstable], atol=1e-5)


def test_tightening_a_real_network_narrows_its_bounds() -> None:
    network = zoo.load("mnist_small")
    instance = ball(network, *image_of(0), 0.2)
    before, found = propagated(network, instance), tightened(network, instance, "lp")
    unstable = (before[3][0] < 0) & (before[3][1] > 0)
    widths = [float((bounds[3][1] - bounds[3][0])[unstable].sum()) for bounds in (before, found.bounds)]
    assert widths[1] < 0.99 * widths[0]
    assert 0 < found.solves <= 2 * unstable.sum()


class WrongSession(HighsSession):
    """HiGHS, but for its bounds."""

    def _solve(self, limits: Limits) -> SolveResult:
        return replace(super()._solve(limits), status=Status.TARGET_REACHED, dual_bound=1e6, row_duals=None)


class Wrong(Highs):
    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        return WrongSession(model, options or SolverOptions(), self)


def test_bounds_beyond_the_proved_ones_are_not_taken() -> None:
    network, instance = third_layer_neuron()
    before, box = propagated(network, instance), (instance.lower, instance.upper)
    found = tighten(network, lower(network), box, before, Wrong(), SolverOptions(), relaxations=(False,))
    assert found.solves > 0
    assert found.settled == 0
    for (low, high), (proved_low, proved_high) in zip(found.bounds, before, strict=True):
        np.testing.assert_allclose(low, proved_low, atol=1e-12)
        np.testing.assert_allclose(high, proved_high, atol=1e-12)


def test_no_time_leaves_the_bounds_as_they_are() -> None:
    network = zoo.load("mnist_small")
    instance = ball(network, *image_of(0), 0.05)
    before = propagated(network, instance)
    box = instance.lower, instance.upper
    found = tighten(
        network, lower(network), box, before, get("highs"), SolverOptions(), deadline=time.perf_counter() - 1.0
    )
    assert (found.solves, found.settled) == (0, 0)
    assert_within(before, found.bounds)


def test_bounds_of_a_single_hidden_layer_are_exact_already() -> None:
    network = zoo.load("mnist_dnn_2")
    assert tightened(network, ball(network, *image_of(0), 0.02), "lp").solves == 0
