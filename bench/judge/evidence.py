"""Whether a row's verdict and tier follow from its own evidence: its bounds, safeties, proofs, inputs and targets."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.judge.conflict import Claim, Conflict, Result
from bench.judge.facts import AGREEMENT, Facts, Mask
from bench.verdict import DONE

OF_VERDICT = {"verified": ("certified", "solver"), "falsified": ("float32", "float64", "exact")}
# Of a falsified row's tier: what runs in floating point do not make of its witness, by the row's own field.
AT_ODDS = {
    "float32": {"witness_double": False, "witness_single": False},
    "float64": {"witness_double": False, "witness_single": True},
    "exact": {"witness_double": True},
}


def consistent(facts: Facts) -> Result:
    """A verdict follows from the row's own numbers: each bound beyond its safety or proven, or an input below zero."""
    lines, rows = facts.lines, facts.rows
    beyond = (lines["lower"] > lines["safety"].where(lines["told"], 0.0)) & ~(lines["safety"] < 0)
    carried = _of_rows(facts, beyond | (lines["certified"] > 0), every=True)
    refuted = _of_rows(facts, lines["most"] < 0)
    below = _of_rows(facts, lines["upper"] < 0)
    words = ("verified", "falsified", "unknown")
    verified, falsified, unknown = (rows["verdict"].eq(word).to_numpy() for word in words)
    wrong = {
        "its own numbers do not carry its verdict": (verified & ~carried) | (falsified & ~below),
        "it has an input with a margin below zero": (verified | unknown) & refuted,
        "an attack on many images has no verdict": rows["kind"].eq("attack").to_numpy() & (verified | falsified),
    }
    return Result(int((verified | falsified | unknown).sum()), _conflicts(facts, wrong))


def tier(facts: Facts) -> Result:
    """A tier follows from what it names, a bound without a safety is proven, and no proof is above the own optimum.

    Of a tier that this version does not know, nothing is said.
    """
    lines, rows = facts.lines, facts.rows
    told = rows["tier"].notna().to_numpy() & rows["tier"].ne("").to_numpy()
    of_verdict = np.zeros(len(rows), dtype=bool)
    for verdict, words in OF_VERDICT.items():
        of_verdict |= (rows["verdict"].eq(verdict) & rows["tier"].isin(words)).to_numpy()
    known = rows["tier"].isin([word for words in OF_VERDICT.values() for word in words]).to_numpy()
    undecided = rows["verdict"].eq("unknown").to_numpy()  # which has no tier, of this version or of another
    proven = _of_rows(facts, lines["certified"] > 0, every=True)
    at_odds = np.zeros(len(rows), dtype=bool)
    for word, field, said in [(word, *item) for word, fields in AT_ODDS.items() for item in fields.items()]:
        at_odds |= (rows["tier"].eq(word) & rows[field].eq(said).fillna(False)).to_numpy(dtype=bool)
    unproven = facts.where(rows["exact"]) & lines["told"] & lines["safety"].eq(0) & ~lines["proved"]
    optimal = facts.where(rows["owes_margins"]) & lines["status"].isin(DONE).to_numpy()
    above = lines["certified"] > lines["lower"] + lines["safety"].clip(lower=0.0) + facts.slack(lines, AGREEMENT)
    wrong = {
        "its tier is none of its verdict": told & ~of_verdict & (known | undecided),
        "its tier is certified, and not every target has a certified bound above zero": (
            rows["tier"].eq("certified").to_numpy() & of_verdict & ~proven
        ),
        "its tier is not what it says of its witness in floating point": at_odds,
        "a safety is below zero": _of_rows(facts, lines["safety"] < 0),
        "a bound has no safety and is not certified": _of_rows(facts, unproven & lines["lower"].notna()),
        "a certified bound is above the optimum of its own model": _of_rows(facts, optimal & above),
    }
    return Result(int(told.sum()), _conflicts(facts, wrong))


def classes(facts: Facts) -> Result:
    """A verified row has bounds for all classes of its network but its label, unless it says that it is about one.

    A network has the classes that any row of it names, and those between them.
    """
    lines, rows = facts.lines, facts.rows
    row = lines["row"].to_numpy()
    named = pd.Series(lines["target"].to_numpy()).groupby(rows["network_digest"].to_numpy(dtype=object)[row]).max()
    digests = rows["network_digest"].astype(object)
    labels = rows["label"].groupby(digests).max()
    most = digests.map(named).combine(digests.map(labels), np.fmax).to_numpy(dtype=float, na_value=np.nan)
    others = lines["target"].to_numpy() != rows["label"].fillna(-1).to_numpy()[row]
    pairs = lines.loc[others, ["row", "target"]].drop_duplicates()
    count = np.bincount(pairs["row"], minlength=len(rows))
    asked = (rows["verdict"].eq("verified") & rows["target"].isna() & rows["label"].notna()).to_numpy(dtype=bool)
    wrong = {"it is verified without all classes of its network": asked & (count < most)}
    return Result(int(asked.sum()), _conflicts(facts, wrong))


def _of_rows(facts: Facts, lines: pd.Series[bool] | Mask, *, every: bool = False) -> Mask:
    """The rows of which one of the lines is among these, or every one."""
    row, there = facts.lines["row"].to_numpy(), np.asarray(lines)
    found = np.zeros(len(facts.rows), dtype=bool)
    found[row[there]] = True
    if every:
        found[row[~there]] = False
    return found


def _conflicts(facts: Facts, wrong: dict[str, Mask]) -> list[Conflict]:
    """A conflict for each row that is wrong, with what it says."""
    verdict, tier = (facts.rows[name].astype(object).fillna("") for name in ("verdict", "tier"))
    return [
        Conflict(message, (Claim(int(row), ", ".join(filter(None, (verdict[row], tier[row]))) or "no verdict"),))
        for message, rows in wrong.items()
        for row in np.flatnonzero(rows)
    ]
