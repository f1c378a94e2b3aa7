"""What the verdicts rest on: exact arithmetic or a solver's word; of a witness, in which floats it is one too."""

from __future__ import annotations

import pandas as pd

from bench.report.frame import DECIDED
from bench.report.instances import EPSILON_FORMAT, TIERS, by_setup, flat
from bench.report.render import Format, Table, count

TITLE = "What the verdicts rest on"
UNTOLD = "not\nsaid"
HEADERS = {
    "certified": "certi-\nfied",
    "solver": "solver",
    "float32": "float32",
    "float64": "float64\nonly",
    "exact": "exact\nonly",
}
RARE = (HEADERS["exact"], UNTOLD)  # columns that stand only where there is one such instance


def tier_table(results: pd.DataFrame) -> Table:
    """Verified and falsified instances by what carries the verdict, for each epsilon and setup."""
    decided = results[results["outcome"].isin(DECIDED)]
    if decided.empty:
        return Table(TITLE, decided[:0])
    columns = {HEADERS[tier]: decided["tier"].eq(tier) for tier in reversed(TIERS)} | {UNTOLD: decided["tier"].isna()}
    frame = by_setup(decided.assign(**columns))[[*columns]].sum()
    left_out = [name for name in RARE if not frame[name].any()]
    formats: dict[str, Format] = {**EPSILON_FORMAT, **dict.fromkeys(columns, count)}
    return Table(TITLE, flat(frame.drop(columns=left_out)), formats, TIER_TERMS, grouped="epsilon")


TIER_TERMS = (
    "certified: verified by bounds that hold in exact arithmetic. solver: verified by a solver's own dual bound beyond "
    "a safety margin. Of several repeats, or targets, the weakest counts.",
    "float32: falsified by an input that is misclassified in exact arithmetic, in float64 and in float32. float64 "
    "only: not in float32. exact only: not in float64 either.",
)
