"""Nested brackets round the exact margin: what each method proves, and what attacks found, instance by instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.report.figures.points import DIGEST, instance_text
from bench.report.figures.theme import METHOD_COLOURS, METHOD_SHAPES, by_method, chart, named, rule, sized
from bench.report.frame import CONTRADICTED, Run, answers_margins
from bench.report.labels import method_rank
from bench.report.networks import Network
from bench.report.render import Figure, number, plain_number, seconds

INPUT = "input"  # beside the methods: the least margin that was found, whatever found it
FEWEST = 2  # methods that make a bracket worth drawing: one bar alone compares with nothing
MOST = 40  # instances of one figure
OF_ROW = ["network", "image", "epsilon", "method", "setup", "total_s", "outcome", "cell"]
ROW = 20  # pixels of an instance
THINNEST, THICKEST = 3, 15  # pixels of the tightest bracket and of the loosest
FAINT = 0.5  # of the loosest bracket, which is the largest by far
EXACT = 1e-4  # brackets no wider count as closed: solvers' tolerances are no narrower


def bracket_figure(run: Run, network: Network) -> Figure | None:
    """The brackets of at most MOST instances, evenly from all epsilons; None without any of FEWEST methods."""
    import altair as alt

    instances = _chosen(network)
    ends = _ends(run, network, instances)
    if ends.empty:
        return None
    order = ends.drop_duplicates("label")["label"].tolist()
    methods = [*sorted({*ends["method"]} - {INPUT}, key=method_rank), INPUT]
    look = _look(methods)
    y = alt.Y("label:N", title=None, sort=order, axis=alt.Axis(labelLimit=200, grid=False))
    scale = alt.Scale(type="symlog", constant=1, nice=False)
    axis = alt.Axis(values=_ticks(ends["value"]), format=",~r", labelOverlap="greedy")
    x = alt.X("value:Q", title="margin", scale=scale, axis=axis)
    sizes = np.linspace(THICKEST, THINNEST, max(len(methods) - 1, 2))
    bars = [
        chart(ends[ends["method"] == method])
        .mark_bar(size=size, opacity=FAINT if size == THICKEST else 1)
        .encode(x=x, x2="upper:Q", y=y, color=look["color"])
        for method, size in zip(methods, sizes.tolist(), strict=False)
        if method != INPUT
    ]
    points = chart(ends).mark_point(filled=True, size=55, opacity=1).encode(x=x, y=y, **look, tooltip=_tooltip())
    return Figure(
        named(f"bracket-{network.name}"),
        f"{network.name}: brackets round the exact margin",
        _text(ends),
        sized(alt.layer(*bars, rule(x=0), points), ROW * len(order) + 10),
        (BRACKET_TERM, *_left_out(network, len(order))),
    )


BRACKET_TERM = (
    "Each line is an instance, with its hardest target: the one with the least margin of any input that was found. A "
    "bar reaches from the best lower bound of a method, by any solver, to that margin (input). A bar of no width says "
    "that the margin is exact. A bar right of zero verifies, an input left of zero falsifies. The axis is linear near "
    "zero and logarithmic far from it. Rows with goal verdict are left out: they bound a sign."
)


def _chosen(network: Network) -> list[int]:
    """Instances that the most methods bounded, as many of every epsilon; none that fewer than FEWEST did."""
    rows = network.labelled
    bounded = rows.loc[answers_margins(rows) & rows["lower_min"].notna(), ["instance", "method", "epsilon", "image"]]
    by_instance = bounded.groupby("instance", observed=True)
    frame = by_instance.agg(methods=("method", "nunique"), epsilon=("epsilon", "first"), image=("image", "first"))
    frame = frame[frame["methods"] >= FEWEST].sort_values(["methods", "image"], ascending=[False, True], kind="stable")
    share = max(1, MOST // max(frame["epsilon"].nunique(), 1))
    chosen = frame.groupby("epsilon").head(share).sort_values(["epsilon", "image"], kind="stable")
    return chosen.head(MOST).index.tolist()


def _ends(run: Run, network: Network, instances: Sequence[int]) -> pd.DataFrame:
    """One line an instance and method, and one for the best input: `value`, `upper`, and what a point says of it."""
    targets = run.targets[run.targets["instance"].isin(list(instances))]
    rows = network.labelled.loc[network.labelled.index.isin(targets["row"])]
    believed = rows.loc[rows["outcome"] != CONTRADICTED, OF_ROW].assign(of_margins=answers_margins(rows))
    believed = believed.astype({"method": object})
    lines = targets.merge(believed, left_on="row", right_index=True)
    found = lines[lines["upper"].notna()]
    best = found.loc[found.groupby(["instance", "target"])["upper"].idxmin()].sort_values("upper", kind="stable")
    hardest = best.drop_duplicates("instance")
    inputs = hardest.assign(method=INPUT, value=hardest["upper"])
    asked = lines.merge(hardest[["instance", "target", "upper"]], on=["instance", "target"], suffixes=("_row", ""))
    asked = asked[asked["of_margins"] & asked["lower"].notna()].assign(value=asked["lower"])
    tightest = asked.loc[asked.groupby(["instance", "method"], observed=True)["value"].idxmax()]
    ends = pd.concat([tightest, inputs]).assign(method=lambda f: f["method"].astype(str))
    return _described(ends[ends["instance"].isin(tightest["instance"])], instances)


def _described(ends: pd.DataFrame, instances: Sequence[int]) -> pd.DataFrame:
    """The lines in the order of the chart: instances as chosen, the loosest method first."""
    methods = [*sorted({*ends["method"]} - {INPUT}, key=method_rank), INPUT]
    ranks = {method: rank for rank, method in enumerate(methods)}
    places = {instance: place for place, instance in enumerate(instances)}
    frame = ends.assign(place=ends["instance"].map(places), rank=ends["method"].map(ranks))
    frame = frame.sort_values(["place", "rank"], kind="stable")
    texts = [*zip(frame["network"], frame["image"], frame["epsilon"], strict=True)]
    return pd.DataFrame(
        {
            "label": [
                f"{epsilon:g}, image {image}" for epsilon, image in zip(frame["epsilon"], frame["image"], strict=True)
            ],
            "method": frame["method"].to_numpy(),
            "value": frame["value"].to_numpy(),
            "upper": frame["upper"].to_numpy(),
            "instance": [instance_text(*values) for values in texts],
            "target": frame["target"].to_numpy(),
            "who": frame["setup"].astype(str).to_numpy(),
            "time": [seconds(value) if np.isfinite(value) else "-" for value in frame["total_s"]],
            "ended": frame["outcome"].astype(str).to_numpy(),
            "cell": frame["cell"].astype(str).str[:DIGEST].to_numpy(),
            "epsilon": frame["epsilon"].to_numpy(),
        }
    )


def _tooltip() -> list[Any]:
    import altair as alt

    told = {"value": "margin", "target": "target", "who": "by"}
    told = {"instance": "instance", "method": "method"} | told | {"time": "time", "ended": "ended", "cell": "cell"}
    kinds = {"value": "Q"}
    return [alt.Tooltip(f"{name}:{kinds.get(name, 'N')}", title=title) for name, title in told.items()]


def _look(methods: Sequence[str]) -> dict[str, Any]:
    import altair as alt

    legend = alt.Legend(orient="top", columns=4, symbolSize=90)
    colours, shapes = by_method(methods, METHOD_COLOURS), by_method(methods, METHOD_SHAPES)
    return {
        "color": alt.Color("method:N", title=None, legend=legend, scale=alt.Scale(domain=list(methods), range=colours)),
        "shape": alt.Shape("method:N", title=None, legend=legend, scale=alt.Scale(domain=list(methods), range=shapes)),
    }


def _ticks(values: pd.Series) -> list[float]:
    """Zero, and on both sides 1, 10, 100, ... with halves between them, as far as there are values."""
    most = np.abs(values).max()
    sizes = [step * 10.0**power for power in range(max(int(np.log10(max(most, 1))), 0) + 1) for step in (1, 3)]
    return [0, *sizes, *(-size for size in sizes)]


def _text(ends: pd.DataFrame) -> str:
    """At every epsilon the medians of all methods' bounds, and how many brackets are closed."""
    parts = []
    for epsilon, part in ends.groupby("epsilon"):
        medians = part.groupby("method", sort=False)["value"].median()
        told = [f"{name} {number(medians[name])}" for name in medians.index]
        widths = part[part["method"] != INPUT].assign(width=lambda frame: frame["upper"] - frame["value"])
        closed = widths.groupby("label")["width"].min().le(EXACT)
        radius = plain_number(float(str(epsilon)))
        parts.append(f"epsilon {radius}: {', '.join(told)}; {int(closed.sum())} of {len(closed)} exact")
    return f"Medians of the bounds on the margin of the hardest target. {'. '.join(parts)}."


def _left_out(network: Network, shown: int) -> tuple[str, ...]:
    asked = network.labelled["instance"].nunique()
    more = f"{shown} of {asked:,} instances: as many of every epsilon, those with the most methods first."
    return (more,) if asked > shown else ()
