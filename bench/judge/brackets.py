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

from bench.judge.conflict import Claim, Conflict, Result, Trust
from bench.judge.facts import AGREEMENT, ANY, Facts, lines_of, rounding
from bench.verdict import REPLAY_ROUNDING, contradicted

BALL = ["ball", "clip_low", "clip_high"]


def bracket(facts: Facts) -> Result:
    """Lower bounds, beyond what they must exceed to count, against inputs; the tolerance is that of the verdict."""
    lines = facts.lines.assign(value=facts.lines["lower"])
    pairs = against_inputs(pd.concat([lines, _least_of_rows(lines)]).dropna(subset="value"), facts.inputs)
    safety, found = pairs["safety"].to_numpy(), pairs["found"].to_numpy()
    wrong = contradicted(pairs["value"].to_numpy(), found, safety)
    tolerance = np.maximum(safety, rounding(pairs["found"]))
    return _result(
        pairs.assign(tolerance=tolerance), wrong, "a lower bound above the margin of an input", "lower bound"
    )


def claim(facts: Facts) -> Result:
    """The solver's own dual bounds against inputs, whatever was made of them; up to what two solvers agree to.

    Only where a margin is the goal: the model of a counterexample has none beyond its limit, nor need its bound be one.
    """
    owed = facts.owed
    pairs = against_inputs(owed.assign(value=owed["claimed"]).dropna(subset="value"), facts.inputs)
    tolerance = np.maximum(pairs["safety"], AGREEMENT * pairs["value"].abs().clip(lower=1.0))
    wrong = (pairs["value"] > pairs["found"] + tolerance).to_numpy()
    message = "the solver's bound is above the margin of an input"
    return _result(pairs.assign(tolerance=tolerance), wrong, message, "claim")


def verdict(facts: Facts) -> Result:
    """Verified epsilons against witnesses at a smaller or equal one: a margin below zero by more than rounding."""
    rows = facts.rows.loc[facts.rows["verdict"] == "verified"]
    verified = rows.assign(row=rows.index, target=ANY, value=0.0)
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


def _least_of_rows(lines: pd.DataFrame) -> pd.DataFrame:
    """The least bound of each row that has one for every class, for inputs that are known by their least margin."""
    bounded = lines["value"].notna().groupby(lines["row"]).transform("all")
    whole = lines[lines["complete"] & bounded]
    return whole.loc[whole.groupby("row")["value"].idxmin()].assign(target=ANY)


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


def _result(pairs: pd.DataFrame, wrong: np.ndarray, message: str, said: str) -> Result:
    conflicts = [
        Conflict(
            message,
            (
                Claim(line.row, said, line.value),
                Claim(line.input_row, "an input with margin", line.found, Trust.INPUT),
            ),
            None if line.target == ANY else int(line.target),
            line.tolerance,
        )
        for line in lines_of(pairs[wrong])
    ]
    return Result(len(pairs), conflicts)
