"""Lower bounds of the methods against each other, and what they cost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.report.frame import INSTANCE, answers_margins
from bench.report.instances import EPSILON_FORMAT, by_setup, flat
from bench.report.labels import method_rank
from bench.report.render import Format, Table, count, number, ratio


def gap_table(results: pd.DataFrame) -> Table:
    """How far each setup's lower bounds are from the best known upper ones, for each epsilon and setup."""
    owing = by_setup(results[results["owes_bounds"]])
    gaps = owing["bound_gap"]
    frame = pd.DataFrame({"n": gaps.size(), "bound gap": gaps.mean(), "no bound": gaps.size() - gaps.count()})
    left_out = [] if frame["no bound"].any() else ["no bound"]
    formats: dict[str, Format] = {**EPSILON_FORMAT, "n": count, "bound gap": number, "no bound": count}
    return Table("Bound gaps", flat(frame.drop(columns=left_out)), formats, (GAP_TERM, SIGN_TERM), grouped="epsilon")


GAP_TERM = (
    "bound gap: best known upper bound of a margin, by any method on the same instance, minus the lower bound; mean "
    "over the targets, then over the instances. Those without a finite bound for every target are left out and stand "
    "under `no bound`."
)
SIGN_TERM = "Rows with goal verdict, staged ones among them, are left out: they answer a sign, not a margin."


def tightness_tables(labelled: pd.DataFrame, targets: pd.DataFrame) -> list[Table]:
    """Mean lower bound of each method over common targets, and ratios of time, for each epsilon and variant."""
    lines = pd.DataFrame(_lines(labelled[answers_margins(labelled)], targets))
    if lines.empty:
        return []
    keys = ["epsilon"] + (["variant"] if lines["variant"].any() else [])
    ratios = [str(name) for name in lines if "/" in str(name)]
    means = sorted(set(map(str, lines)) - {"epsilon", "variant", "targets", *ratios}, key=method_rank)
    lines["variant"] = lines["variant"].replace("", "usual")
    formats: dict[str, Format] = {**EPSILON_FORMAT, "targets": count, **dict.fromkeys(means, number)}
    formats |= dict.fromkeys(ratios, ratio)
    bounds, costs = lines[[*keys, "targets", *means]], lines[[*keys, *ratios]]
    tables = [
        Table("How tight the bounds are", bounds, formats, (BOUND_TERM, SIGN_TERM), grouped="epsilon"),
        Table("What tighter bounds cost", costs, formats, (COST_TERM,), grouped="epsilon"),
    ]
    return tables if ratios else tables[:1]


BOUND_TERM = (
    "Mean lower bound on the margin over the targets for which every method shown has one, medians over repeats; "
    "a MILP that met its time limit counts with the bound that it had. usual: every switch at its usual value."
)
COST_TERM = "Total seconds of one method over those of another, on the instances of those targets."


def _lines(labelled: pd.DataFrame, targets: pd.DataFrame) -> list[dict[str, Any]]:
    bounds = targets.join(labelled[["epsilon", "method", "variant", "total_s"]], on="row", how="inner")
    lines: list[dict[str, Any]] = []
    for variant, part in _by_variant(bounds):
        for epsilon, here in part.groupby("epsilon"):
            compared = compare_methods(here)
            lines += [{"epsilon": epsilon, "variant": variant, **compared}] if compared else []
    return sorted(lines, key=lambda line: line["epsilon"])


def _by_variant(bounds: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each variant with the methods that have no other: interval bounds or a method with one solver, for instance."""
    single = bounds.groupby("method")["variant"].transform("nunique") == 1
    for variant in sorted(bounds.loc[~single, "variant"].unique()) or [""]:
        yield str(variant), bounds[single | (bounds["variant"] == variant)]


def compare_methods(bounds: pd.DataFrame) -> dict[str, float]:
    """Means over common targets and ratios of time, from `by_target` lines with `method` and `total_s`.

    Empty where fewer than two methods have a bound in common.
    """
    keys = [*INSTANCE, "target"]
    lower = _spread(bounds, keys, "lower")
    if lower.shape[1] < 2 or not len(lower):
        return {}
    spent = _spread(bounds, INSTANCE, "total_s")
    seconds_of = (
        spent.loc[lower.reset_index().set_index(INSTANCE).index.unique().intersection(spent.index)].sum().to_dict()
    )
    methods = [str(method) for method in lower.columns]
    means = {method: float(lower[method].mean()) for method in methods}
    pairs = [(slow, fast) for fast, slow in itertools.pairwise(methods) if seconds_of.get(fast) and slow in seconds_of]
    return {"targets": len(lower), **means, **{f"{a} /\n{b}": seconds_of[a] / seconds_of[b] for a, b in pairs}}


def _spread(bounds: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """One column a method that has values; only the lines that all of them have."""
    medians = bounds.groupby([*keys, "method"], dropna=False)[value].median().unstack("method")
    present = medians.dropna(axis=1, how="all").dropna()
    return present[sorted(map(str, present.columns), key=method_rank)]
