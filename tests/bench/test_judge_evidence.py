"""Doctored rows among honest ones: each rule of the judge finds its row, and blames no other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.columns import Columns, table_of
from bench.judge import Judgement, Replayed, judge_columns
from bench.judge.facts import EXACT_SCHEMA, SHARE
from bench.row import Row
from tests.bench.test_judge import accused, checks_of, judged, row, save_attack

SAFETY = 2e-6


def rows_about(margin: float, scale: float = 1.0, **values: Any) -> list[Row]:
    """Honest rows about one margin, in units of `scale`: proofs below it, and what three solvers say."""
    told: dict[str, Any] = {"counters": {"magnitude": scale / SHARE}, **values}
    proofs = [("interval", None, 2.0), ("linear", None, 1.0), ("lp", "highs", 0.5), ("lp", "gurobi", 0.5)]
    rows = [
        row(method, (margin - loss) * scale, (margin + 3.0) * scale, solver=solver, safety=[0.0], **told)
        for method, solver, loss in proofs
    ]
    found: dict[str, Any] = {"safety": [SAFETY * scale], "verdict": "falsified" if margin < 0 else "unknown"}
    return rows + [
        row("milp", margin * scale, margin * scale, solver=name, **told, **found) for name in ("highs", "cbc")
    ]


def guilty(*rows: Row) -> set[int]:
    return set(judged(*rows).guilty)


def hidden(rows: list[Row]) -> list[Row]:
    """The rows without an input or a gap that shows the optima."""
    return [replace(item, upper=[9.0], gap=[None], mip_gap=None, verdict="unknown") for item in rows]


def doctored(rows: list[Row], index: int, **values: Any) -> list[Row]:
    return [*rows[:index], replace(rows[index], **values), *rows[index + 1 :]]


@pytest.mark.parametrize("margin", [-0.25, 0.25])
@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e4])
def test_honest_rows_contradict_nothing_at_any_scale(margin: float, scale: float) -> None:
    assert judged(*rows_about(margin, scale)).findings == ()


# What is certified.


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e4])
@pytest.mark.parametrize("index", range(6))
def test_a_certified_bound_above_an_input_is_found_in_any_row(scale: float, index: int) -> None:
    rows = rows_about(-0.25, scale)
    assert guilty(*doctored(rows, index, certified=[-0.2 * scale])) == {index}
    assert guilty(*doctored(rows, index, certified=[1000.0])) == {index}


def test_a_certified_bound_above_an_exact_margin_is_wrong_by_a_bit() -> None:
    linear, _, _, exact, _ = rows_about(0.25)[1:]
    rows = [exact, linear]
    beyond = float(np.nextafter(0.25, 1.0))
    assert guilty(*doctored(rows, 1, certified=[0.25], lower=[0.25])) == set()
    assert guilty(*doctored(rows, 1, certified=[beyond], lower=[beyond])) == {1}
    old = [replace(item, schema=EXACT_SCHEMA - 1) for item in rows]  # their margins were rounded
    assert guilty(*doctored(old, 1, certified=[beyond], lower=[beyond])) == set()


def test_a_certified_bound_above_the_optima_of_solvers_refutes_them_and_is_not_refuted_by_them() -> None:
    _, linear, _, _, *milps = hidden(rows_about(0.25))
    found = judged(replace(linear, lower=[0.5], certified=[0.5]), *milps)
    assert {finding.check for finding in found.findings} == {"order"}
    assert found.guilty == {1, 2}


def test_a_certified_bound_above_the_optimum_of_its_own_model_is_found() -> None:
    alone = row("milp", 0.25, 9.0, verdict="unknown")
    assert "tier" not in checks_of(replace(alone, certified=[0.25]))
    assert accused(replace(alone, certified=[0.5]), check="tier") == {0}
    assert "tier" not in checks_of(replace(alone, certified=[0.5], status=["time_limit"]))


# Tiers, verdicts and safeties.

VERIFIED: dict[str, Any] = {"verdict": "verified", "lower": [0.5], "upper": [0.5], "safety": [SAFETY]}
FALSIFIED: dict[str, Any] = {"verdict": "falsified", "lower": [-0.5], "upper": [-0.5], "safety": [SAFETY]}
FLOATS = ("witness_double", "witness_single")


@pytest.mark.parametrize(
    ("values", "follows"),
    [
        ({**VERIFIED, "tier": "solver"}, True),
        ({**VERIFIED, "tier": None}, True),
        ({**VERIFIED, "tier": "certified", "certified": [0.5]}, True),
        ({**VERIFIED, "tier": "certified", "certified": []}, False),
        ({**VERIFIED, "tier": "certified", "certified": [0.0]}, False),
        ({**VERIFIED, "tier": "certified", "certified": [None]}, False),
        ({**VERIFIED, "tier": "float32"}, False),
        ({**VERIFIED, "tier": "exact"}, False),
        ({**FALSIFIED, "tier": "float32", **dict.fromkeys(FLOATS, True)}, True),
        ({**FALSIFIED, "tier": "float32", "witness_double": True, "witness_single": False}, False),
        ({**FALSIFIED, "tier": "float32", "witness_double": False, "witness_single": True}, False),
        ({**FALSIFIED, "tier": "float64", "witness_double": True, "witness_single": False}, True),
        ({**FALSIFIED, "tier": "float64", **dict.fromkeys(FLOATS, True)}, False),
        ({**FALSIFIED, "tier": "exact", "witness_double": False, "witness_single": True}, True),
        ({**FALSIFIED, "tier": "exact", "witness_double": True}, False),
        ({**FALSIFIED, "tier": "solver"}, False),
        ({"verdict": "unknown", "tier": "certified", "certified": [0.5]}, False),
        ({**VERIFIED, "tier": "solver", "safety": [-1.0]}, False),
        ({"verdict": "unknown", "lower": [-1.0], "safety": [-1e-9]}, False),
        (
            {"verdict": "unknown", "safety": [0.0], "certified": [None]},
            False,
        ),  # neither safe nor proven
        ({"verdict": "unknown", "safety": [0.0], "certified": [0.25]}, False),
        ({"verdict": "unknown", "safety": [0.0], "certified": [None], "lower": [None]}, True),
        ({"verdict": "unknown", "safety": [0.0], "certified": [None], "schema": EXACT_SCHEMA - 1}, True),
    ],
)
def test_a_tier_follows_from_the_evidence_that_it_names(values: dict[str, Any], follows: bool) -> None:
    asked: dict[str, Any] = {"lower": [0.5], "upper": [0.5]} | values
    assert accused(row(**asked), check="tier") == (set() if follows else {0})


@pytest.mark.parametrize(
    ("values", "follows"),
    [
        ({**VERIFIED, "lower": [-5.0], "safety": [-6.0]}, False),
        ({**VERIFIED, "lower": [SAFETY / 2], "certified": [SAFETY / 4]}, True),  # proven, though within its safety
        ({"verdict": "unknown", "lower": [-1.0], "upper": [-0.5]}, False),
        ({"verdict": "unknown", "lower": [-1.0], "upper": [0.0]}, True),
    ],
)
def test_a_verdict_follows_from_the_rows_own_evidence(values: dict[str, Any], follows: bool) -> None:
    assert accused(row(**{"status": ["time_limit"], **values}), check="consistent") == (set() if follows else {0})


def test_an_attack_on_many_images_has_no_verdict(tmp_path: Path) -> None:
    assert accused(save_attack(tmp_path, verdict="falsified"), check="consistent", folder=tmp_path) == {0}


# Classes.


def several(targets: list[int], **values: Any) -> Row:
    count = len(targets)
    given: dict[str, Any] = {"targets": targets, "label": 0, "safety": [SAFETY] * count, "gap": [0.0] * count}
    given |= {"lower": [1.0] * count, "upper": [1.0] * count}
    return row("milp", **(given | values))


def test_what_is_verified_has_all_classes_that_its_network_has() -> None:
    whole = several([1, 2, 3], verdict="verified")
    assert guilty(whole) == set()
    assert guilty(whole, several([1, 3], verdict="verified", image=1)) == {1}
    assert guilty(whole, several([1, 1, 3], verdict="verified", image=1)) == {1}
    assert guilty(whole, several([1, 0, 3], verdict="verified", image=1)) == {1}
    assert guilty(several([1, 3], verdict="verified")) == {0}  # there is a class between these
    assert guilty(whole, several([1, 3], verdict="unknown", image=1)) == set()
    assert guilty(whole, several([1, 2], verdict="verified", label=3, network_digest="d9")) == {1}


def test_a_row_that_says_its_one_target_is_about_that_alone() -> None:
    witness = several([1, 2], verdict="falsified", lower=[1.0, -1.0], upper=[1.0, -1.0])
    assert guilty(witness, several([1], verdict="verified", target=1)) == set()
    assert accused(witness, several([2], verdict="verified", target=2), check="verdict") == {1}


# Inputs that are false.


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("margin", [-0.25, 0.25])
def test_an_input_that_its_own_row_contradicts_accuses_nobody_else(margin: float, index: int) -> None:
    rows = rows_about(margin)
    assert guilty(*doctored(rows, index, upper=[-50.0])) == {index}
    assert guilty(*doctored(rows, index, upper=[-50.0], verdict="falsified")) == {index}


def widened(rows: list[Row], index: int, upper: float = -50.0) -> list[Row]:
    """A false input in a row whose own bounds lie below it."""
    nothing: dict[str, Any] = {"lower": [None], "certified": [None], "safety": [SAFETY], "status": ["time_limit"]}
    return doctored(rows, index, upper=[upper], verdict="falsified", **nothing)


def test_an_input_alone_against_several_proofs_is_the_one_that_is_wrong() -> None:
    judgement = judged(*widened(rows_about(0.25), 4))
    assert judgement.guilty == {4}
    message = "a lower bound above the margin of an input; the input was not replayed here"
    assert {(finding.check, finding.message) for finding in judgement.findings} == {("bracket", message)}


def test_an_input_against_one_proof_is_believed() -> None:
    rows = rows_about(0.25)
    assert guilty(*widened([rows[1], rows[4]], 1)) == {0}


def test_an_input_that_two_have_found_is_believed_against_several_proofs() -> None:
    rows = widened(widened(rows_about(0.25), 4), 5, -49.0)
    assert guilty(*rows) == {0, 1, 2, 3}
    same = [replace(item, solver="cbc") if index == 4 else item for index, item in enumerate(rows)]
    assert guilty(*same) == {4, 5}  # repeats have one voice


def test_an_input_is_believed_against_any_number_of_words() -> None:
    rows = [replace(item, certified=[], safety=[SAFETY]) for item in rows_about(0.25)[2:]]
    assert guilty(*widened(rows, 3)) == {0, 1, 2}


# Inputs that are replayed.


def replayed(
    rows: list[Row], confirmed: Collection[int] = (), wrong: Collection[int] = ()
) -> tuple[Judgement, list[int]]:
    """The rows judged, with those whose input was replayed and found to be so or not; and what was asked for."""
    asked: list[int] = []

    def replay(places: Collection[int]) -> Replayed:
        asked.extend(places)
        found = judged(*rows).findings[:1]
        sides = (replace(found[0].sides[0], row=place, guilty=True) for place in places if place in wrong)
        findings = tuple(replace(found[0], check="witness", sides=(side,)) for side in sides)
        return Replayed(frozenset((place, 1) for place in places if place in confirmed), Judgement(findings=findings))

    return judge_columns(Columns.of(table_of(rows)), lambda _: Path(), replay), asked


def test_a_replayed_input_is_believed_against_any_number_of_proofs() -> None:
    judgement, asked = replayed(widened(rows_about(0.25), 4), confirmed=[4])
    assert judgement.guilty == {0, 1, 2, 3, 5}
    assert asked == [4]
    assert "a replayed input with margin -50" in str(judgement.findings[0])


def test_a_row_whose_input_does_not_stand_its_replay_is_out_before_it_accuses_anyone() -> None:
    rows = widened(rows_about(0.25)[3:], 1)  # one proof and a word stand against it
    assert guilty(*rows) == {0, 2}
    judgement, _ = replayed(rows, wrong=[1])
    assert judgement.guilty == {1}
    assert {finding.check for finding in judgement.findings} == {"witness"}


def test_an_input_above_zero_is_replayed_where_it_contradicts_something() -> None:
    rows = widened(rows_about(0.25)[3:], 1, 0.01)
    rows[1] = replace(rows[1], verdict="unknown")
    judgement, asked = replayed(rows, wrong=[1])
    assert judgement.guilty == {1}
    assert asked == [1]
    assert replayed(rows_about(0.25)) == (judged(*rows_about(0.25)), [])


# Methods of others.


def test_rows_of_a_method_that_is_not_known_are_held_against_all_others() -> None:
    rows = rows_about(0.25)
    honest = row("their_method", 0.2, 0.3, solver=None, safety=[SAFETY], certified=[0.1])
    judgement = judged(*rows, honest)
    assert judgement.findings == ()
    assert judgement.notes == (
        "1 rows are of methods that are not known here (their_method): their verdicts, bounds and inputs are held "
        "against all others, and nothing that a method owes of itself",
    )
    # The solvers' optima have no input that shows them: only they can say that the bounds are too large.
    assert accused(*hidden(rows), replace(honest, lower=[0.5], upper=[9.0]), check="order") == {6}
    wrong: list[dict[str, Any]] = [
        {"lower": [0.26]},
        {"certified": [0.26]},
        {"upper": [-1.0]},
        {"verdict": "falsified"},
        {"verdict": "verified", "tier": "certified", "certified": [None]},
        {"safety": [-1.0]},
    ]
    for values in wrong:
        assert guilty(*rows, replace(honest, **values)) == {6}, values
