"""Each check of the judge on rows made by hand: what holds at a tolerance's edge, what does not, and who is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.judge import CHECKS, Judgement, judge
from bench.judge.conflict import Claim, Conflict, Trust, blame
from bench.judge.facts import AGREEMENT, EXACT_SCHEMA, REPLAY_ROUNDING, SHARE
from bench.judge.single import VIOLATION
from bench.row import Row
from tests.bench.made_rows import attack_row, failed, verify_row

SAFETY = 2e-6


def row(method: str = "milp", lower: Any = 1.0, upper: Any = 1.0, **values: Any) -> Row:
    """A row with one target, or more where lists are given; a solver's says how safe it is and has the gap asked."""
    proved = method in ("interval", "linear", "alpha", "dual")
    given: dict[str, Any] = {
        "targets": [1],
        "label": 0,
        "lower": lower if isinstance(lower, list) else [lower],
        "upper": upper if isinstance(upper, list) else [upper],
        "safety": [0.0 if proved else SAFETY],
        "gap": [None if proved else 0.0],
        "mip_gap": None if proved else 1e-6,
        "bounds_used": None if proved else values.get("bounds", "linear"),
        "schema": EXACT_SCHEMA,
        "counters": {"magnitude": 1.0 / SHARE},
    }
    proven = {*(given | values)["safety"]} == {0.0}
    given["certified"] = given["lower"] if proven else []
    return verify_row(method=method, **(given | values))


def judged(*rows: Row, folder: Path = Path()) -> Judgement:
    return judge(rows, [folder] * len(rows))


def checks_of(*rows: Row, folder: Path = Path()) -> set[str]:
    return {finding.check for finding in judged(*rows, folder=folder).findings}


def accused(*rows: Row, check: str, folder: Path = Path()) -> set[int]:
    """The places of the rows that a check blames."""
    found = judged(*rows, folder=folder).findings
    return {side.row for finding in found if finding.check == check for side in finding.guilty}


def save_attack(folder: Path, *, norm: str = "linf", indices: list[int] | None = None, **values: Any) -> Row:
    """An attack on `mnist_small` that found the margins given, an image each; image 0 has label 0."""
    margin = np.array(values.pop("margin", [0.5]))
    predictions = np.array(values.pop("predictions", [1 if value < 0 else 0 for value in margin]))
    arrays: dict[str, Any] = {"margin": margin, "predictions": predictions, "labels": np.zeros(len(margin), int)}
    if indices is not None:
        arrays["indices"] = np.array(indices)
    np.savez(folder / "attack.npz", **arrays)
    given: dict[str, Any] = {"network": "mnist_small", "network_digest": "d1", "clip": (0.0, 1.0), "norm": norm}
    return attack_row(**(given | values), arrays="attack.npz")


def test_rows_without_a_bound_are_judged_too() -> None:
    assert judged(attack_row()).tested == dict.fromkeys(CHECKS, 0)
    assert judged(failed(row(), "OSError: disk")).findings == ()


def test_a_cell_that_was_killed_says_nothing() -> None:
    killed = replace(row(), targets=[], lower=[], upper=[], gap=[], safety=[], status=["memory_limit"])
    assert judged(killed, row("linear")).findings == ()


# Lower bounds against inputs.


@pytest.mark.parametrize(("excess", "holds"), [(0.99, True), (1.01, False)])
@pytest.mark.parametrize(
    ("method", "schema", "tolerance"), [("milp", EXACT_SCHEMA, SAFETY), ("interval", EXACT_SCHEMA - 1, REPLAY_ROUNDING)]
)
def test_a_lower_bound_may_exceed_an_input_by_its_safety(
    method: str, schema: int, tolerance: float, excess: float, holds: bool
) -> None:
    limit: dict[str, Any] = {"status": ["time_limit"], "schema": schema}
    rows = [row(method, 1.0 + excess * tolerance, 5.0, **limit), row("lp", -1.0, 1.0, **limit)]
    assert accused(*rows, check="bracket") == (set() if holds else {0})


@pytest.mark.parametrize(
    ("of_bound", "of_input", "contained"),
    [
        ({"epsilon": 0.1}, {"epsilon": 0.1}, True),
        ({"epsilon": 0.1}, {"epsilon": 0.05}, True),  # margins fall as epsilon grows
        ({"epsilon": 0.1}, {"epsilon": 0.2}, False),
        ({"clip": None}, {"clip": (0.0, 1.0)}, True),
        ({"clip": (0.0, 1.0)}, {"clip": None}, False),
        ({"clip": (0.0, 1.0)}, {"clip": (0.2, 0.8)}, True),
        ({}, {"image": 1}, False),
        ({}, {"label": 1, "targets": [2]}, False),
        ({}, {"network_digest": "d9"}, False),
        ({}, {"dataset": "other"}, False),
        ({}, {"targets": [2]}, False),
    ],
)
def test_inputs_count_against_bounds_of_sets_that_contain_them(
    of_bound: dict[str, Any], of_input: dict[str, Any], contained: bool
) -> None:
    rows = [row("linear", 2.0, 5.0, **of_bound), row("linear", -9.0, 1.0, **of_input)]
    assert accused(*rows, check="bracket") == ({0} if contained else set())


def test_the_least_input_of_all_smaller_balls_counts() -> None:
    inputs = [row("lp", -9.0, upper, epsilon=epsilon) for epsilon, upper in ((0.01, 3.0), (0.02, 1.0), (0.05, 2.0))]
    finding = judged(*inputs, row("linear", 1.5, 5.0)).findings[0]
    assert [side.value for side in finding.sides] == [1.5, 1.0]
    assert [(side.row, side.guilty) for side in finding.sides] == [(3, True), (1, False)]
    assert (finding.target, finding.image, finding.epsilon) == (1, 0, 0.1)
    assert "an input with margin 1 by lp highs at epsilon 0.02; tolerance 0" in str(finding)


@pytest.mark.parametrize(("norm", "contained"), [("linf", True), ("l2", True), ("l1", True), ("l0", False)])
def test_an_attack_in_a_ball_that_lies_inside_counts(tmp_path: Path, norm: str, contained: bool) -> None:
    rows = [row("linear", 0.1, 5.0), save_attack(tmp_path, margin=[-0.5], norm=norm)]
    assert accused(*rows, check="bracket", folder=tmp_path) == ({0} if contained else set())


def test_an_attack_above_zero_counts_against_the_least_bound_of_all_targets(tmp_path: Path) -> None:
    several: dict[str, Any] = {"targets": [1, 2], "upper": [9.0, 9.0], "safety": [0.0, 0.0]}
    found = save_attack(tmp_path, margin=[0.5])
    assert accused(row("linear", **several | {"lower": [0.6, 0.7]}), found, check="bracket", folder=tmp_path) == {0}
    for held in ({"lower": [0.4, 0.7]}, {"lower": [0.6, None]}, {"lower": [0.6, 0.7], "targets": [1, 3]}):
        assert checks_of(row("linear", **several | held), found, folder=tmp_path) == set()


def test_an_attack_below_zero_counts_against_the_target_that_it_reached(tmp_path: Path) -> None:
    several: dict[str, Any] = {"targets": [1, 2], "upper": [9.0, 9.0], "safety": [0.0, 0.0]}
    rows = [row("linear", **several, lower=[-2.0, 0.5]), save_attack(tmp_path, margin=[-0.5], predictions=[2])]
    assert [finding.target for finding in judged(*rows, folder=tmp_path).findings] == [2]


@pytest.mark.parametrize(("indices", "image"), [(None, 1), ([3, 7], 7), ([3, 7], 3)])
def test_an_attacks_margins_belong_to_the_images_it_took(tmp_path: Path, indices: list[int] | None, image: int) -> None:
    margins = [9.0, -0.5] if image != 3 else [-0.5, 9.0]
    rows = [save_attack(tmp_path, margin=margins, indices=indices)]
    rows += [row("linear", 0.1, 5.0, image=number) for number in (0, 1, 3, 7)]
    wrong = accused(*rows, check="bracket", folder=tmp_path)
    assert {rows[index].image for index in wrong} == {image}


def test_a_targeted_attack_that_does_not_say_its_images_is_noted(tmp_path: Path) -> None:
    judgement = judged(row("linear", 0.1, 5.0), save_attack(tmp_path, margin=[-0.5], target=1), folder=tmp_path)
    assert judgement.findings == ()
    assert judgement.notes == ("1 attacks have no readable arrays: what they found is held against nothing",)


def test_arrays_that_are_no_arrays_are_noted(tmp_path: Path) -> None:
    found = save_attack(tmp_path, margin=[-0.5])
    (tmp_path / "attack.npz").write_bytes(b"PK nothing")
    judgement = judged(row("linear", 0.1, 5.0), found, folder=tmp_path)
    assert (judgement.findings, len(judgement.notes)) == ((), 1)


@pytest.mark.parametrize(("excess", "holds"), [(0.99, True), (1.01, False)])
def test_what_a_solver_claims_is_held_against_inputs_though_its_bound_was_mended(excess: float, holds: bool) -> None:
    claimed = 1.0 + excess * AGREEMENT * (1.0 + AGREEMENT)
    rows = [row("milp", 1.0, 1.0, claimed=[claimed])]
    assert accused(*rows, check="claim") == (set() if holds else {0})
    assert "claim" not in checks_of(row("milp", 1.0, 1.0, claimed=[claimed], goal="verdict"))


@pytest.mark.parametrize(
    ("margin", "schema", "wrong"),
    [(-1e-300, EXACT_SCHEMA, {0}), (-1e-8, EXACT_SCHEMA - 1, {0}), (-0.1 * REPLAY_ROUNDING, EXACT_SCHEMA - 1, set())],
)
@pytest.mark.parametrize(("epsilon", "contained"), [(0.1, True), (0.05, True), (0.2, False)])
def test_a_verified_epsilon_contradicts_witnesses_up_to_it(
    margin: float, schema: int, wrong: set[int], epsilon: float, contained: bool
) -> None:
    witness = row("interval", -9.0, margin, epsilon=epsilon, verdict="falsified", schema=schema)
    rows = [row("milp", 3e-6, 5.0, verdict="verified", goal="verdict"), witness]
    assert accused(*rows, check="verdict") == (wrong if contained else set())


@pytest.mark.parametrize(
    ("values", "carried"),
    [
        ({"verdict": "verified", "lower": [1.01 * SAFETY]}, True),
        ({"verdict": "verified", "lower": [SAFETY]}, False),
        ({"verdict": "verified", "lower": [None]}, False),
        ({"verdict": "verified", "lower": [1e-9], "safety": []}, True),  # before schema 3 rows do not say their safety
        ({"verdict": "falsified", "lower": [-1.0], "upper": [-1e-12]}, True),
        ({"verdict": "falsified", "lower": [-1.0], "upper": [0.0]}, False),
        ({"verdict": "verified", "targets": [], "lower": [], "upper": []}, False),
    ],
)
def test_a_verdict_follows_from_the_rows_own_numbers(values: dict[str, Any], carried: bool) -> None:
    asked: dict[str, Any] = {"status": ["time_limit"], "upper": [5.0]} | values
    assert accused(row(**asked), check="consistent") == (set() if carried else {0})


# Relaxations in order, solvers in agreement.

STEPS = [("interval", None), ("linear", None), ("lp", "linear"), ("lp", "lp"), ("milp", "linear")]


def relaxed(method: str, bounds: str | None, lower: float, **values: Any) -> Row:
    return row(method, lower, lower if method == "milp" else 50.0, **({"bounds": bounds} if bounds else {}), **values)


def test_relaxations_in_order_contradict_nothing() -> None:
    rows = [relaxed(*step, float(index)) for index, step in enumerate(STEPS)]
    rows += [relaxed("lp", "interval", 0.5), relaxed("lp", "alpha", 3.5), relaxed("alpha", None, 3.0)]
    rows += [relaxed("dual", None, 0.1), relaxed("lp", "milp", 0.0)]
    judgement = judged(*rows)
    assert judgement.findings == ()
    assert judgement.tested["order"] > 20


@pytest.mark.parametrize("index", range(len(STEPS) - 1))
@pytest.mark.parametrize("excess", [0.5, 1.5])
def test_a_relaxation_below_one_that_contains_it_is_wrong(index: int, excess: float) -> None:
    wider, tighter = STEPS[index : index + 2]
    slack = sum(1e-9 if method in ("interval", "linear") else SAFETY + AGREEMENT for method, _ in (wider, tighter))
    slack += 1e-6 * (tighter[0] == "milp")
    rows = [relaxed(*wider, 1.0 + excess * slack), relaxed(*tighter, 1.0)]
    assert ("order" in checks_of(*rows)) is (excess > 1)
    if excess > 1 and wider[0] in ("interval", "linear"):  # these are proofs
        assert accused(*rows, check="order") == {1}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("linear", None), ("dual", None)),
        (("linear", None), ("alpha", None)),
        (("linear", None), ("lp", "interval")),
        (("dual", None), ("lp", "linear")),
        (("lp", "linear"), ("lp", "alpha")),
        (("lp", "linear"), ("lp", "milp")),
    ],
)
def test_relaxations_of_which_none_contains_the_other_owe_no_order(one: Any, other: Any) -> None:
    assert checks_of(relaxed(one[0], one[1], 2.0), relaxed(other[0], other[1], 1.0)) == set()


def test_an_optimum_that_was_not_reached_owes_no_order_and_no_agreement() -> None:
    limit: dict[str, Any] = {"status": ["time_limit"]}
    assert checks_of(relaxed("linear", None, 2.0), relaxed("lp", "linear", 1.0, **limit)) == set()
    assert checks_of(relaxed("milp", "linear", 2.0), row("milp", 1.0, 5.0, solver="cbc", **limit)) == set()
    assert checks_of(relaxed("linear", None, 2.0), row("milp", 1.0, 3.0, goal="verdict")) == set()


@pytest.mark.parametrize("method", ["lp", "milp"])
@pytest.mark.parametrize("excess", [0.9, 1.1])
def test_solvers_agree_on_an_optimum(method: str, excess: float) -> None:
    slack = 2 * (SAFETY + AGREEMENT + 1e-6 * (method == "milp"))
    rows = [row(method, 1.0 + excess * slack, 50.0, gap=[None], mip_gap=None if method == "lp" else 1e-6)]
    rows.append(row(method, 1.0, 50.0, gap=[None], solver="cbc", mip_gap=rows[0].mip_gap))
    wrong = accused(*rows, check="agreement")
    assert wrong == (set() if excess < 1 else {0, 1})  # nothing settles which of the two


@pytest.mark.parametrize("lie", [0.5, 2.0])
def test_a_majority_of_solvers_settles_a_disagreement_and_repeats_are_one_voice(lie: float) -> None:
    honest = [row("lp", 1.0, 50.0, solver=solver) for solver in ("highs", "gurobi")]
    liars = [row("lp", lie, 50.0, solver="liar", repeat=repeat) for repeat in range(5)]
    assert accused(*honest, *liars, check="agreement") == {2, 3, 4, 5, 6}
    assert accused(honest[0], *liars, check="agreement") == {0, 1, 2, 3, 4, 5}


def test_a_proof_settles_a_disagreement() -> None:
    certified = row("lp", 2.0, 50.0, safety=[0.0], claimed=[2.0])
    assert accused(certified, row("lp", 1.0, 50.0, solver="liar", safety=[0.0], claimed=[1.0]), check="order") == {1}


@pytest.mark.parametrize("bounds", ["lp", "milp", "alpha"])
def test_lps_of_bounds_that_need_not_be_the_same_need_not_agree(bounds: str) -> None:
    rows = [row("lp", value, 50.0, bounds=bounds, solver=name) for name, value in (("highs", 1.0), ("cbc", 2.0))]
    assert checks_of(*rows) == set()


def test_a_query_of_the_maximum_answers_the_least_margin_alone() -> None:
    each = row("milp", targets=[1, 2], lower=[3.0, 1.0], upper=[3.0, 1.0], safety=[SAFETY] * 2, gap=[0.0] * 2)
    both: dict[str, Any] = {"targets": [1, 2], "safety": [SAFETY] * 2, "gap": [0.0] * 2, "query": "maximum"}
    assert checks_of(each, row("milp", **both, lower=[1.0, 1.0], upper=[3.0, 1.0])) == set()
    assert "agreement" in checks_of(each, row("milp", **both, lower=[0.9, 0.9], upper=[3.0, 1.0]))
    # Of a target more may be proven than the solver says of all together.
    more: dict[str, Any] = {"certified": [2.0, None], "claimed": [1.0, 1.0], "safety": [0.0, SAFETY]}
    assert checks_of(each, row("milp", **both | more, lower=[2.0, 1.0], upper=[3.0, 1.0])) == set()


# Rows by themselves.


@pytest.mark.parametrize(("gap", "holds"), [(15e-6 + 0.9 * SAFETY, True), (15e-6 + 1.1 * SAFETY, False), (None, False)])
def test_optimal_means_the_gap_that_was_asked(gap: float | None, holds: bool) -> None:
    assert accused(row(gap=[gap]), check="gap") == (set() if holds else {0})
    assert "gap" not in checks_of(row(gap=[gap], status=["time_limit"]))


@pytest.mark.parametrize(("excess", "holds"), [(0.99, True), (1.01, False)])
def test_an_optimal_lp_claims_what_its_duals_certify(excess: float, holds: bool) -> None:
    claimed = 1.0 + excess * AGREEMENT * (1.0 + AGREEMENT)
    values: dict[str, Any] = {"safety": [0.0], "claimed": [claimed], "mip_gap": None}
    assert accused(row("lp", 1.0, 50.0, **values), check="duals") == (set() if holds else {0})
    assert "duals" not in checks_of(row("lp", 1.0, 50.0, **values | {"safety": [SAFETY]}))  # nothing is certified there


@pytest.mark.parametrize("status", ["infeasible", "unbounded", "infeasible_or_unbounded"])
@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ({"method": "lp"}, False),
        ({"method": "milp"}, False),
        ({"method": "lp", "goal": "verdict"}, False),
        ({"method": "milp", "goal": "verdict"}, True),  # its model may have a row that nothing satisfies
        ({"method": "staged"}, True),
    ],
)
def test_a_model_that_has_the_image_is_not_infeasible(status: str, values: dict[str, Any], holds: bool) -> None:
    assert accused(row(**values, lower=None, status=[status]), check="feasible") == (set() if holds else {0})


@pytest.mark.parametrize(("violation", "holds"), [(None, True), (VIOLATION, True), (1.01 * VIOLATION, False)])
def test_a_solution_satisfies_the_model(violation: float | None, holds: bool) -> None:
    judgement = judged(row(violation=violation))
    assert {finding.check for finding in judgement.findings} == (set() if holds else {"solution"})
    assert judgement.tested["solution"] == (violation is not None)


@pytest.mark.parametrize(("excess", "holds"), [(0.99, True), (1.01, False)])
def test_an_input_attains_the_optimum_of_a_milp(excess: float, holds: bool) -> None:
    upper = 1.0 + excess * (SAFETY + 1e-6 + AGREEMENT) * (1.0 + 1e-5)
    assert accused(row("milp", 1.0, upper), check="attained") == (set() if holds else {0})
    assert "attained" not in checks_of(row("milp", 1.0, upper, status=["time_limit"]))


def test_rows_that_do_not_say_their_safety_are_noted_and_have_a_wider_one() -> None:
    old = row("lp", 1.0 + 0.9 * AGREEMENT, 5.0, safety=[], schema=2)
    judgement = judged(old, row("interval", -9.0, 1.0))
    assert judgement.findings == ()
    assert judgement.notes == (
        "1 rows do not say how safe their solver's bounds are: 1e-05 of the margin, or of one, stands for it",
    )


# Who is to blame.


def conflict(*claims: tuple[int, Trust]) -> Conflict:
    return Conflict("they differ", tuple(Claim(index, "said", 1.0, trust) for index, trust in claims))


WORD, PROOF, INPUT = Trust.WORD, Trust.PROOF, Trust.INPUT


@pytest.mark.parametrize(
    ("conflicts", "guilty"),
    [
        ([conflict((0, WORD))], {0}),
        ([conflict((0, WORD), (1, INPUT))], {0}),
        ([conflict((0, PROOF), (1, INPUT))], {0}),
        ([conflict((0, WORD), (1, PROOF))], {0}),
        ([conflict((0, WORD), (1, WORD))], {0, 1}),
        # What is explained by one who is wrong anyway accuses nobody else.
        ([conflict((0, WORD), (1, INPUT)), conflict((0, WORD), (2, WORD))], {0}),
        ([conflict((0, PROOF), (1, INPUT)), conflict((2, WORD), (0, PROOF))], {0}),
        ([conflict((0, WORD), (1, WORD)), conflict((0, WORD), (2, WORD))], {0}),
    ],
)
def test_blame(conflicts: list[Conflict], guilty: set[int]) -> None:
    assert blame(conflicts, {0: "a", 1: "b", 2: "c"}).guilty == guilty
