"""What holds in exact arithmetic, and what is a solver's word: certified bounds, and the tiers of verdicts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bench import Verdict, verify
from bench.verdict import Tier
from networks.data import test_image as image_of  # not under a name that pytest collects
from networks.errors import InputError
from networks.layers import LayerList, Linear, ReLU
from solvers.result import Status
from tests.bench.test_verify import LyingSession, ask, backends

__all__ = ["backends"]  # a fixture


@pytest.mark.usefixtures("backends")
def test_a_bound_that_its_duals_do_not_prove_is_not_believed() -> None:
    honest = ask(method="lp")
    LyingSession.lie = {"dual_bound": 1e3}
    outcome = ask(method="lp", solver="lying")
    np.testing.assert_array_equal(outcome.lower, honest.lower)
    np.testing.assert_array_equal(outcome.claimed, [1e3, 1e3])
    assert outcome.tier is Tier.CERTIFIED


@pytest.mark.usefixtures("backends")
def test_duals_of_a_model_of_counterexamples_prove_no_more_than_that_there_are_none() -> None:
    honest = ask(goal="verdict")  # the model has no binaries: its LP has duals, which prove it empty
    rows = int(honest.counters["rows"])
    LyingSession.lie = {
        "status": Status.OPTIMAL,
        "dual_bound": 0.0,
        "x": None,
        "row_duals": np.append(np.zeros(rows), -1e6),
    }
    outcome = ask(goal="verdict", solver="lying", bounds="interval")
    assert honest.counters["binaries"] == 0
    assert (outcome.lower <= np.maximum(2 * outcome.safety, outcome.certified)).all()
    assert (outcome.certified < 0.1).all()


@pytest.mark.usefixtures("backends")
def test_a_solution_of_another_model_is_recorded_as_such() -> None:
    LyingSession.lie = {"x": np.full(5, 7.0)}
    outcome = ask(method="lp", solver="lying")
    assert outcome.violation is not None
    assert outcome.violation > 1
    assert ask(method="lp").violation == pytest.approx(0.0, abs=1e-9)
    assert ask(method="interval").violation is None


@pytest.mark.parametrize("network", ["mnist_small", "mnist_dnn_2"])
@pytest.mark.parametrize("solver", ["highs", "gurobi", "cbc"])
def test_certified_and_claimed_bounds_of_real_networks_differ_by_less_than_a_millionth(
    network: str, solver: str
) -> None:
    for epsilon in (0.005, 0.02):
        outcome = verify(network, *image_of(0), epsilon, "lp", solver)
        assert outcome.verdict is Verdict.VERIFIED
        assert outcome.tier is Tier.CERTIFIED
        assert (outcome.safety == 0).all()
        np.testing.assert_array_equal(outcome.lower, outcome.certified)
        np.testing.assert_allclose(outcome.claimed, outcome.certified, rtol=0, atol=1e-6)


@pytest.mark.parametrize("formulation", ["compact", "textbook"])
def test_exact_certificates_are_above_those_by_error_bounds_by_next_to_nothing(formulation: str) -> None:
    x, label = image_of(0)
    asked: dict[str, Any] = {"method": "lp", "targets": [2], "formulation": formulation}
    fast = verify("mnist_small", x, label, 0.02, **asked)
    exact = verify("mnist_small", x, label, 0.02, **asked, exact=True)
    assert 0 <= exact.certified[0] - fast.certified[0] < 1e-9
    assert exact.tier is Tier.CERTIFIED


def test_what_a_milp_decides_is_the_solvers_word_with_the_rigorous_bound_beside() -> None:
    x, label = image_of(0)
    outcome = verify("mnist_small", x, label, 0.005, "milp", "gurobi", targets=[2])
    assert (outcome.safety > 0).all()
    assert 0 < outcome.certified[0] < outcome.lower[0] <= outcome.claimed[0]
    assert outcome.bounds_used == "linear"
    assert outcome.tier is Tier.CERTIFIED  # the bounds suffice
    harder = verify("mnist_small", x, label, 0.02, "milp", "gurobi", targets=[2], bounds="interval")
    assert harder.certified[0] < 0 < harder.safety[0] < harder.lower[0]
    assert harder.tier is Tier.SOLVER
    tightened = verify("mnist_small", x, label, 0.005, "lp", "gurobi", targets=[2], bounds="milp")
    assert tightened.tier is Tier.SOLVER
    assert tightened.certified[0] == -math.inf
    assert tightened.bounds_used == "milp"


def test_affine_layers_that_were_multiplied_out_are_certified_with_their_rounding() -> None:
    rng = np.random.default_rng(0)
    sizes = ((3, 4), (4, 4), (2, 4))
    first, second, last = (Linear(rng.normal(size=(a, b)), rng.normal(size=a)) for a, b in ((4, 3), *sizes[1:]))
    network = LayerList((3,), (first, second, ReLU(), last))
    image = rng.random(3)
    label = int(network.forward(image[None]).argmax())
    outcome = verify(network, image, label, 1e-3, "lp")
    assert (outcome.verdict, outcome.tier) == (Verdict.VERIFIED, Tier.CERTIFIED)
    assert outcome.certified[0] == pytest.approx(outcome.claimed[0], abs=1e-9)


def test_bounds_by_propagation_are_certified_and_a_witness_says_where_it_holds() -> None:
    x, label = image_of(0)
    assert verify("mnist_small", x, label, 0.005, "linear").tier is Tier.CERTIFIED
    assert verify("mnist_small", x, label, 0.02, "interval").tier is None  # unknown
    assert verify("mnist_small", *image_of(8), 0.05, "staged").tier is Tier.FLOAT32


def test_exact_is_refused_where_there_is_no_lp_to_certify() -> None:
    with pytest.raises(InputError, match="exact is asked of method linear, which solves no LP"):
        verify("mnist_small", *image_of(0), 0.01, "linear", exact=True)
