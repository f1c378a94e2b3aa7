"""Every switch keeps every margin and verdict: the whole grid on small networks, against brute force."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench import Verdict, verify
from bench.choices import METHODS, SWITCHES, applicable
from bench.outcome import Outcome
from networks.errors import InputError
from networks.instance import Instance, ball
from networks.layers import Array, LayerList, Linear, ReLU
from solvers.registry import get
from tests.oracles import brute_force_margins

TOLERANCE = 1e-5  # what solvers' margins agree to
Switches = dict[str, str]


def small_network() -> LayerList:
    """Two hidden layers of five and four neurons on three inputs, three classes."""
    rng = np.random.default_rng(21)
    return LayerList(
        (3,),
        (
            Linear(rng.normal(size=(5, 3)), rng.normal(0.0, 0.3, 5)),
            ReLU(),
            Linear(rng.normal(size=(4, 5)), rng.normal(0.0, 0.3, 4)),
            ReLU(),
            Linear(rng.normal(size=(3, 4)), rng.normal(0.0, 0.3, 3)),
        ),
    )


IMAGE = np.array([0.4, 0.6, 0.5])


def question(epsilon: float) -> tuple[LayerList, Instance, Array]:
    """The network, the instance around IMAGE, and its exact margins."""
    network = small_network()
    label = int(network.forward(IMAGE[None])[0].argmax())
    instance = ball(network, IMAGE, label, epsilon)
    return network, instance, brute_force_margins(network, instance)


def grid(method: str, solver: str) -> Iterator[Switches]:
    """Every combination of switches that the method and the solver have."""
    for goal in ("verdict",) if method == "staged" else SWITCHES["goal"]:
        names = applicable(method, goal)
        values = [(goal,) if name == "goal" else SWITCHES[name] for name in names]
        for combination in itertools.product(*values):
            switches = dict(zip(names, combination, strict=True))
            if possible(switches, solver):
                yield switches


def possible(switches: Switches, solver: str) -> bool:
    """Whether rows and solver have the constraints that `relu` asks for, and the solver MIP starts."""
    relu, capabilities = switches.get("relu", "bigm"), get(solver).capabilities
    there = {"bigm": True, "indicator": capabilities.indicators, "sos1": capabilities.sos1}[relu]
    starts = capabilities.start or switches.get("start", "none") == "none"
    return there and starts and (relu == "bigm" or switches["formulation"] == "compact")


def ask(instance: Instance, method: str, solver: str, switches: Switches) -> Outcome:
    chosen: dict[str, Any] = dict(switches)
    return verify(small_network(), IMAGE, instance.label, instance.epsilon, method, solver, **chosen)


def assert_fits(outcome: Outcome, exact: Array, switches: Switches) -> None:
    """The verdict is the exact one's, no bound is on the wrong side, and a margin asked for is the exact margin."""
    bounds = outcome.lower, outcome.upper
    assert (bounds[0] <= exact + TOLERANCE).all(), switches
    assert (bounds[1] >= exact - TOLERANCE).all(), switches
    if outcome.method == "lp":
        return
    verdict = Verdict.VERIFIED if exact.min() > 0 else Verdict.FALSIFIED
    assert outcome.verdict is verdict, (switches, outcome.evidence)
    if switches["goal"] == "margin" and switches["query"] == "each":
        np.testing.assert_allclose(outcome.lower, exact, atol=TOLERANCE, err_msg=str(switches))
    elif switches["goal"] == "margin":
        np.testing.assert_allclose(outcome.lower.min(), exact.min(), atol=TOLERANCE, err_msg=str(switches))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "solver", "epsilon"),
    [
        ("lp", "highs", 0.2),
        ("lp", "gurobi", 0.35),
        ("milp", "highs", 0.2),
        ("milp", "gurobi", 0.35),
        ("staged", "highs", 0.35),
        ("staged", "gurobi", 0.2),
    ],
)
def test_the_whole_grid_keeps_margins_and_verdicts(method: str, solver: str, epsilon: float) -> None:
    _, instance, exact = question(epsilon)
    for switches in grid(method, solver):
        assert_fits(ask(instance, method, solver, switches), exact, switches)


def test_the_grid_asks_a_robust_and_a_fragile_instance_that_no_propagation_decides() -> None:
    margins = {epsilon: float(question(epsilon)[2].min()) for epsilon in (0.2, 0.35)}
    assert margins[0.2] > 0.01 > -0.01 > margins[0.35]


@pytest.mark.parametrize("solver", ["cbc", "cvxpy:SCIPY"])
def test_other_solvers_keep_them_with_each_switch_alone(solver: str) -> None:
    _, instance, exact = question(0.2)
    usual = {name: values[0] for name, values in SWITCHES.items()} | {"goal": "verdict"}
    for name, value in ((name, value) for name, values in SWITCHES.items() for value in values):
        switches = usual | {name: value}
        switches = {key: switches[key] for key in applicable("milp", switches["goal"])}
        if possible(switches, solver):
            assert_fits(ask(instance, "milp", solver, switches), exact, switches)


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"method": "lp", "query": "maximum"}, "query is 'maximum', but method lp with goal margin has no such switch"),
        ({"method": "linear", "relu": "sos1"}, "relu is 'sos1', but method linear has no such switch"),
        ({"method": "milp", "stop": "cutoff"}, "stop is 'cutoff', but method milp with goal margin has no such switch"),
        ({"method": "milp", "relu": "sos1"}, "solver highs has no SOS1 constraints"),
        ({"method": "milp", "relu": "indicator"}, "solver highs has no indicator constraints"),
        (
            {"method": "milp", "relu": "sos1", "formulation": "textbook", "solver": "gurobi"},
            "relu is 'sos1' with textbook rows; expected compact rows, or relu bigm",
        ),
        ({"method": "milp", "goal": "bound"}, "goal is 'bound'; expected one of margin, verdict"),
        ({"method": "milp", "bounds": "dual"}, "bounds is 'dual'; expected one of linear, interval, alpha, lp, milp"),
    ],
)
def test_a_switch_that_means_nothing_is_refused(switches: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        verify(small_network(), IMAGE, 0, 0.2, **switches)


def test_a_start_from_a_witness_says_what_the_attack_took() -> None:
    label = question(0.35)[1].label
    outcome = verify(small_network(), IMAGE, label, 0.35, "milp", start="witness")
    assert list(outcome.stage_s) == ["attack"]
    assert 0 < outcome.stage_s["attack"] < outcome.total_s


def test_every_method_is_told_which_switches_it_has() -> None:
    for method in METHODS:
        outcome = verify(small_network(), IMAGE, question(0.2)[1].label, 0.2, method)
        assert tuple(outcome.switches) == applicable(method, "margin")
