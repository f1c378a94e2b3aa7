"""From rows to one line an instance and setup, and the groups in which tables show these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from bench.report.frame import CONTRADICTED, INSTANCE, OUTCOMES, UNMEASURED, answers_margins
from bench.report.labels import method_rank
from bench.report.render import plain_number

TIMES = ["bounds_s", "build_s", "solve_s", "total_s"]
TIERS = ("exact", "float64", "float32", "solver", "certified")  # of a witness, of a bound: the weaker one first
FLOATS = ("witness_double", "witness_single")  # what a float run makes of the worst input, beside the verdict
RANKS = {outcome: rank for rank, outcome in enumerate(OUTCOMES)}
UNTOLD = -1  # the rank of a row that does not say its tier: of several repeats it counts
EPSILON_FORMAT = {"epsilon": plain_number}
EPSILON_HEADER = "eps-\nilon"  # in a table that needs the space


def by_network(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Networks by name; where two share a name, with the start of their digests."""
    for name, same_name in rows.groupby("network", observed=True):
        for digest, part in same_name.groupby("network_digest", observed=True):
            yield (f"{name} ({str(digest)[:8]})" if len(part) < len(same_name) else str(name)), part


def per_instance(labelled: pd.DataFrame) -> pd.DataFrame:
    """One line an instance and setup: medians over repeats and seeds, and the weakest outcome among them.

    `owes_bounds` says whether margins were asked for and a row has an answer, whatever it is.
    """
    others = sorted({*labelled["tier"].dropna().unique()} - {*TIERS})  # of another version: weaker than all of ours
    tiers = dict(enumerate((*others, *TIERS)))
    results = once(
        labelled.assign(
            tier_rank=labelled["tier"].map({tier: rank for rank, tier in tiers.items()}).fillna(UNTOLD),
            owes_bounds=answers_margins(labelled) & ~labelled["outcome"].isin(UNMEASURED),
            **{name: labelled[name].fillna(False).astype(bool) for name in FLOATS},
        ),
        [*INSTANCE, "epsilon", "method", "variant", "setup"],
        owes_bounds=("owes_bounds", "any"),
        tier_rank=("tier_rank", "min"),
        **{name: (name, "any") for name in FLOATS},
        **{name: (name, "median") for name in ["bound_gap", *TIMES]},
    )
    return results.assign(tier=results["tier_rank"].map(tiers))


def once(rows: pd.DataFrame, keys: Iterable[str], **columns: Any) -> pd.DataFrame:
    """One line for each value of `keys`: `outcome`, `at_limit`, `measured_s` and what `columns` asks of the groups.

    `measured_s` is the total time of what was solved or met the time limit: nothing else's time can be compared.
    """
    limited = at_limit(rows)
    measured_s = rows["total_s"].where(rows["solved"] | limited)
    ranked = rows.assign(rank=rows["outcome"].map(RANKS), at_limit=limited, measured_s=measured_s)
    ranked[TIMES] = ranked[TIMES].where(~ranked["outcome"].isin(UNMEASURED))
    always = {"rank": ("rank", "min"), "at_limit": ("at_limit", "any"), "measured_s": ("measured_s", "median")}
    results: pd.DataFrame = ranked.groupby(list(keys), dropna=False, sort=False).agg(**always, **columns).reset_index()
    return results.assign(outcome=results["rank"].map(dict(enumerate(OUTCOMES))))


def at_limit(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows the time limit ended before all was solved."""
    open_ = ~rows["solved"] & rows["outcome"].ne(CONTRADICTED)
    return open_ & (rows["status"].eq("time_limit") | rows["reason"].eq("time limit"))


def by_setup(results: pd.DataFrame) -> Any:
    """Groups by epsilon and setup, methods in the order of their tightness."""
    order = sorted(results["method"].unique(), key=method_rank)
    ordered = results.assign(order=results["method"].map({method: rank for rank, method in enumerate(order)}))
    return ordered.groupby(["epsilon", "order", "setup"], dropna=False)


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Groups `by_setup` as lines of a table."""
    return frame.reset_index().drop(columns="order").rename(columns={"setup": "method"})
