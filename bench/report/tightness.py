"""Lower bounds of the methods against each other, and what they cost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.report.frame import INSTANCE, answers_margins
from bench.report.instances import EPSILON_FORMAT, by_setup, flat
from bench.report.labels import method_rank
from bench.report.render import Format, Table, count, number, ratio

AGAINST = " /\n"  # between two methods, in the name of their ratio


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
    ratios = [str(name) for name in lines if AGAINST in str(name)]
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
    row = targets["row"].to_numpy()
    inside = np.zeros(1 + max(row.max(initial=0), max(labelled.index, default=0)), dtype=bool)
    inside[labelled.index] = True
    bounds = targets.loc[inside[row], ["row", *INSTANCE, "target", "lower"]]
    of_line = labelled.index.get_indexer(pd.Index(bounds["row"]))
    methods = labelled["method"].astype("category")
    bounds = bounds.assign(method=methods.array[of_line], total_s=labelled["total_s"].to_numpy()[of_line])
    lines: list[dict[str, Any]] = []
    for variant, of_variant in _by_variant(labelled):
        for epsilon in sorted(labelled.loc[of_variant, "epsilon"].unique()):
            here = of_variant & labelled["epsilon"].eq(epsilon).to_numpy()
            compared = compare_methods(bounds[here[of_line]])
            lines += [{"epsilon": epsilon, "variant": variant, **compared}] if compared else []
    return sorted(lines, key=lambda line: line["epsilon"])


def _by_variant(labelled: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each variant with the rows of the methods that have no other: bounds by propagation, or one solver's."""
    kinds = labelled.groupby("method")["variant"].nunique()
    single = labelled["method"].isin(kinds.index[kinds == 1]).to_numpy()
    for variant in sorted(labelled.loc[~single, "variant"].unique()) or [""]:
        yield str(variant), single | labelled["variant"].eq(variant).to_numpy()


def compare_methods(bounds: pd.DataFrame) -> dict[str, float]:
    """Means over common targets and ratios of time, from lines of `by_target` with `method` and `total_s`.

    Empty where fewer than two methods have a bound in common.
    """
    lower = _spread(bounds, [*INSTANCE, "target"], "lower")
    if lower.shape[1] < 2 or not len(lower):
        return {}
    spent = _spread(bounds.drop_duplicates("row"), INSTANCE, "total_s")
    seconds_of = spent[spent.index.isin(lower.index)].sum().to_dict()
    methods = [str(method) for method in lower.columns]
    means = {method: float(lower[method].mean()) for method in methods}
    pairs = [(slow, fast) for fast, slow in itertools.pairwise(methods) if seconds_of.get(fast) and slow in seconds_of]
    return {"targets": len(lower), **means, **{f"{a}{AGAINST}{b}": seconds_of[a] / seconds_of[b] for a, b in pairs}}


def _spread(bounds: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """One column a method that has values, by instance; medians over repeats, of lines that all methods have."""
    methods = bounds["method"].cat.categories
    group = bounds.groupby(keys, sort=False).ngroup().to_numpy()
    cells = group.astype(np.int64) * len(methods) + bounds["method"].cat.codes.to_numpy()
    grid = np.full((int(group.max(initial=-1)) + 1, len(methods)), np.nan)
    if np.bincount(cells, minlength=1).max() > 1:
        medians = bounds[value].groupby(cells).median()
        grid.flat[medians.index.to_numpy()] = medians.to_numpy()
    else:
        grid.flat[cells] = bounds[value].to_numpy()
    instance = np.zeros(len(grid), dtype=np.int64)
    instance[group] = bounds[INSTANCE[0]]
    present = pd.DataFrame(grid, index=instance, columns=methods.astype(str)).dropna(axis=1, how="all").dropna()
    return present[sorted(map(str, present.columns), key=method_rank)]
