"""How rows ended: what a status, an outcome, a reason and a tier are, worked out for all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.choices import BY_PROPAGATION
from bench.columns import Columns, repeated
from bench.verdict import DONE

CONTRADICTED = "contradicted"  # the outcome of a row that the judge does not believe
OUTCOMES = [CONTRADICTED, "failed", "unknown", "falsified", "verified"]  # from the weakest to the strongest
UNMEASURED = (CONTRADICTED, "failed")  # their bounds and seconds are no measurement
DECIDED = ("falsified", "verified")
SOLVED = frozenset({*DONE, "infeasible", "target_reached"})  # how a target ends that lacks nothing for its question
SKIPPED = "skipped"  # a target that was not asked: no lack where another one decided the instance


def ends(columns: Columns, rows: pd.DataFrame) -> dict[str, Any]:
    """The columns `failed`, `status`, `solved`, `tier`, `outcome` and `reason` of `bench.report.frame.tidy`.

    Parameters
    ----------
    columns : Columns
    rows : DataFrame
        Their single values.
    """
    asked = rows["kind"].eq("verify")
    failed = pd.Series(columns.failed, index=rows.index)
    status = pd.Series(row_status(columns), index=rows.index).astype(str)
    outcome = rows["verdict"].fillna("unknown").mask(failed, "failed")
    return {
        "failed": failed,
        "status": status.where(asked),
        "solved": asked & ~failed & _nothing_left(columns, rows),
        "tier": _tier(rows, asked),
        "outcome": outcome.where(asked),
        "reason": _reason(rows, status, failed),
    }


def row_status(columns: Columns) -> pd.Categorical:
    """The status of a row: `error`, else that of the first target that was not solved, else that of the first asked."""
    lengths, words = columns.statuses
    words = words.add_categories([word for word in ("error", "unknown") if word not in words.categories])
    row = repeated(lengths)
    codes = np.full(len(lengths), words.categories.get_loc("unknown"), dtype=words.codes.dtype)
    # From the least telling to the most: each one that is there takes the place of those before.
    for telling in (np.ones(len(row), dtype=bool), ~words.isin([SKIPPED]), _unsolved(columns, row)):
        codes[row[telling][::-1]] = words.codes[telling][::-1]  # of several the first is written last
    error = columns.table["error"].to_pandas()
    codes[(error.notna() & error.ne("")).to_numpy()] = words.categories.get_loc("error")
    return pd.Categorical.from_codes(codes, words.categories)


def _unsolved(columns: Columns, row: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which targets were not solved to the end; of a decided row those that were not asked lack nothing."""
    words = columns.statuses[1]
    decided = columns.table["verdict"].to_pandas().isin(DECIDED).to_numpy()
    return np.asarray(~words.isin([*SOLVED]) & ~(words.isin([SKIPPED]) & decided[row]))


def _nothing_left(columns: Columns, rows: pd.DataFrame) -> pd.Series[bool]:
    """Every target solved; where the verdict was the goal, a verdict suffices."""
    lengths = columns.statuses[0]
    row = repeated(lengths)
    left = np.zeros(len(lengths), dtype=bool)
    left[row[_unsolved(columns, row)]] = True
    return (rows["goal"].eq("verdict") & rows["verdict"].isin(DECIDED)) | ((lengths > 0) & ~left)


def _reason(rows: pd.DataFrame, status: pd.Series[str], failed: pd.Series[bool]) -> pd.Series[str]:
    """Why a row is unknown or failed."""
    undecided = rows["verdict"].eq("unknown")  # rows of schema 1 say no reason
    guessed = status.str.replace("_", " ").mask(status.isin(SOLVED), "not decided").where(undecided)
    reasons: pd.Series[str] = rows["reason"].where(rows["reason"].ne("")).fillna(guessed)
    kinds = rows["error"].where(rows["error"].ne("")).str.replace("(?s):.*", "", regex=True)
    return reasons.mask(failed, ("error: " + kinds).fillna("error: of the solver"))


def _tier(rows: pd.DataFrame, asked: pd.Series[bool]) -> pd.Series[str]:
    """What the verdict rests on; of rows before schema 3 as far as it is plain."""
    single = rows["witness_single"]
    witnessed = rows["verdict"].eq("falsified") & single.notna()
    proved = rows["verdict"].eq("verified") & rows["method"].isin(BY_PROPAGATION)
    untold = asked & (rows["tier"].isna() | rows["tier"].eq(""))
    tiers: pd.Series[str] = rows["tier"].mask(untold & proved, "certified")
    tiers = tiers.mask(untold & witnessed & single.eq(True).fillna(False), "float32")
    return tiers.mask(untold & witnessed & single.eq(False).fillna(False), "float64")
