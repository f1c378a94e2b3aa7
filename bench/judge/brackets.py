r"""Lower bounds against inputs: what is said of every input of a set must hold for each that was run forward.

Let `m_t(S)` be the least margin to target t over the input set S. Any input `x` in S has `m_t(S) <= m_t(x)`, and sets
are monotone: `S' subset S` gives `m_t(S) <= m_t(S')`. So every lower bound on `m_t(S)` is at most the margin of every
input of every `S'` inside S: a smaller or equal epsilon, the same norm or one whose ball lies inside (l1 in l2 in
l-infinity), the same clip or a narrower one. That holds lower bounds, exact values, incumbents and attacks against one
another, margins at one epsilon against those at another, and verified epsilons against witnesses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.judge.conflict import Claim, Conflict, Result, Trust
from bench.judge.facts import AGREEMENT, ANY, SET, Facts, lines_of, torn

BALL = ["ball", "clip_low", "clip_high"]
SAID = {
    "input": {Trust.SEEN: "an input with margin", Trust.INPUT: "a replayed input with margin"},
    "witness": {Trust.SEEN: "a witness with margin", Trust.INPUT: "a replayed witness with margin"},
}
UNSEEN = "; the input was not replayed here"  # where it contradicts a proof


def bracket(facts: Facts) -> Result:
    """Lower bounds against inputs, those of their own row first.

    What is proven is never above an input's margin; a solver's word may be by its safety.
    """
    message = "a lower bound above the margin of an input"
    claims = _lower_bounds(facts)
    own = claims[torn(facts.lines)[claims["line"].to_numpy()]]
    own = own[own["value"] > own["own"] + own["safety"]]
    inputs = [(line, Claim(line.row, SAID["input"][Trust.SEEN], line.upper, Trust.SEEN)) for line in lines_of(own)]
    conflicts = [_conflict(message, line, found, line.safety + line.own - line.upper) for line, found in inputs]
    rest = pd.concat([claims.drop(own.index), _least_of_rows(facts, claims)], ignore_index=True)
    others = _against_found(facts, rest, message)
    return Result(len(own) + others.tested, [*conflicts, *others.conflicts])


def claim(facts: Facts) -> Result:
    """The solver's own dual bounds against inputs, whatever was made of them; up to what two solvers agree to.

    Only where a margin is the goal: the model of a counterexample has none beyond its limit, nor need its bound be one.
    """
    owed = facts.where(facts.rows["owes_margins"]) & facts.lines["claimed"].notna().to_numpy()
    lines = facts.lines.loc[owed, ["row", "margin", "target", "claimed", "safety"]].rename(columns={"claimed": "value"})
    safety = np.maximum(lines["safety"], facts.slack(lines, AGREEMENT, "value"))
    claims = lines.assign(safety=safety, said="claim", trust=int(Trust.WORD))
    return _against_found(facts, claims, "the solver's bound is above the margin of an input")


def verdict(facts: Facts) -> Result:
    """Verified epsilons against witnesses at a smaller or equal one, of any target that was asked."""
    rows = facts.rows[facts.rows["verdict"] == "verified"]
    trust = np.where(rows["tier"].eq("certified"), int(Trust.PROOF), int(Trust.WORD))
    target = rows["target"].fillna(ANY).astype(np.int64)
    verified = rows[["question", *SET]].assign(row=rows.index, target=target, trust=trust)
    witnesses = facts.inputs[facts.inputs["most"] < 0]
    anyone = witnesses[witnesses["target"] != ANY].assign(target=ANY)
    pairs = against_inputs(verified, pd.concat([witnesses, anyone], ignore_index=True))
    conflicts = [
        Conflict(
            "verified, but there is a witness" + _unseen(line),
            (Claim(line.row, "verified", trust=Trust(line.trust)), _input(line, "witness")),
            tolerance=line.most - line.found,
        )
        for line in lines_of(pairs)
    ]
    return Result(len(verified), conflicts)


def found_margins(facts: Facts) -> pd.DataFrame:
    """For each of the margins the input in its set that has the least one: see FOUND; NaN without one."""
    numbered = facts.margins.assign(margin=facts.margins.index)
    pairs = against_inputs(numbered, facts.inputs).set_index("margin")
    return pairs[FOUND].reindex(facts.margins.index)


FOUND = ["most", "found", "input_row", "input_trust"]


def _lower_bounds(facts: Facts) -> pd.DataFrame:
    """What each line says that its margin is at least: what is proven, and what goes beyond that."""
    lines = facts.lines.rename(columns={"most": "own"}).assign(line=np.arange(len(facts.lines)))
    names = ["row", "margin", "target", "upper", "own", "line"]
    proven = lines.loc[lines["certified"].notna(), [*names, "certified"]].rename(columns={"certified": "value"})
    proven = proven.assign(safety=0.0, said="certified bound", trust=int(Trust.PROOF))
    beyond = lines.loc[lines["lower"].notna() & ~(lines["lower"] <= lines["certified"])]
    trust = np.where(beyond["proved"], int(Trust.PROOF), int(Trust.WORD))
    others = beyond[[*names, "lower", "safety"]].rename(columns={"lower": "value"})
    return pd.concat([others.assign(said="lower bound", trust=trust), proven], ignore_index=True)


def _least_of_rows(facts: Facts, claims: pd.DataFrame) -> pd.DataFrame:
    """The least bound of each row that has one for every class, for inputs that are known by their least margin."""
    if facts.inputs.empty or not (facts.inputs["target"] == ANY).any():
        return claims[:0]
    count = len(facts.rows)
    best = claims.assign(sure=claims["value"] - claims["safety"]).sort_values("sure", kind="stable")
    best = best.drop_duplicates("line", keep="last")
    bounded = np.bincount(best["row"], minlength=count) == np.bincount(facts.lines["row"], minlength=count)
    least = best[(facts.rows["complete"].to_numpy() & bounded)[best["row"].to_numpy()]].drop_duplicates("row")
    return pd.DataFrame(least).assign(margin=facts.rows["least"].to_numpy()[least["row"].to_numpy()], target=ANY)


def against_inputs(lowers: pd.DataFrame, inputs: pd.DataFrame) -> pd.DataFrame:
    """Each of `lowers` that has an input in its set, and the least input there: FOUND."""
    parts = []
    for (ball, low, high), held in lowers.groupby(BALL):
        inside = inputs[(inputs["ball"] <= ball) & (inputs["clip_low"] >= low) & (inputs["clip_high"] <= high)]
        parts.append(_least_up_to(held, inside))
    return pd.concat([lowers[:0].assign(most=0.0, found=0.0, input_row=0, input_trust=0), *parts], ignore_index=True)


def _least_up_to(held: pd.DataFrame, inputs: pd.DataFrame) -> pd.DataFrame:
    """For each line the least value of an input to the same question and target at no larger epsilon."""
    keys = ["question", "target"]
    ordered = inputs.sort_values(["epsilon", "most"], kind="stable").reset_index(drop=True)
    least = ordered.groupby(keys)["most"].cummin()
    firsts = ordered.index.to_series().where(ordered["most"] == least)  # the input that has the least value so far
    place = firsts.groupby([ordered[key] for key in keys]).ffill().astype(int)
    steps = ordered[[*keys, "epsilon"]].assign(
        most=least,
        found=ordered["value"].to_numpy()[place],
        input_row=ordered["row"].to_numpy()[place],
        input_trust=ordered["trust"].to_numpy()[place],
    )
    pairs = pd.merge_asof(held.sort_values("epsilon", kind="stable"), steps, on="epsilon", by=keys)
    return pairs.dropna(subset="most").astype({"input_row": int, "input_trust": int})


def _against_found(facts: Facts, claims: pd.DataFrame, message: str) -> Result:
    """Claims that a margin is at least a value, of which `safety` may be missing, against the inputs found."""
    found = found_margins(facts).take(claims["margin"].to_numpy()).set_index(claims.index)
    tested = int((claims["value"].notna() & found["most"].notna()).sum())
    wrong = claims.join(found)[(claims["value"] > found["most"] + claims["safety"]).to_numpy()]
    conflicts = [
        _conflict(message + _unseen(line), line, _input(line), line.safety + line.most - line.found)
        for line in lines_of(wrong)
    ]
    return Result(tested, conflicts)


def _conflict(message: str, line: Any, other: Claim, tolerance: float) -> Conflict:
    claim = Claim(line.row, line.said, line.value, Trust(line.trust))
    return Conflict(message, (claim, other), None if line.target == ANY else int(line.target), tolerance)


def _input(line: Any, what: str = "input") -> Claim:
    trust = Trust(int(line.input_trust))
    return Claim(int(line.input_row), SAID[what][trust], line.found, trust)


def _unseen(line: Any) -> str:
    """What is to be said where the word of a row stands against a proof."""
    return UNSEEN if line.trust == Trust.PROOF and line.input_trust == Trust.SEEN else ""
