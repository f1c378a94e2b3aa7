"""`bench.verify`: its outcome, its arguments, and that every solver gives the same numbers."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import Outcome, Verdict, verify
from bench.verdict import Tier
from networks import zoo
from networks.data import test_image as image_of  # not under a name that pytest collects
from networks.errors import InputError
from networks.instance import ball
from networks.layers import Array, LayerList, Linear, ReLU
from solvers import registry
from solvers.backend import Limits, SolverOptions
from solvers.backends.highs_ import Highs, HighsSession
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status
from tests.oracles import textbook_margin

SOLVERS = ("highs", "gurobi", "cbc")
AGREEMENT = 1e-5  # relative to max(1, |margin|)
# Image, epsilon and target on mnist_small: few neurons are unstable, and the last margin is close to zero.
QUESTIONS = [(20, 0.01, 7), (18, 0.01, 8), (43, 0.01, 1)]

# f(x) = (x_0, |x_1|, relu(x_0 - x_1)): all that follows about it can be checked by hand.
ABSOLUTE = LayerList(
    (2,),
    (
        Linear(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, -1.0]]), np.zeros(4)),
        ReLU(),
        Linear(np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]), np.zeros(3)),
    ),
)
IMAGE = np.array([0.5, 0.25])


def ask(**changes: Any) -> Outcome:
    """A question about `ABSOLUTE` that is verified: margins of at least 0.3 and 0.05."""
    arguments = {"network": ABSOLUTE, "x": IMAGE, "label": 0, "epsilon": 0.1, **changes}
    return verify(**arguments)


# --- the numbers ------------------------------------------------------------------------------------------------------


@functools.cache
def independent_margin(image: int, epsilon: float, target: int, relaxation: bool) -> float:
    network = zoo.load("mnist_small")
    return textbook_margin(network, ball(network, *image_of(image), epsilon, targets=[target]), relaxation=relaxation)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("image", "epsilon", "target"), QUESTIONS)
@pytest.mark.parametrize("method", ["lp", "milp"])
def test_every_solver_gives_the_margin_of_an_independent_formulation(
    solver: str, image: int, epsilon: float, target: int, method: str
) -> None:
    outcome = verify("mnist_small", *image_of(image), epsilon, method, solver, targets=[target], bounds="interval")
    expected = independent_margin(image, epsilon, target, method == "lp")
    assert outcome.status == ("optimal",)
    assert outcome.lower[0] == pytest.approx(expected, abs=AGREEMENT, rel=AGREEMENT)
    if method == "milp":  # the witness attains the bound
        assert outcome.upper[0] == pytest.approx(expected, abs=AGREEMENT, rel=AGREEMENT)


@pytest.mark.parametrize("method", ["lp", "milp"])
def test_both_formulations_give_the_same_margin(method: str) -> None:
    outcomes = [ask(method=method, formulation=formulation) for formulation in ("compact", "textbook")]
    np.testing.assert_allclose(outcomes[0].lower, outcomes[1].lower, atol=1e-7)
    binaries = [outcome.counters["binaries"] for outcome in outcomes]
    assert binaries == ([0, 0] if method == "lp" else [0, 4])


def test_a_known_network_has_its_known_margins() -> None:
    # Over [0.4, 0.6] x [0.15, 0.35], x_0 - |x_1| is least at (0.4, 0.35), x_0 - relu(x_0 - x_1) = x_1 at 0.15.
    outcome = ask()
    np.testing.assert_array_equal(outcome.targets, [1, 2])
    np.testing.assert_allclose(outcome.lower, [0.05, 0.15], atol=1e-7)
    np.testing.assert_allclose(outcome.upper, [0.05, 0.15], atol=1e-7)
    assert (outcome.verdict, outcome.evidence) == (Verdict.VERIFIED, "MILP dual bound by highs")
    assert outcome.witness is None
    assert (outcome.witness_double, outcome.witness_single, outcome.caveat) == (False, False, None)


@pytest.mark.parametrize("method", ["interval", "lp", "milp"])
def test_a_ball_of_radius_zero_is_decided_by_the_image(method: str) -> None:
    outcome = ask(epsilon=0.0, method=method)
    np.testing.assert_allclose(outcome.lower, [0.25, 0.25], atol=1e-9)
    np.testing.assert_array_equal(outcome.upper, [0.25, 0.25])
    assert outcome.verdict is Verdict.VERIFIED


def test_a_misclassified_image_is_its_own_witness() -> None:
    outcome = ask(label=1, epsilon=0.0, method="interval")
    assert outcome.verdict is Verdict.FALSIFIED
    np.testing.assert_array_equal(outcome.witness, IMAGE)


def test_only_the_targets_asked_are_answered_in_their_order() -> None:
    outcome = ask(targets=[2, 1])
    np.testing.assert_array_equal(outcome.targets, [2, 1])
    np.testing.assert_allclose(outcome.lower, [0.15, 0.05], atol=1e-7)
    single = ask(targets=[2])
    assert (single.lower.shape, single.upper.shape, len(single.status)) == ((1,), (1,), 1)


def test_the_box_is_cut_to_the_clip() -> None:
    # Without it, x_1 goes down to -0.25, where relu(x_0 - x_1) is more than x_0.
    assert ask(epsilon=0.5, targets=[2]).lower[0] == pytest.approx(0.0, abs=1e-7)
    assert ask(epsilon=0.5, targets=[2], clip=None).lower[0] == pytest.approx(-0.25, abs=1e-7)


def test_a_network_is_given_as_object_zoo_name_or_path(tmp_path: Path) -> None:
    zoo.load("mnist_small").save(tmp_path / "mine.safetensors")
    x, label = image_of(0)
    sources = (
        zoo.load("mnist_small"),
        "mnist_small",
        tmp_path / "mine.safetensors",
        str(tmp_path / "mine.safetensors"),
    )
    lowers = [verify(source, x, label, 0.01, "interval").lower for source in sources]
    for lower in lowers:
        np.testing.assert_array_equal(lower, lowers[0])


# --- witnesses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_falsified_milp_gives_a_witness_exactly_inside_the_ball(solver: str) -> None:
    x, label = image_of(20)
    outcome = verify("mnist_small", x, label, 0.03, "milp", solver, targets=[7])
    assert outcome.verdict is Verdict.FALSIFIED
    witness = outcome.witness
    assert witness is not None
    assert witness.shape == (1, 28, 28)
    assert np.abs(witness - x).max() <= 0.03
    assert witness.min() >= 0.0
    assert witness.max() <= 1.0
    logits = zoo.load("mnist_small").forward(witness[None])[0]
    assert logits[7] > logits[label]
    assert outcome.upper[0] == pytest.approx(logits[label] - logits[7], abs=1e-9)
    assert outcome.evidence == f"witness with margin {outcome.upper[0]:.6g}"
    assert (outcome.witness_double, outcome.witness_single, outcome.tier) == (True, True, "float32")
    np.testing.assert_array_equal(outcome.worst_input, witness)


def test_a_witness_that_float32_does_not_confirm_is_said_so() -> None:
    # The margin x_0 - x_1 + 1e-4 drowns in the logits' size of 1e6: float32 knows them to 0.06.
    network = LayerList((2,), (Linear(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1e6 + 1e-4, 1e6])),))
    outcome = verify(network, np.array([0.5, 0.5]), 0, 0.001)
    assert outcome.verdict is Verdict.FALSIFIED
    assert (outcome.witness_double, outcome.witness_single, outcome.tier) == (True, False, "float64")


class LyingSession(HighsSession):
    """HiGHS, but for what it says."""

    lie: dict[str, Any] = {}

    def _solve(self, limits: Limits) -> SolveResult:
        return replace(super()._solve(limits), **self.lie)


class Lying(Highs):
    """A back-end whose claims are false."""

    name = "lying"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> LyingSession:
        return LyingSession(model, options or SolverOptions(), self)


class Counting(Highs):
    """HiGHS, with the sessions that it gave."""

    name = "counting"
    sessions: list[HighsSession] = []

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        self.sessions.append(super().load(model, options))
        return self.sessions[-1]


class Slow(Highs):
    """HiGHS, but for the time that it takes to load."""

    name = "slow"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        time.sleep(0.5)
        return super().load(model, options)


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The back-ends above, beside the real ones."""
    for backend in (Lying, Counting, Slow):
        monkeypatch.setitem(registry.BACKENDS, backend.name, f"{__name__}:{backend.__name__}")
    Counting.sessions.clear()
    yield
    LyingSession.lie = {}


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize("x", [np.full(10, 0.5), np.full(10, np.nan), np.full(10, 1e300)])
def test_an_incumbent_that_fails_its_replay_proves_nothing(x: Array) -> None:
    LyingSession.lie = {"objective": -5.0, "dual_bound": -5.0, "x": x, "row_duals": None}
    outcome = ask(solver="lying", bounds="interval")
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.witness is None
    assert (outcome.upper >= 0.05 - 1e-9).all()


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize(
    ("share", "verdict"), [(0.5, Verdict.UNKNOWN), (2.0, Verdict.VERIFIED), (math.nan, Verdict.UNKNOWN)]
)
def test_a_dual_bound_within_the_safety_margin_does_not_verify(share: float, verdict: Verdict) -> None:
    LyingSession.lie = {"dual_bound": 0.0, "row_duals": None}
    safety = ask(solver="lying", bounds="interval").safety.max()
    assert 0 < safety < 1e-2
    LyingSession.lie = {"dual_bound": share * safety, "row_duals": None}
    assert ask(solver="lying", bounds="interval").verdict is verdict


@pytest.mark.usefixtures("backends")
def test_infeasible_of_a_box_that_has_points_verifies_nothing() -> None:
    LyingSession.lie = {"status": Status.INFEASIBLE, "dual_bound": math.inf, "x": None}
    outcome = ask(solver="lying", bounds="interval")
    assert (outcome.verdict, outcome.status) == (Verdict.UNKNOWN, ("infeasible", "infeasible"))


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize("method", ["lp", "milp"])
def test_all_targets_are_solved_in_one_session_that_loads_once(method: str) -> None:
    outcome = ask(solver="counting", method=method)
    assert outcome.status == ("optimal", "optimal")
    assert len(Counting.sessions) == 1


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_time_limit_ends_in_unknown_with_a_bracket(solver: str) -> None:
    x, label = image_of(0)  # it has no witness: its margin to class 9 is 4.1, which takes Gurobi seconds to prove
    outcome = verify("mnist_small", x, label, 0.05, "milp", solver, targets=[9, 3], time_limit_s=0.4, bounds="interval")
    assert outcome.verdict is Verdict.UNKNOWN
    assert "time_limit" in outcome.status
    assert "time" in outcome.evidence  # CBC has its own words for it
    assert np.isfinite(outcome.upper).all()
    assert not np.isnan(outcome.lower).any()
    assert (outcome.lower <= outcome.upper).all()
    assert outcome.total_s < 8.0
    json.dumps(outcome.to_dict(), allow_nan=False)


def test_no_time_at_all_still_answers() -> None:
    outcome = ask(time_limit_s=1e-9, bounds="interval")
    assert (outcome.verdict, outcome.status) == (Verdict.UNKNOWN, ("time_limit", "time_limit"))
    assert outcome.evidence == "time limit: target 2 has lower bound -0.05"
    assert outcome.to_dict()["claimed"] == [None, None]


def test_what_the_bounds_prove_counts_where_the_solver_has_no_time() -> None:
    outcome = ask(time_limit_s=1e-9)
    assert (outcome.verdict, outcome.tier) == (Verdict.VERIFIED, Tier.CERTIFIED)
    np.testing.assert_array_equal(outcome.lower, ask(method="linear").lower)
    np.testing.assert_array_equal(outcome.safety, [0.0, 0.0])
    assert outcome.evidence == "linear bounds"


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize("time_limit_s", [None, 0.4])
def test_the_building_time_has_the_loading_also_where_none_is_left_to_solve(time_limit_s: float | None) -> None:
    outcome = ask(solver="slow", time_limit_s=time_limit_s)
    assert (outcome.solve_s == 0) is (time_limit_s is not None)
    assert outcome.build_s >= 0.5
    assert outcome.bounds_s + outcome.build_s + outcome.solve_s <= outcome.total_s


@pytest.mark.parametrize("method", ["lp", "milp"])
def test_a_licence_too_small_is_said_with_the_models_size(method: str) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(5, 2100)), rng.normal(size=(2, 5))
    # A margin so wide that no corner falsifies, and no bound verifies.
    network = LayerList((2100,), (Linear(first, np.zeros(5)), ReLU(), Linear(second, np.array([500.0, 0.0]))))
    outcome = verify(network, np.full(2100, 0.5), 0, 0.1, method, "gurobi")
    size = f"model has {outcome.counters['columns']} variables, {outcome.counters['rows']} constraints"
    assert (outcome.verdict, outcome.status) == (Verdict.UNKNOWN, ("licence",))
    assert outcome.evidence == f"licence too small: {size}"
    assert outcome.claimed[0] == -math.inf
    assert np.isfinite(outcome.upper[0])


CNN_IN_A_PROCESS = """
import json, resource
from bench import verify
from networks.data import test_image
x, label = test_image(0)
outcome = verify("mnist_cnn", x, label, 0.02, "lp", targets=[3], time_limit_s=8.0, bounds="interval")
peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"peak_gb": peak_kb * 1024 / 1e9, **outcome.to_dict(arrays=False)}, allow_nan=False))
"""


@pytest.mark.slow  # the LP of a convolutional network has 5.7 million non-zeros; HiGHS is given 8 s
def test_the_lp_of_the_convolutional_network_fits_into_memory_and_time() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", CNN_IN_A_PROCESS], capture_output=True, text=True, check=True, timeout=180
    )
    found = json.loads(answer.stdout)
    assert found["peak_gb"] < 4.0
    assert found["counters"]["nonzeros"] > 5_000_000
    assert found["status"][0] in ("optimal", "time_limit")
    assert found["solve_s"] < 16.0
    assert found["upper"][0] > 0.0
    if found["status"] == ["time_limit"]:
        assert found["verdict"] == "unknown"
        assert found["evidence"].startswith("time limit: target 3 has lower bound")


# --- the outcome ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["interval", "lp", "milp"])
def test_an_outcome_is_whole_and_goes_into_json(method: str) -> None:
    outcome = ask(method=method)
    record = json.loads(json.dumps(outcome.to_dict(), allow_nan=False))
    assert record["verdict"] == outcome.verdict.value
    assert record["targets"] == [1, 2]
    assert record["lower"] == outcome.lower.tolist()
    assert record["worst_input"] == outcome.worst_input.tolist()
    assert record["status"] == (["bounded"] * 2 if method == "interval" else ["optimal"] * 2)
    assert (record["method"], record["label"], record["epsilon"]) == (method, 0, 0.1)
    assert record["solver"] == (None if method == "interval" else "highs")
    assert record["switches"].get("formulation") == (None if method == "interval" else "compact")
    parts = record["bounds_s"] + record["build_s"] + record["solve_s"]
    assert 0.0 < parts <= record["total_s"]


def test_images_can_be_left_out_of_the_record() -> None:
    assert not {"witness", "worst_input"} & ask(method="interval").to_dict(arrays=False).keys()


def test_counters_describe_the_model_and_the_effort() -> None:
    counters = ask().counters
    # Over the box no neuron changes its sign: x_0, x_1 and x_0 - x_1 are active, -x_1 is inactive.
    expected = {"columns": 2 + 3, "rows": 3, "binaries": 0, "unstable": 0, "active": 3, "inactive": 1, "nonzeros": 7}
    assert {name: counters[name] for name in expected} == expected
    assert {"nodes", "simplex_iterations"} <= counters.keys()


def test_torch_has_as_many_threads_as_the_solver_and_then_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    ask(method="linear", threads=3)
    assert asked == [3, before]


def test_seed_and_threads_reach_the_solver() -> None:
    outcome = ask(epsilon=0.3, seed=5, threads=2)
    np.testing.assert_allclose(outcome.lower, ask(epsilon=0.3).lower, atol=1e-6)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.array([0.5, np.nan])}, "the input has values that are not finite; expected finite numbers"),
        ({"x": np.zeros(3)}, r"the input has shape \(3,\); the network takes \(2,\)"),
        ({"x": np.array([0.5, 1.5])}, r"the input's values span \[0.5, 1.5\]; expected values inside the clip"),
        ({"x": "seven"}, "the input is no array of numbers"),
        ({"label": 10}, "label is 10; expected a class from 0 to 2"),
        ({"label": -1}, "label is -1; expected a class from 0 to 2"),
        ({"label": 1.5}, "label is 1.5; expected a class from 0 to 2"),
        ({"epsilon": -0.1}, "epsilon is -0.1; expected a finite number of at least 0"),
        ({"epsilon": math.nan}, "epsilon is nan; expected a finite number of at least 0"),
        ({"epsilon": math.inf}, "epsilon is inf; expected a finite number of at least 0"),
        ({"method": "crown"}, "method is 'crown'; expected one of interval, linear, alpha, dual, lp, milp, staged"),
        ({"solver": "cplexx"}, "solver 'cplexx' is not known; expected one of highs, gurobi, cbc, cvxpy"),
        ({"solver": "highs:IPM"}, "solver highs:IPM: highs has no variants; expected highs"),
        ({"formulation": "tight"}, "formulation is 'tight'; expected one of compact, textbook"),
        ({"network": "mnist_huge"}, "network 'mnist_huge' is neither a file nor in the zoo"),
        ({"targets": [0, 1]}, r"targets are \[0, 1\]; expected one or more distinct classes other than label 0"),
        ({"targets": []}, r"targets are \[\]; expected one or more"),
        ({"targets": [1, 1]}, r"targets are \[1, 1\]; expected one or more distinct"),
        ({"targets": [3]}, "target is 3; expected a class from 0 to 2"),
        ({"clip": (1.0, 0.0)}, r"clip is \(1.0, 0.0\); expected two finite numbers, the lower first"),
        ({"time_limit_s": 0}, "time limit is 0 s; expected a number above 0"),
        ({"time_limit_s": math.nan}, "time limit is nan s; expected a number above 0"),
        ({"threads": 0}, "threads is 0; expected a whole number from 1 to 1024"),
        ({"seed": -1}, "seed is -1; expected a whole number from 0 to"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}") as caught:
        ask(**changes)
    assert "\n" not in str(caught.value)


def test_one_target_may_be_a_number() -> None:
    x, label = image_of(0)
    assert verify("mnist_small", x, label, 0.01, "interval", targets=3).targets.tolist() == [3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": 2.5}, "targets is 2.5; expected a class or several"),
        ({"epsilon": "0.1"}, "epsilon is '0.1'; expected a finite number"),
        ({"time_limit_s": "3"}, "time limit is '3' s; expected a number above 0"),
        ({"threads": 1.5}, "threads is 1.5; expected a whole number"),
    ],
)
def test_an_argument_of_another_type_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    x, label = image_of(0)
    arguments: dict[str, Any] = {"epsilon": 0.01, "method": "lp"} | changes
    with pytest.raises(InputError, match=message):
        verify("mnist_small", x, label, **arguments)


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize("status", [Status.ERROR, Status.UNKNOWN, Status.UNBOUNDED, Status.INFEASIBLE, Status.LICENCE])
def test_a_bound_counts_only_where_the_status_lets_a_search_have_one(status: Status) -> None:
    LyingSession.lie = {"status": status, "dual_bound": 5.0, "row_duals": None}
    outcome = verify("mnist_small", *image_of(0), 0.05, "lp", "lying", targets=[3], bounds="interval")
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.claimed.tolist() == [-math.inf]
    np.testing.assert_array_equal(outcome.lower, outcome.certified)


@pytest.mark.usefixtures("backends")
def test_a_search_that_pruned_all_of_a_row_has_shown_that_there_is_none_below_it() -> None:
    LyingSession.lie = {"status": Status.TARGET_REACHED, "dual_bound": math.inf, "x": None, "row_duals": None}
    outcome = ask(solver="lying", goal="verdict", bounds="interval")
    assert (outcome.verdict, outcome.tier) == (Verdict.VERIFIED, Tier.SOLVER)


@pytest.mark.usefixtures("backends")
def test_an_lps_bound_counts_as_far_as_its_duals_prove_it() -> None:
    honest = verify("mnist_small", *image_of(0), 0.01, "lp", "highs", targets=[3])
    LyingSession.lie = {"dual_bound": float(honest.lower[0]) + 0.1}
    outcome = verify("mnist_small", *image_of(0), 0.01, "lp", "lying", targets=[3])
    assert outcome.lower[0] == pytest.approx(honest.lower[0], abs=1e-6)


@pytest.mark.usefixtures("backends")
def test_a_bound_above_a_replayed_input_verifies_nothing() -> None:
    LyingSession.lie = {"dual_bound": 1e3}
    outcome = verify("mnist_small", *image_of(0), 0.002, "milp", "lying", targets=[3])
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.evidence.startswith("contradicted: target 3 has lower bound 1000")
