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
WRONG = {"witness_double": "float64\nwrong", "witness_single": "float32\nwrong"}
RARE = (HEADERS["exact"], UNTOLD, *WRONG.values())  # columns that stand only where there is one such instance


def tier_table(results: pd.DataFrame) -> Table:
    """Verified and falsified instances by what carries the verdict, for each epsilon and setup."""
    decided = results[results["outcome"].isin(DECIDED)]
    if decided.empty:
        return Table(TITLE, decided[:0])
    verified = decided["outcome"].eq("verified")
    tiers = [*reversed(TIERS), *sorted({*decided["tier"].dropna()} - {*TIERS})]
    columns = {HEADERS.get(tier, tier): decided["tier"].eq(tier) for tier in tiers} | {UNTOLD: decided["tier"].isna()}
    columns |= {header: decided[name] & verified for name, header in WRONG.items()}
    frame = by_setup(decided.assign(**columns))[[*columns]].sum()
    left_out = [name for name in RARE if not frame[name].any()]
    formats: dict[str, Format] = {**EPSILON_FORMAT, **dict.fromkeys(columns, count)}
    terms = TIER_TERMS if {*WRONG.values()} <= {*left_out} else (*TIER_TERMS, WRONG_TERM)
    return Table(TITLE, flat(frame.drop(columns=left_out)), formats, terms, grouped="epsilon")


TIER_TERMS = (
    "certified: verified by bounds that hold in exact arithmetic. solver: verified by a solver's own dual bound beyond "
    "a safety margin. Of several repeats, or targets, the weakest counts.",
    "Falsified by an input that is misclassified in exact arithmetic, and in which floats too: float32: in float64 and "
    "float32. float64 only: in float64, not in float32. exact only: not in float64.",
)
WRONG_TERM = (
    "float64 wrong, float32 wrong: verified in real arithmetic, while a run in that arithmetic misclassifies an input "
    "of the ball by its rounding. These count beside what the verdict rests on."
)
