"""What a row must be by itself: what it claims against what it was asked, and against what it shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.judge.conflict import Claim, Conflict, Result, Trust
from bench.judge.facts import AGREEMENT, SHARE, Facts, lines_of
from bench.verdict import DONE

OPTIMAL = "optimal"
# A box of inputs has an image, and every image has finite margins: no model of margins is any of these.
WITHOUT_OPTIMUM = ("infeasible", "unbounded", "infeasible_or_unbounded")
# Of a solution, in the model's units: a hundred times the feasibility tolerance asked (`solvers.backend`), as solvers
# hold it in their own scaled and presolved models only.
VIOLATION = 1e-5


def gap(facts: Facts) -> Result:
    """A MILP that is called optimal has the gap that was asked, up to the safety with which its bound is taken."""
    rows = facts.rows
    of_rows = rows["method"].eq("milp") & rows["mip_gap"].notna() & rows["owes_margins"]
    asked = _lines(facts, of_rows, ["gap", "safety", "lower"], [OPTIMAL])
    asked = asked[asked["safety"] > 0]  # else its bound is not the solver's
    # A gap is relative to the margin, or to one; what a solver was asked is relative to the scale too.
    # In units of a power of two next to the model's largest term.
    absolute = asked["safety"] + facts.slack(asked, 1.5 / SHARE * _of(rows["mip_gap"], asked))
    tolerance = np.fmax(_of(rows["mip_gap"], asked), absolute / asked["lower"].abs().clip(lower=1.0))
    wrong = asked.assign(value=asked["gap"], tolerance=tolerance)[~(asked["gap"] <= tolerance)]
    return _result(len(asked), wrong, "called optimal with a larger gap than asked", "relative gap")


def duals(facts: Facts) -> Result:
    """An LP that is called optimal has the value that its own duals certify, by strong duality."""
    of_rows = facts.rows["method"].eq("lp") & facts.rows["owes_margins"]
    asked = _lines(facts, of_rows, ["safety", "claimed", "lower"], [OPTIMAL])
    asked = asked[asked["safety"].eq(0)].dropna(subset=["claimed", "lower"])
    tolerance = facts.slack(asked, AGREEMENT, "claimed")
    wrong = asked.assign(value=asked["claimed"], tolerance=tolerance)[asked["claimed"] > asked["lower"] + tolerance]
    return _result(len(asked), wrong, "its duals do not certify the bound that it claims", "claim", "lower")


def feasible(facts: Facts) -> Result:
    """No model of margins is infeasible or unbounded; one with a row for a counterexample may be infeasible."""
    rows = facts.rows
    of_rows = rows["by_solver"] & (rows["owes_margins"] | rows["method"].eq("lp"))
    wrong = _lines(facts, of_rows, ["status"], WITHOUT_OPTIMUM).drop_duplicates(["row", "status"])
    conflicts = [
        Conflict("the image itself is feasible", (Claim(line.row, f"status {line.status}"),), int(line.target))
        for line in lines_of(wrong)
    ]
    return Result(int(facts.where(of_rows).sum()), conflicts)


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
    rows = facts.rows
    of_rows = rows["method"].eq("milp") & rows["owes_margins"] & rows["query"].ne("maximum").fillna(True)
    asked = _lines(facts, of_rows, ["lower", "upper", "gap", "safety"], DONE)
    asked = asked[asked["safety"] > 0].dropna(subset=["lower", "upper", "gap"])  # without a gap there is no solution
    tolerance = asked["safety"] + facts.slack(asked, AGREEMENT + _of(rows["mip_gap"].fillna(0.0), asked), "upper")
    wrong = asked.assign(value=asked["lower"], tolerance=tolerance)[asked["upper"] > asked["lower"] + tolerance]
    return _result(len(asked), wrong, "no input that it found has the optimum that it claims", "optimum", "upper")


def _lines(facts: Facts, of_rows: pd.Series[bool], names: list[str], statuses: Collection[str]) -> pd.DataFrame:
    """Columns of the lines of some rows that ended with one of the statuses."""
    asked = facts.where(of_rows) & facts.lines["status"].isin(list(statuses)).to_numpy()
    return facts.lines[["row", "target", *names]][asked]


def _of(values: pd.Series[float], lines: pd.DataFrame) -> NDArray[np.float64]:
    """For each line its row's value."""
    return np.asarray(values.to_numpy()[lines["row"].to_numpy()])


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
