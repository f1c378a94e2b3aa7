"""What a row must be by itself: what it claims against what it was asked, and against what it shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bench.judge.conflict import Claim, Conflict, Result, Trust
from bench.judge.facts import AGREEMENT, Facts, lines_of
from bench.verdict import DONE

OPTIMAL = "optimal"
# A box of inputs has an image, and every image has finite margins: no model of margins is any of these.
WITHOUT_OPTIMUM = ("infeasible", "unbounded", "infeasible_or_unbounded")
# Of a solution, in the model's units: a hundred times the feasibility tolerance asked (`solvers.backend`), as solvers
# hold it in their own scaled and presolved models only.
VIOLATION = 1e-5


def gap(facts: Facts) -> Result:
    """A MILP that is called optimal has the gap that was asked, up to the safety with which its bound is taken."""
    lines = facts.lines
    asked = lines[lines["status"].eq(OPTIMAL) & lines["method"].eq("milp") & lines["mip_gap"].notna()]
    asked = asked[asked["owes_margins"]]
    tolerance = asked["mip_gap"] + asked["safety"] / asked["lower"].abs().clip(lower=1.0)
    wrong = asked.assign(value=asked["gap"], tolerance=tolerance)[~(asked["gap"] <= tolerance)]
    return _result(len(asked), wrong, "called optimal with a larger gap than asked", "relative gap")


def duals(facts: Facts) -> Result:
    """An LP that is called optimal has the value that its own duals certify, by strong duality."""
    lines = facts.owed
    asked = lines[lines["status"].eq(OPTIMAL) & lines["method"].eq("lp") & lines["safety"].eq(0)]
    asked = asked.dropna(subset=["claimed", "lower"])
    tolerance = AGREEMENT * asked["claimed"].abs().clip(lower=1.0)
    wrong = asked.assign(value=asked["claimed"], tolerance=tolerance)[asked["claimed"] > asked["lower"] + tolerance]
    return _result(len(asked), wrong, "its duals do not certify the bound that it claims", "claim", "lower")


def feasible(facts: Facts) -> Result:
    """No model of margins is infeasible or unbounded; one with a row for a counterexample may be infeasible."""
    lines = facts.lines
    asked = lines[lines["by_solver"] & (lines["owes_margins"] | lines["method"].eq("lp"))]
    wrong = asked[asked["status"].isin(WITHOUT_OPTIMUM)].drop_duplicates(["row", "status"])
    conflicts = [
        Conflict("the image itself is feasible", (Claim(line.row, f"status {line.status}"),), int(line.target))
        for line in lines_of(wrong)
    ]
    return Result(len(asked), conflicts)


def solution(facts: Facts) -> Result:
    """What a solver hands over as a solution satisfies the model's rows, bounds and integrality."""
    asked = facts.rows.dropna(subset="violation")
    wrong = asked[asked["violation"] > VIOLATION]
    conflicts = [
        Conflict("a solution violates the model", (Claim(line.Index, "violation", line.violation),), None, VIOLATION)
        for line in lines_of(wrong)
    ]
    return Result(len(asked), conflicts)


def attained(facts: Facts) -> Result:
    """The optimum of a MILP is the margin of an input: of that which it hands over, run forward through the network."""
    lines = facts.owed
    asked = lines[lines["status"].isin(DONE) & lines["method"].eq("milp") & lines["query"].ne("maximum")]
    asked = asked.dropna(subset=["lower", "upper"])
    size = asked["upper"].abs().clip(lower=1.0)
    tolerance = asked["safety"] + (AGREEMENT + asked["mip_gap"].fillna(0.0)) * size
    wrong = asked.assign(value=asked["lower"], tolerance=tolerance)[asked["upper"] > asked["lower"] + tolerance]
    return _result(len(asked), wrong, "no input that it found has the optimum that it claims", "optimum", "upper")


def consistent(facts: Facts) -> Result:
    """A verdict follows from the row's own numbers: every bound beyond its safety, or an input below zero."""
    rows = facts.rows[facts.rows["verdict"].isin(["verified", "falsified"])]
    lines = facts.lines[facts.lines["row"].isin(rows.index)]
    proved = (lines["lower"] > lines["safety"].where(lines["told"], 0.0)).groupby(lines["row"]).all()
    refuted = (lines["upper"] < 0).groupby(lines["row"]).any()
    verified = rows["verdict"].eq("verified")
    carried = (verified & rows.index.isin(proved.index[proved])) | (~verified & rows.index.isin(refuted.index[refuted]))
    conflicts = [
        Conflict("its own numbers do not carry its verdict", (Claim(int(row), str(rows["verdict"][row])),))
        for row in rows.index[~carried]
    ]
    return Result(len(rows), conflicts)


def _result(tested: int, wrong: pd.DataFrame, message: str, said: str, against: str = "") -> Result:
    names = {"lower": "certified", "upper": "the least margin of its inputs"}
    conflicts = [
        Conflict(message, tuple(_claims(line, said, against, names)), int(line.target), line.tolerance)
        for line in lines_of(wrong)
    ]
    return Result(tested, conflicts)


def _claims(line: Any, said: str, against: str, names: dict[str, str]) -> Iterable[Claim]:
    yield Claim(line.row, said, line.value)
    if against:
        yield Claim(line.row, names[against], getattr(line, against), trust=Trust.INPUT)
