"""Shapes of networks that once got a wrong answer, each asked by every method with the solvers that we depend on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from bench import Verdict, verify
from bench.choices import BY_MILP, BY_PROPAGATION
from networks.layers import LayerList, Linear, ReLU
from solvers.backend import Limits
from solvers.backends.highs_ import HighsSession
from solvers.result import SolveResult, Status
from tests.soundness import asking
from tests.soundness.asking import Way
from tests.soundness.exact import Ball
from tests.soundness.hostile import LABEL, UNIT, Question, answered, dense, linear


def composed(*, active: bool) -> Question:
    """Two affine layers in a row: what they cancel to in floats is 0, and exactly -1.67, or that times the input."""
    parts, large = [0.2, 0.7, 0.9], [3e16, 3e16, -3e16]
    carried, added = (parts, [0.0] * 3) if active else ([0.0] * 3, parts)
    layers = (
        *(linear([[1.0]], [0.0]), ReLU(), linear([[part] for part in (*carried, 1.0)], [*added, 0.0])),
        *(linear([[*large, 0.25]], [1.0]), ReLU(), linear([[1.0], [0.0]], [0.0, 0.5])),
    )
    return Question(LayerList((1,), layers), Ball((0.5,), 0.5, UNIT))


def backdoor(factor: float) -> Question:
    """A neuron `factor` times smaller than its neighbour, and that weight behind it: -1/2 at one corner."""
    sign = np.array([1.0, -1.0, -1.0, 1.0, 1.0, -1.0])
    first = (np.vstack([np.full(6, 0.25), 2 * sign / factor]), [0.5, -5.0 / factor])
    layers = dense(first, ([[0.0, 0.0], [0.0, factor]], [0.5, 0.0]))
    return Question(LayerList((6,), layers), Ball((0.5,) * 6, 0.5, UNIT))


def hidden_corner(slope: float, fires: float) -> Question:
    """Weights of ordinary sizes: one neuron in five is zero but for a trifle at the upper corner, where it is -2."""
    rng = np.random.default_rng(3)
    first = np.vstack([rng.normal(size=(4, 4)), np.full(4, slope)])
    bias = np.append(rng.normal(size=4), fires - 3 * slope)
    middle = np.zeros((4, 5))
    middle[:3, :4], middle[3, 4] = rng.normal(size=(3, 4)) * 0.4, 1.0
    last = [[0.02, -0.04, 0.05, -3.0 / fires], [0.0] * 4]
    layers = dense((first, bias), (middle, [0.2, 0.1, 0.1, 0.0]), (last, [1.0, 0.0]))
    return Question(LayerList((4,), layers), Ball((0.5,) * 4, 0.25, UNIT))


def side_of_the_ball(image: float, epsilon: float, side: float) -> Question:
    """Robust up to the nearest float of the ball's side, and not on the side itself."""
    slope, edge = 2.0**56, image + side * epsilon
    layers = dense(([[side * slope]], [-side * slope * edge]), ([[-1.0], [0.0]], [0.25, 0.0]))
    return Question(LayerList((1,), layers), Ball((image,), epsilon, None))


def below_an_ulp() -> Question:
    """A radius that float64 does not see: the box around 1 is the point 1."""
    layers = dense(([[2.0**52]], [0.5 - 2.0**52]), ([[1.0], [0.0]], [0.0, 0.375]))
    return Question(LayerList((1,), layers), Ball((1.0,), 2.0**-54, UNIT))


def rounded_away() -> Question:
    """`1 + M - M` against 1/4: robust by 3/4, which float64 computes as -1/4."""
    hidden = ([[1.0], [0.0]], [0.0, 1.0])
    layers = dense(hidden, ([[0.0, 1.0]], [2.0**54]), ([[1.0], [0.0]], [-(2.0**54), 0.25]))
    return Question(LayerList((1,), layers), Ball((0.5,), 0.5, UNIT))


SHAPES = {
    "composed, a constant": composed(active=False),
    "composed, a slope": composed(active=True),
    "backdoor 1e7": backdoor(1e7),
    "backdoor 1e9": backdoor(1e9),
    "backdoor 1e11": backdoor(1e11),
    "backdoor 1e12": backdoor(1e12),
    "hidden corner, highs": hidden_corner(1.06e4, 0.0095),
    "hidden corner, cbc": hidden_corner(8.8e5, 0.0092),
    "hidden corner, gurobi": hidden_corner(1.5e3, 0.0019),
    "side, lower": side_of_the_ball(0.7, 0.1, -1.0),
    "side, upper": side_of_the_ball(0.7, 0.2, 1.0),
    "below an ulp": below_an_ulp(),
    "rounded away": rounded_away(),
}


ASKED = (
    ("highs", "linear"),
    ("highs", "lp"),
    ("highs", "milp"),
    ("gurobi", "linear"),
    ("cbc", "lp"),
    ("cvxpy:SCIPY", "linear"),
)


def ways() -> Iterator[Way]:
    for method in BY_PROPAGATION:
        yield {"method": method}
    for solver, bounds in ASKED:
        for method in ("lp", *BY_MILP):
            yield {"method": method, "solver": solver, "bounds": bounds}
        yield {"method": "milp", "solver": solver, "bounds": bounds, "goal": "verdict"}
        yield {"method": "milp", "solver": solver, "bounds": bounds, "goal": "verdict", "stop": "cutoff"}
        yield {"method": "milp", "solver": solver, "bounds": bounds, "formulation": "textbook", "exact": True}


@pytest.mark.parametrize("name", list(SHAPES))
def test_no_method_answers_a_known_shape_wrongly(name: str) -> None:
    case = answered(name, SHAPES[name])
    assert case.known
    wrong = [(way, fault) for way in ways() for fault in asking.faults(case, asking.ask(case, way))]
    assert not wrong


def test_bounds_by_a_milp_have_the_safety_of_a_milp() -> None:
    """Seed 0 of random networks whose MILP, and not whose LP, tightens the margin: `staged` decides it by these."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        sizes = ((5, 2), (5, 5), (2, 5))
        network = LayerList((2,), dense(*((rng.normal(size=s) * 2, rng.normal(size=s[0])) for s in sizes)))
        image, label = np.array([0.5, 0.5]), int(network.forward([[0.5, 0.5]])[0].argmax())
        low, high = (verify(network, image, label, 0.5, method).lower[0] for method in ("lp", "milp"))
        if high < low + 0.05:
            continue
        last = network.layers[-1]
        assert isinstance(last, Linear)
        bias = last.bias.copy()
        bias[label] -= (low + high) / 2
        shifted = LayerList((2,), (*network.layers[:-1], Linear(last.weight, bias)))
        outcome = verify(shifted, image, label, 0.5, "staged", bounds="milp")
        assert (outcome.safety[outcome.lower > outcome.certified] > 0).all()


@pytest.mark.parametrize(("goal", "stop"), [("margin", None), ("verdict", "cutoff"), ("verdict", "row")])
@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.ERROR, Status.LICENCE])
def test_a_bound_is_believed_only_with_a_status_that_carries_one(
    status: Status, goal: str, stop: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends_with_a_bound(self: HighsSession, limits: Limits) -> SolveResult:
        return SolveResult(status, dual_bound=np.inf)

    monkeypatch.setattr(HighsSession, "_solve", ends_with_a_bound)
    network = LayerList((1,), dense(([[10.0]], [-9.0]), ([[0.0], [1.0]], [0.5, 0.0])))
    switches: Way = {"goal": goal} if stop is None else {"goal": goal, "stop": stop}
    outcome = verify(network, [0.5], LABEL, 0.5, "milp", **switches)
    assert outcome.verdict is not Verdict.VERIFIED
    assert outcome.lower[0] <= -0.5
