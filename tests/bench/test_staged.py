"""The staged method: the cheapest stage that can decide a target does."""

from __future__ import annotations

import numpy as np
import pytest

from bench import Verdict, verify
from networks.data import test_image as image_of  # not under a name that pytest collects
from networks.layers import LayerList, Linear, ReLU

STAGES = ("attack", "interval", "linear", "alpha", "lp", "tighten", "milp")


def test_an_easy_instance_ends_with_interval_bounds() -> None:
    outcome = verify("mnist_small", *image_of(0), 0.002, "staged")
    assert outcome.verdict is Verdict.VERIFIED
    assert set(outcome.stage) == {"interval"}
    assert list(outcome.stage_s) == ["attack", "interval"]
    assert outcome.evidence == "interval bounds (9)"


def test_an_instance_that_an_attack_breaks_ends_there() -> None:
    outcome = verify("mnist_small", *image_of(20), 0.1, "staged")
    assert outcome.verdict is Verdict.FALSIFIED
    assert list(outcome.stage_s) == ["attack"]
    assert outcome.witness is not None
    for stage, status, upper in zip(outcome.stage, outcome.status, outcome.upper, strict=True):
        assert (stage, status) == (("attack", "falsified") if upper < 0 else ("", "skipped"))


@pytest.mark.parametrize(("image", "epsilon", "last"), [(0, 0.02, "linear"), (9, 0.03, "lp"), (1, 0.05, "milp")])
def test_each_target_is_decided_by_the_first_stage_that_can(image: int, epsilon: float, last: str) -> None:
    x, label = image_of(image)
    outcome = verify("mnist_small", x, label, epsilon, "staged")
    assert outcome.verdict is Verdict.VERIFIED
    linear = verify("mnist_small", x, label, epsilon, "linear")
    interval = verify("mnist_small", x, label, epsilon, "interval")
    for index, stage in enumerate(outcome.stage):
        by_interval, by_linear = interval.lower[index] > 0, linear.lower[index] > 0
        assert (stage == "interval") == by_interval
        assert (stage == "linear") == (by_linear and not by_interval)
    assert last in outcome.stage
    assert set(outcome.stage) <= set(outcome.stage_s) <= set(STAGES)


def test_the_stages_seconds_are_those_of_the_whole() -> None:
    outcome = verify("mnist_small", *image_of(1), 0.05, "staged")
    spent = sum(outcome.stage_s.values())
    assert 0.5 * outcome.total_s < spent <= outcome.total_s
    assert outcome.build_s + outcome.solve_s <= outcome.stage_s["lp"] + outcome.stage_s["milp"]


@pytest.mark.parametrize(
    ("bounds", "stages"),
    [
        ("interval", ["attack", "interval", "lp", "milp"]),
        ("linear", ["attack", "interval", "linear", "lp", "milp"]),
        ("alpha", ["attack", "interval", "linear", "alpha", "lp", "milp"]),
        ("lp", ["attack", "interval", "linear", "lp", "tighten", "milp"]),
    ],
)
def test_the_stages_go_as_far_as_the_bounds_that_are_asked_for(bounds: str, stages: list[str]) -> None:
    outcome = verify("mnist_small", *image_of(1), 0.05, "staged", bounds=bounds, targets=[3], time_limit_s=3)
    assert list(outcome.stage_s) == stages
    assert outcome.lower[0] > -np.inf


def test_a_time_limit_leaves_targets_open_with_the_bounds_so_far() -> None:
    outcome = verify("mnist_small", *image_of(5), 0.05, "staged", time_limit_s=1.0)
    assert outcome.total_s < 5.0
    assert np.isfinite(outcome.lower).all()
    assert (outcome.verdict, outcome.reason) == (Verdict.UNKNOWN, "time limit")
    assert {"", "linear"} <= set(outcome.stage)


def test_no_time_at_all_is_said_to_be_the_reason() -> None:
    outcome = verify("mnist_small", *image_of(5), 0.05, "staged", time_limit_s=1e-9)
    assert (outcome.verdict, outcome.reason) == (Verdict.UNKNOWN, "time limit")
    assert set(outcome.status) == {"time_limit"}


def test_a_network_without_a_hidden_layer_is_decided_by_propagation() -> None:
    network = LayerList((2,), (Linear(np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2)),))
    assert set(verify(network, [0.6, 0.3], 0, 0.1, "staged").stage) == {"interval"}


def test_a_witness_of_a_later_stage_ends_the_search_too() -> None:
    # A kink that gradients at the image do not see: PGD stays where both neurons are dead, the LP's solution does not.
    first = Linear(np.array([[1.0], [-1.0]]), np.array([-0.75, 0.25]))
    network = LayerList((1,), (first, ReLU(), Linear(np.array([[0.0, 0.0], [9.0, 9.0]]), np.array([1.0, 0.0]))))
    outcome = verify(network, [0.5], 0, 0.45, "staged")
    assert outcome.verdict is Verdict.FALSIFIED
    assert set(outcome.stage) <= {"lp", "milp"}
