"""Cheap candidates for a witness: attacks for each target, and the corners that linear bounds point at."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import Verdict, verify
from bench.methods.bounding import propagate
from bench.methods.question import Question
from bench.methods.witness import linear_corners, strongest_inputs
from networks.instance import ball
from networks.layers import Conv2d, Flatten, LayerList, Linear, ReLU
from tests.networks.strategies import SEEDS

# Only where all inputs are within 1e-5 of one is the second class's neuron active; the margin is -2 at the corner.
HIDDEN = LayerList(
    (4,),
    (
        Linear(np.array([[1.0] * 4, [0.3, -0.2, 0.4, 0.1]]), np.array([-4.0 + 1e-5, 1.0])),
        ReLU(),
        Linear(np.array([[0.0, 0.1], [3e5, 0.0]]), np.array([1.0, 0.1])),
    ),
)
CENTRE = np.full(4, 0.5)


def test_a_corner_that_linear_bounds_point_at_is_a_witness_where_attacks_see_none() -> None:
    question = Question.of(HIDDEN, ball(HIDDEN, CENTRE, 0, 0.5))
    assert question.margins_at(strongest_inputs(question)).min() > 0
    corners = linear_corners(question, propagate(question, "adaptive").layers)
    assert question.margins_at(corners).min() == pytest.approx(-1.96, abs=0.1)
    assert question.instance.contains(corners)


@pytest.mark.parametrize("method", ["lp", "milp"])
def test_a_corner_falsifies_also_where_no_time_is_left_for_the_solver(method: str) -> None:
    outcome = verify(HIDDEN, CENTRE, 0, 0.5, method, time_limit_s=1e-9)
    assert (outcome.verdict, outcome.counters["solves"]) == (Verdict.FALSIFIED, 0)


def test_staged_asks_no_solver_where_a_corner_falsifies() -> None:
    outcome = verify(HIDDEN, CENTRE, 0, 0.5, "staged")
    assert (outcome.verdict, outcome.status, outcome.stage) == (Verdict.FALSIFIED, ("falsified",), ("lp",))
    assert "solves" not in outcome.counters


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, relu_first=st.booleans())
def test_where_no_neuron_changes_its_sign_the_corner_has_the_least_margin(seed: int, relu_first: bool) -> None:
    rng = np.random.default_rng(seed)
    first = Conv2d(rng.normal(size=(3, 2, 2, 2)), np.full(3, 50.0), stride=(2, 2), padding=(1, 0))
    second = Conv2d(rng.normal(size=(2, 3, 2, 2)), np.zeros(2), padding=(0, 1))
    layers = (*((ReLU(),) if relu_first else ()), first, ReLU(), second, Flatten())
    network = LayerList((2, 6, 7), layers)
    question = Question.of(network, ball(network, rng.uniform(0.2, 0.8, (2, 6, 7)), 0, 0.1, targets=[1, 2, 5]))
    bounded = propagate(question, "adaptive")
    found = question.margins_at(linear_corners(question, bounded.layers)).min(axis=0)
    np.testing.assert_allclose(found, bounded.lower, atol=1e-6)


def test_numbers_beyond_float32_and_bounds_beyond_float64_still_give_candidates() -> None:
    huge = LayerList(
        (2,), (Linear(np.full((2, 2), 1e200), np.zeros(2)), ReLU(), Linear(np.eye(2) * 1e200, np.zeros(2)))
    )
    instance = ball(huge, np.array([1e100, -1e100]), 0, 1e60, clip=None)
    question = Question.of(huge, instance)
    for candidates in (
        strongest_inputs(question),
        linear_corners(question, propagate(question, None).layers),
    ):
        assert instance.contains(candidates)
    outcome = verify(huge, instance.image, 0, 1e60, "interval", clip=None)
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.upper.tolist() == [0.0]
    assert outcome.lower.tolist() == [-math.inf]
