"""What must hold between rows: each check finds what is wrong by more than its tolerance, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.judge import CHECKS, Judgement, judge
from bench.judge.facts import AGREEMENT
from bench.judge.single import VIOLATION
from bench.row import Row
from bench.store import save_npz
from tests.bench.made_rows import attack_row, verify_row

WIDE = [9.0, 9.0]


def judged(*rows: Row, folder: Path = Path()) -> Judgement:
    return judge(rows, [folder] * len(rows))


def accused(judgement: Judgement, check: str) -> list[str]:
    """Who is wrong by a check, a name a finding."""
    return [" and ".join(side.who for side in f.guilty) for f in judgement.findings if f.check == check]


def milp(lower: list[float | None], **values: Any) -> Row:
    asked = {"mip_gap": 1e-6, "safety": [1e-6, 1e-6], "gap": [1e-7, 1e-7]}
    found = [9.0 if bound is None else bound for bound in lower]  # a MILP's optimum is the margin of an input
    return verify_row(**{"method": "milp", "lower": lower, "upper": found} | asked | values)


def lp(lower: list[float | None], **values: Any) -> Row:
    certified = {"safety": [0.0, 0.0], "claimed": lower, "certified": lower, "bounds_used": "linear"}
    return verify_row(**{"lower": lower, "upper": WIDE} | certified | values)


def test_rows_that_agree_are_not_accused_and_all_that_could_be_tested_was() -> None:
    rows = [
        verify_row(method="interval", lower=[-5.0, -5.0], upper=WIDE, safety=[0.0, 0.0], bounds_used="interval"),
        lp([1.0, 1.0]),
        lp([1.0, 1.0], solver="gurobi"),
        milp([2.0, 2.0], claimed=[2.0, 2.0], violation=1e-9),
        milp([2.0, 2.0], solver="gurobi", verdict="verified"),
    ]
    judgement = judged(*rows)
    assert judgement.findings == ()
    untested = {name for name, tested in judgement.tested.items() if not tested}
    assert untested == set()
    assert judgement.tested.keys() == CHECKS.keys()


@pytest.mark.parametrize(("excess", "wrong"), [(0.9e-6, False), (1.1e-6, True)])
def test_a_lower_bound_is_at_most_the_margin_of_an_input_beyond_its_safety(excess: float, wrong: bool) -> None:
    row = milp([2.0 + excess, None], status=["time_limit"] * 2, upper=[2.0, 9.0])
    assert accused(judged(row), "bracket") == (["milp highs"] if wrong else [])


def test_an_input_at_a_smaller_epsilon_refutes_a_bound_at_a_larger_one_and_not_the_other_way() -> None:
    limit: dict[str, Any] = {"status": ["time_limit"] * 2, "upper": WIDE}
    point: dict[str, Any] = limit | {"upper": [-1.0, 9.0]}
    wrong = judged(milp([1.0, 1.0], epsilon=0.2, **limit), milp([None, None], epsilon=0.1, **point))
    assert accused(wrong, "bracket") == ["milp highs"]
    (finding,) = [f for f in wrong.findings if f.check == "bracket"]
    assert (finding.epsilon, finding.target, [side.value for side in finding.sides]) == (0.2, 1, [1.0, -1.0])
    assert finding.tolerance == pytest.approx(1e-6)
    other_way = judged(milp([1.0, 1.0], epsilon=0.1, **limit), milp([None, None], epsilon=0.2, **point))
    assert other_way.findings == ()


def test_a_verified_epsilon_is_contradicted_by_a_witness_at_a_smaller_one() -> None:
    witness = verify_row(method="staged", verdict="falsified", epsilon=0.05, lower=[None, None], upper=[9.0, -0.5])
    judgement = judged(lp([1.0, 1.0], verdict="verified"), witness)
    assert accused(judgement, "verdict") == ["lp highs"]
    assert judged(lp([1.0, 1.0], verdict="verified", epsilon=0.01), witness).findings == ()


@pytest.mark.parametrize(
    ("clips", "wrong"),
    [(((0.0, 1.0), (0.0, 1.0)), True), ((None, (0.0, 1.0)), True), (((0.0, 1.0), None), False)],
)
def test_only_inputs_of_the_same_set_or_of_one_within_count(clips: Any, wrong: bool) -> None:
    bound, point = clips
    rows = [lp([1.0, 1.0], clip=bound), milp([None, None], upper=[-1.0, 9.0], clip=point, status=["time_limit"] * 2)]
    assert (accused(judged(*rows), "bracket") == ["lp highs"]) is wrong


@pytest.mark.parametrize("other", [{"image": 1}, {"network_digest": "d9"}, {"label": 3}])
def test_rows_of_another_question_say_nothing(other: dict[str, Any]) -> None:
    point = milp([None, None], upper=[-1.0, 9.0], status=["time_limit"] * 2, **other)
    assert judged(lp([1.0, 1.0]), point).findings == ()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_what_an_attack_found_counts_at_each_of_its_images(tmp_path: Path, norm: str) -> None:
    save_npz(
        tmp_path / "a.npz",
        margin=np.array([2.0, -0.5]),
        predictions=np.array([7, 1]),
        labels=np.array([7, 7]),
        indices=np.array([0, 5]),
    )
    attack = attack_row(network="mnist_small", network_digest="d1", arrays="a.npz", clip=(0.0, 1.0), norm=norm)
    attack = type(attack)(**{name: getattr(attack, name) for name in attack.__slots__} | {"dataset": "mnist_test"})
    here, there = lp([1.0, 1.0], image=5, verdict="verified"), lp([1.0, 1.0], image=0)
    judgement = judged(here, there, attack, folder=tmp_path)
    assert accused(judgement, "bracket") == ["lp highs"]
    assert [f.image for f in judgement.findings if f.check == "bracket"] == [5]
    missing = judged(here, attack, folder=tmp_path / "elsewhere")
    assert "1 attacks have no readable arrays" in missing.notes[0]


@pytest.mark.parametrize(("excess", "wrong"), [(0.5, False), (3.0, True)])
def test_solvers_agree_on_an_optimum_within_their_tolerances(excess: float, wrong: bool) -> None:
    tolerance = 2 * AGREEMENT * 2.0
    rows = [milp([2.0, 2.0], solver=name) for name in ("highs", "gurobi")]
    rows.append(milp([2.0 + excess * tolerance, 2.0], solver="cbc"))
    found = accused(judged(*rows), "agreement")
    assert set(found) == ({"milp cbc"} if wrong else set())  # the majority settles who it is


def test_where_two_disagree_and_nothing_settles_it_both_are_named() -> None:
    word: dict[str, Any] = {"safety": [1e-6, 1e-6], "certified": [None, None]}
    found = accused(judged(lp([2.0, 2.0], **word), lp([2.1, 2.0], solver="gurobi", **word)), "agreement")
    assert {name for finding in found for name in finding.split(" and ")} == {"lp highs", "lp gurobi"}


def test_lps_over_bounds_of_their_own_need_not_agree() -> None:
    rows = [lp([1.0, 1.0], bounds="lp", bounds_used="lp"), lp([2.0, 1.0], bounds="lp", bounds_used="lp", solver="cbc")]
    assert judged(*rows).findings == ()


@pytest.mark.parametrize(
    ("looser", "tighter", "wrong"),
    [("linear", "lp", True), ("interval", "linear", True), ("lp", "linear", False), ("milp", "lp", False)],
)
def test_a_relaxation_is_at_most_one_that_it_contains(looser: str, tighter: str, wrong: bool) -> None:
    rows = [
        lp([2.0, 1.0], bounds=looser, bounds_used=looser),
        lp([1.5, 1.0], bounds=tighter, bounds_used=tighter),
    ]
    assert bool(accused(judged(*rows), "order")) is wrong


def test_every_relaxation_is_at_most_the_exact_value() -> None:
    wrong = judged(lp([2.0, 1.0]), milp([1.5, 1.0]), milp([1.5, 1.0], solver="gurobi"))
    assert set(accused(wrong, "order")) == {"lp highs"}  # the MILPs have inputs to show for theirs
    assert judged(lp([1.5, 1.0], upper=WIDE), milp([2.0, 1.0])).findings == ()


def test_a_sign_owes_no_order() -> None:
    rows = [milp([0.001, 0.001], goal="verdict", status=["target_reached"] * 2, upper=WIDE), lp([2.0, 1.0])]
    assert judged(*rows).findings == ()


@pytest.mark.parametrize(("gap", "wrong"), [(1.5e-6, False), (1e-4, True), (None, True)])
def test_what_is_called_optimal_has_the_gap_that_was_asked(gap: float | None, wrong: bool) -> None:
    assert bool(accused(judged(milp([2.0, 2.0], gap=[gap, 1e-7])), "gap")) is wrong
    limited = milp([2.0, 2.0], gap=[gap, 1e-7], status=["time_limit", "optimal"])
    assert accused(judged(limited), "gap") == []


@pytest.mark.parametrize(("excess", "wrong"), [(0.9 * AGREEMENT, False), (2.1 * AGREEMENT, True)])
def test_an_lps_bound_is_what_its_duals_certify(excess: float, wrong: bool) -> None:
    row = lp([2.0, 1.0], claimed=[2.0 + excess, 1.0])
    assert accused(judged(row), "duals") == (["lp highs"] if wrong else [])


@pytest.mark.parametrize(("violation", "wrong"), [(0.9 * VIOLATION, False), (1.1 * VIOLATION, True)])
def test_a_solution_satisfies_its_model(violation: float, wrong: bool) -> None:
    assert accused(judged(lp([1.0, 1.0], violation=violation)), "solution") == (["lp highs"] if wrong else [])


@pytest.mark.parametrize("status", ["infeasible", "unbounded", "infeasible_or_unbounded"])
def test_no_model_of_margins_is_infeasible_or_unbounded(status: str) -> None:
    row = milp([None, None], status=[status] * 2)
    assert accused(judged(row), "feasible") == ["milp highs"]
    counterexamples = milp([1e-6, 1e-6], status=["infeasible"] * 2, goal="verdict")
    assert accused(judged(counterexamples), "feasible") == []


@pytest.mark.parametrize(("verdict", "bounds"), [("verified", [1.0, 0.0]), ("falsified", [1.0, 1.0])])
def test_a_verdict_follows_from_the_rows_own_numbers(verdict: str, bounds: list[float | None]) -> None:
    assert accused(judged(lp(bounds, verdict=verdict)), "consistent") == ["lp highs"]


def test_rows_before_schema_3_are_judged_by_stated_tolerances() -> None:
    old = verify_row(schema=2, lower=[2.0 + 0.9 * AGREEMENT, 1.0], upper=[2.0, 2.0])
    assert judged(old).findings == ()
    assert accused(judged(verify_row(schema=2, lower=[2.1, 1.0], upper=[2.0, 2.0])), "bracket") == ["lp highs"]


def test_failed_and_killed_rows_are_judged_as_nothing() -> None:
    nothing: dict[str, Any] = {"targets": [], "lower": [], "upper": []}
    killed = verify_row(**nothing, status=["memory_limit"], reason="memory limit")
    failed = verify_row(**nothing, status=["error"], error="WorkerDied: by SIGSEGV", verdict=None)
    assert judged(killed, failed, lp([1.0, 1.0])).findings == ()
