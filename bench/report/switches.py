"""What each switch does: pairs of rows that differ in nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bench.choices import SWITCHES
from bench.report.frame import DECIDED, INSTANCE
from bench.report.instances import once
from bench.report.render import Format, Table, count, ratio
from bench.row import SETUP

SAME = [*INSTANCE, "method", "solver", *(name for name in SETUP if name not in SWITCHES)]
SIZES = {"counter.binaries": "bina-\nries", "counter.rows": "rows"}
MEASURED = ["outcome", "measured_s", "at_limit", *SIZES]
TITLE = "What the switches do"


def switch_table(labelled: pd.DataFrame) -> Table:
    """Every switch's values against the usual one, over pairs of rows that are equal otherwise."""
    settings = _per_settings(labelled[labelled["solver"].notna()])
    compared = [_compared(pairs) for switch in SWITCHES for pairs in _pairs(settings, switch)]
    frame = pd.DataFrame(compared)
    if frame.empty:
        return Table(TITLE, frame)
    left_out = [name for name, plain in PLAIN.items() if frame[name].isin([plain, np.nan]).all()]
    left_out += ["method"] if frame["method"].nunique() == 1 else []
    return Table(TITLE, frame.drop(columns=left_out), FORMATS, SWITCH_TERMS, grouped="switch")


FORMATS: dict[str, Format] = {
    "n": count,
    "time": ratio,
    "won:\nlost": str,
    "at\nlimit": count,
    **dict.fromkeys(SIZES.values(), ratio),
    "only\nby": str,
}
PLAIN = {"at\nlimit": 0.0, **dict.fromkeys(SIZES.values(), 1.0)}  # a column of nothing else says nothing
SWITCH_TERMS = (
    "n: pairs of rows on the same instance that differ in this switch alone: method, solver, limits, tolerances, "
    "threads and all other switches are equal. A switch that means nothing to one of the two counts as equal. Repeats "
    "count once, by their median time and weakest outcome. Both must have been solved, or have met the time limit: "
    "such a time counts as it is, and the pair under `at limit`.",
    "time: geometric mean, over the pairs, of the first one's total time over the other's. won: lost: pairs in "
    "which the first one took less time : more. binaries, rows: of all models of the first over those of the other.",
    "only by: pairs, measured to the end or not, in which only the first one has a verdict : only the other one.",
)


def _per_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """One line an instance and settings; switches that mean nothing to a row at their usual value."""
    filled = rows.assign(
        **{name: rows[name].astype(str).fillna(values[0]) for name, values in SWITCHES.items()},
        **{name: rows.get(name, np.nan) for name in SIZES},
    )
    sizes = {name: (name, "first") for name in SIZES}
    return once(filled, [*SAME, *SWITCHES], **sizes)


def _pairs(settings: pd.DataFrame, switch: str) -> Iterator[pd.DataFrame]:
    """For every method, solver and value: its lines beside those of the first value that occurs, as `NAME_other`."""
    if settings[switch].nunique() < 2:
        return
    others = [name for name in [*SAME, *SWITCHES] if name != switch]
    numbered = settings.assign(others=settings.groupby(others, dropna=False, sort=False).ngroup())[
        ["others", "method", "solver", switch, *MEASURED]
    ]
    for _, part in numbered.groupby(["method", "solver"], observed=True):
        first_of = sorted(part[switch].unique(), key=lambda value: _place(switch, value))
        for value in first_of[1:]:
            first, other = part[part[switch] == value], part[part[switch] == first_of[0]]
            pairs = first.merge(other, on=["others", "method", "solver"], suffixes=("", "_other"))
            if len(pairs):
                yield pairs.assign(switch=switch, value=f"{value} / {first_of[0]}")


def _place(switch: str, value: str) -> tuple[int, str]:
    """Sorts the values of a switch: those that are known first, the usual one before them all."""
    known = SWITCHES[switch]
    return (known.index(value) if value in known else len(known), value)


def _compared(pairs: pd.DataFrame) -> dict[str, Any]:
    """One line of the table."""
    timed = pairs[(pairs["measured_s"] > 0) & (pairs["measured_s_other"] > 0)]
    quotient = timed["measured_s"] / timed["measured_s_other"]
    first, other = pairs["outcome"].isin(DECIDED), pairs["outcome_other"].isin(DECIDED)
    return {
        "switch": pairs["switch"].iloc[0],
        "value": pairs["value"].iloc[0],
        "method": f"{pairs['method'].iloc[0]} {pairs['solver'].iloc[0]}",
        "n": len(timed),
        "time": np.exp(np.log(quotient).mean()),
        "won:\nlost": f"{(quotient < 1).sum()}:{(quotient > 1).sum()}",
        "at\nlimit": int((timed["at_limit"] | timed["at_limit_other"]).sum()),
        **{header: _ratio_of_sums(pairs, name) for name, header in SIZES.items()},
        "only\nby": f"{(first & ~other).sum()}:{(other & ~first).sum()}",
    }


def _ratio_of_sums(pairs: pd.DataFrame, name: str) -> float:
    """NaN where there is nothing to compare with."""
    both = pairs[[name, f"{name}_other"]].astype(float).dropna().sum()
    return both[name] / both[f"{name}_other"] if both[f"{name}_other"] else np.nan
