"""Setups against each other: the same instances by every method, solver and switch."""

from __future__ import annotations

import pandas as pd

from bench.report.frame import DECIDED, INSTANCE
from bench.report.render import Format, Table, count, ratio, seconds

SHOWN = 5  # contradictions; the first few say what is wrong
TITLE = "Setups against each other"


def setup_table(results: pd.DataFrame) -> Table:
    """Verdicts and total time of every setup, over the instances that all of them measured."""
    common = _common(results)
    if common["setup"].nunique() < 2:
        return Table(TITLE, pd.DataFrame())
    ended = common.assign(decided=common["outcome"].isin(DECIDED), **{n: common["outcome"].eq(n) for n in HEADERS})
    frame = ended.groupby("setup")[["decided", *HEADERS, "at_limit", "measured_s"]].sum()
    frame = frame.sort_values(["decided", "measured_s"], ascending=[False, True])
    frame["ratio"] = frame["measured_s"] / frame["measured_s"].iloc[0]
    limited = bool(frame["at_limit"].any())
    left_out = ["decided"] if limited else ["decided", "at_limit"]
    shown = frame.drop(columns=left_out).reset_index().rename(columns=HEADERS | OTHER_HEADERS)
    terms = (FIRST_TERM, LIMIT_TERM) if limited else (FIRST_TERM,)
    return Table(TITLE, shown, FORMATS, terms, (_stated(common),))


HEADERS = {"verified": "veri-\nfied", "falsified": "falsi-\nfied", "unknown": "un-\nknown"}
OTHER_HEADERS = {
    "setup": "method",
    "at_limit": "at\nlimit",
    "measured_s": "total\ntime",
    "ratio": "times\nthe first",
}
FORMATS: dict[str, Format] = {
    **dict.fromkeys([*HEADERS.values(), "at\nlimit"], count),
    "total\ntime": seconds,
    "times\nthe first": ratio,
}
FIRST_TERM = "The first one is the fastest of those that decide the most instances."
LIMIT_TERM = "at limit: instances that met the time limit and count with the time that they took."


def _common(results: pd.DataFrame) -> pd.DataFrame:
    """The lines of the instances that every setup measured; setups that measured nothing are left out."""
    measured = results[results["measured_s"].notna()]
    setups = measured.groupby(INSTANCE, dropna=False)["setup"].transform("nunique")
    return measured[setups == measured["setup"].nunique()]


def _stated(common: pd.DataFrame) -> str:
    instances = len(common[INSTANCE].drop_duplicates())
    return f"Over the {instances} instance{'s' * (instances != 1)} that every setup measured."


def setup_lines(labelled: pd.DataFrame, results: pd.DataFrame) -> list[str]:
    """What there is to say of the setups before any table: contradictions, and why they are not compared."""
    nothing = results["setup"].nunique() > 1 and _common(results).empty
    return contradictions(labelled) + (["No instance was measured by every setup."] if nothing else [])


def contradictions(labelled: pd.DataFrame) -> list[str]:
    """A line for each instance that one row verified and another one falsified: one of the two is wrong."""
    decided = labelled[labelled["outcome"].isin(DECIDED)]
    asked = [rows for _, rows in decided.groupby(INSTANCE, dropna=False, sort=False)]
    lines = [_contradiction(rows) for rows in asked if rows["outcome"].nunique() > 1]
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"And {more} more contradictions."] if more > 0 else [])]


def _contradiction(rows: pd.DataFrame) -> str:
    setups = {name: ", ".join(part.unique()) for name, part in rows.groupby("outcome")["setup"]}
    where = f"image {rows['image'].iloc[0]}, epsilon {rows['epsilon'].iloc[0]:g}"
    return f"Contradiction on {where}: verified by {setups['verified']}; falsified by {setups['falsified']}."
