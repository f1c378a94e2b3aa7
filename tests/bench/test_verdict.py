"""Verdicts: only a bound beyond doubt verifies, only a replayed witness falsifies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from bench.verdict import Verdict, decide, tier_of

SAFETY = 1e-6


def judge(
    lower: Sequence[float],
    witness_margin: float | None = None,
    statuses: Sequence[str] | None = None,
    *,
    safety: float = SAFETY,
    messages: Sequence[str] = (),
    upper: float = 1.0,
) -> tuple[Verdict, str]:
    """`decide` for the targets 3, 4, ...: verdict and evidence."""
    decision = decide(
        range(3, 3 + len(lower)),
        np.array(lower),
        np.full(len(lower), upper),
        witness_margin,
        statuses or ["optimal"] * len(lower),
        safety=np.full(len(lower), safety),
        source="MILP dual bound by highs",
        messages=messages,
    )
    assert (decision.reason is None) == (decision.verdict is not Verdict.UNKNOWN)
    return decision.verdict, decision.evidence


def test_bounds_above_zero_for_every_target_verify() -> None:
    assert judge([0.5, 0.1], witness_margin=0.2) == (Verdict.VERIFIED, "MILP dual bound by highs")


@pytest.mark.parametrize("low", [SAFETY, 0.5 * SAFETY, 0.0, -0.1, -math.inf, math.nan])
def test_one_bound_within_the_safety_margin_verifies_nothing(low: float) -> None:
    assert judge([0.5, low], witness_margin=0.2)[0] is Verdict.UNKNOWN


def test_a_rigorous_bound_needs_no_safety_margin_but_must_be_above_zero() -> None:
    assert judge([1e-12], safety=0.0)[0] is Verdict.VERIFIED
    assert judge([0.0], safety=0.0)[0] is Verdict.UNKNOWN


def test_a_bound_counts_whatever_ended_the_solve() -> None:
    assert judge([0.5, 0.2], statuses=["time_limit", "other_limit"])[0] is Verdict.VERIFIED


def test_a_witness_falsifies_whatever_the_bounds_and_failures_say() -> None:
    verdict, evidence = judge([0.5, -math.inf], -0.25, ["optimal", "error"], messages=["", "gone"])
    assert (verdict, evidence) == (Verdict.FALSIFIED, "witness with margin -0.25")


@pytest.mark.parametrize("margin", [None, 0.0, 0.3, math.nan])
def test_what_is_no_witness_in_the_replay_proves_nothing(margin: float | None) -> None:
    assert judge([-0.5], witness_margin=margin)[0] is Verdict.UNKNOWN


def test_infeasible_and_optimal_statuses_prove_nothing_by_themselves() -> None:
    assert judge([-math.inf, -1.0], statuses=["infeasible", "optimal"])[0] is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("lower", "statuses", "evidence"),
    [
        ([0.5, -0.25], ["optimal", "optimal"], "not decided: target 4 has lower bound -0.25"),
        ([-0.5, -0.25], ["bounded", "bounded"], "not decided: target 3 has lower bound -0.5"),
        ([0.5, -2.0], ["optimal", "time_limit"], "time limit: target 4 has lower bound -2"),
        ([0.5, -math.inf], ["optimal", "time_limit"], "time limit: target 4 has no lower bound"),
        ([-1.0, -math.inf], ["optimal", "infeasible_or_unbounded"], "infeasible or unbounded: target 4 has no lower b"),
    ],
)
def test_unknown_names_the_reason_and_the_worst_target(lower: list[float], statuses: list[str], evidence: str) -> None:
    verdict, found = judge(lower, 0.1, statuses)
    assert verdict is Verdict.UNKNOWN
    assert found.startswith(evidence)


def test_unknown_gives_the_message_of_the_worst_target_only() -> None:
    lower, statuses = [0.5, -math.inf, -1.0], ["time_limit", "licence", "optimal"]
    assert judge(lower, None, statuses, messages=["CBC was killed", "licence too small", ""])[1] == "licence too small"
    assert judge([0.5, -1.0], messages=["CBC was killed", ""])[1].startswith("not decided: target 4")


def test_a_bound_above_the_margin_of_a_replayed_input_verifies_nothing() -> None:
    verdict, evidence = judge([0.5, 0.5], upper=0.4)
    assert verdict is Verdict.UNKNOWN
    assert evidence == "contradicted: target 3 has lower bound 0.5, an input has 0.4"


def test_a_solvers_bound_may_exceed_an_inputs_margin_by_its_safety_and_a_rigorous_one_by_nothing() -> None:
    assert judge([0.5], upper=0.5, safety=0.0)[0] is Verdict.VERIFIED
    below = 0.5 - 0.5 * SAFETY
    assert judge([0.5], upper=below, safety=SAFETY)[0] is Verdict.VERIFIED
    assert judge([0.5], upper=math.nextafter(0.5, 0.0), safety=0.0)[0] is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("wrong", "tier"),
    [((True, True), "float32"), ((True, False), "float64"), ((False, False), "exact"), ((False, True), "exact")],
)
def test_the_tier_of_a_witness_says_in_which_floats_it_is_one_too(wrong: tuple[bool, bool], tier: str) -> None:
    none = np.array([-1.0])
    assert tier_of(Verdict.FALSIFIED, none, none, witness_double=wrong[0], witness_single=wrong[1]) == tier
    assert tier_of(Verdict.UNKNOWN, none, none, witness_double=wrong[0], witness_single=wrong[1]) is None
