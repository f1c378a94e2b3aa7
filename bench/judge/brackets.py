r"""Lower bounds against inputs: what is said of every input of a set must hold for each that was run forward.

Let `m_t(S)` be the least margin to target t over the input set S. Any input `x` in S has `m_t(S) <= m_t(x)`, and sets
are monotone: `S' subset S` gives `m_t(S) <= m_t(S')`. So every lower bound on `m_t(S)` is at most the margin of every
input of every `S'` inside S: a smaller or equal epsilon, the same norm or one whose ball lies inside (l1 in l2 in
l-infinity), the same clip or a narrower one. That holds lower bounds, exact values, incumbents and attacks against one
another, margins at one epsilon against those at another, and verified epsilons against witnesses.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.judge.conflict import Claim, Conflict, Result, Trust
from bench.judge.facts import AGREEMENT, ANY, SET, Facts, lines_of, rounding
from bench.verdict import REPLAY_ROUNDING, contradicted

BALL = ["ball", "clip_low", "clip_high"]


def bracket(facts: Facts) -> Result:
    """Lower bounds, beyond what they must exceed to count, against inputs; the tolerance is that of the verdict."""
    message = "a lower bound above the margin of an input"
    found = found_margins(facts)
    results = []
    for lines in (facts.lines[["row", "margin", "lower", "safety"]], _least_of_rows(facts)):
        value, safety, least = lines["lower"].to_numpy(), lines["safety"].to_numpy(), _found(found, lines)
        tolerance = np.maximum(safety, rounding(least))
        results.append(_result(facts, lines, value, found, contradicted(value, least, safety), tolerance, message))
    tested = sum(result.tested for result in results)
    return Result(tested, [conflict for result in results for conflict in result.conflicts])


def claim(facts: Facts) -> Result:
    """The solver's own dual bounds against inputs, whatever was made of them; up to what two solvers agree to.

    Only where a margin is the goal: the model of a counterexample has none beyond its limit, nor need its bound be one.
    """
    found = found_margins(facts)
    owed = facts.where(facts.rows["owes_margins"]) & facts.lines["claimed"].notna().to_numpy()
    lines = facts.lines[["row", "margin", "claimed", "safety"]][owed]
    value = lines["claimed"].to_numpy()
    tolerance = np.maximum(lines["safety"].to_numpy(), AGREEMENT * np.maximum(1.0, np.abs(value)))
    wrong = value > _found(found, lines) + tolerance
    return _result(
        facts, lines, value, found, wrong, tolerance, "the solver's bound is above the margin of an input", "claim"
    )


def verdict(facts: Facts) -> Result:
    """Verified epsilons against witnesses at a smaller or equal one: a margin below zero by more than rounding."""
    rows = facts.rows[facts.rows["verdict"] == "verified"]
    verified = rows[["question", *SET]].assign(row=rows.index, target=ANY)
    witnesses = facts.inputs[facts.inputs["value"] < -REPLAY_ROUNDING].assign(target=ANY)
    pairs = against_inputs(verified, witnesses)
    conflicts = [
        Conflict(
            "verified, but there is a witness",
            (Claim(line.row, "verified"), Claim(line.input_row, "a witness with margin", line.found, Trust.INPUT)),
            tolerance=REPLAY_ROUNDING,
        )
        for line in lines_of(pairs)
    ]
    return Result(len(verified), conflicts)


def found_margins(facts: Facts) -> pd.DataFrame:
    """For each of the margins the least value `found` of an input in its set, NaN without one, and its `input_row`."""
    numbered = facts.margins.assign(margin=facts.margins.index)
    pairs = against_inputs(numbered, facts.inputs).set_index("margin")
    return pairs[["found", "input_row"]].reindex(facts.margins.index)


def _found(found: pd.DataFrame, lines: pd.DataFrame) -> NDArray[np.float64]:
    return np.asarray(found["found"].to_numpy()[lines["margin"].to_numpy()])


def _least_of_rows(facts: Facts) -> pd.DataFrame:
    """The least bound of each row that has one for every class, for inputs that are known by their least margin."""
    lines = facts.lines.loc[facts.where(facts.rows["complete"]), ["row", "lower", "safety"]]
    unbounded = lines.loc[lines["lower"].isna(), "row"].unique()
    least = lines[lines["lower"] == lines.groupby("row")["lower"].transform("min")].drop_duplicates("row")
    least = least[~least["row"].isin(unbounded)]
    return least.assign(margin=facts.rows["least"].to_numpy()[least["row"].to_numpy()])


def against_inputs(lowers: pd.DataFrame, inputs: pd.DataFrame) -> pd.DataFrame:
    """Each of `lowers` that has an input in its set, with the least margin `found` there and its `input_row`."""
    parts = []
    for (ball, low, high), held in lowers.groupby(BALL):
        inside = inputs[(inputs["ball"] <= ball) & (inputs["clip_low"] >= low) & (inputs["clip_high"] <= high)]
        parts.append(_least_up_to(held, inside))
    return pd.concat([lowers[:0].assign(found=0.0, input_row=0), *parts], ignore_index=True)


def _least_up_to(held: pd.DataFrame, inputs: pd.DataFrame) -> pd.DataFrame:
    """For each line the least value of an input to the same question and target at no larger epsilon."""
    keys = ["question", "target"]
    ordered = inputs.sort_values(["epsilon", "value"], kind="stable")
    least = ordered.groupby(keys)["value"].cummin()
    firsts = ordered["row"].where(ordered["value"] == least)  # the row that has the least value so far
    steps = ordered[[*keys, "epsilon"]].assign(
        found=least, input_row=firsts.groupby([ordered[key] for key in keys]).ffill()
    )
    pairs = pd.merge_asof(held.sort_values("epsilon", kind="stable"), steps, on="epsilon", by=keys)
    return pairs.dropna(subset="found").astype({"input_row": int})


def _result(
    facts: Facts,
    lines: pd.DataFrame,
    value: NDArray[np.float64],
    found: pd.DataFrame,
    wrong: NDArray[np.bool_],
    tolerance: NDArray[np.float64],
    message: str,
    said: str = "lower bound",
) -> Result:
    tested = int((~np.isnan(value) & ~np.isnan(_found(found, lines))).sum())
    pairs = lines[["row", "margin"]].assign(value=value, tolerance=tolerance)[wrong]
    pairs = pairs.join(found, on="margin").join(facts.margins["target"], on="margin")
    conflicts = [
        Conflict(
            message,
            (
                Claim(line.row, said, line.value),
                Claim(int(line.input_row), "an input with margin", line.found, Trust.INPUT),
            ),
            None if line.target == ANY else int(line.target),
            line.tolerance,
        )
        for line in lines_of(pairs)
    ]
    return Result(tested, conflicts)
