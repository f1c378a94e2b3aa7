"""What tighter bounds cost: time against the distance to the best known value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.report.contest import NAME, QUESTION
from bench.report.figures.points import described, gathered, tooltip
from bench.report.figures.theme import NEUTRAL, chart, marked, named, power_axis, seconds_axis, sized
from bench.report.networks import Network
from bench.report.render import Figure, number, seconds

CLOSED = 1e-4  # a gap as small as this is drawn here: solvers' tolerances are no wider


def tightness_figure(network: Network, names: Sequence[str], rows: pd.DataFrame, limit: int) -> Figure | None:
    """Time against the bound gap of every instance, and the medians of the methods as a path; None with no two methods.

    Parameters
    ----------
    names : sequence of str
        The setups shown.
    """
    import altair as alt

    lines = _lines(network, names)
    medians = _medians(lines)
    there = {*lines[NAME].unique()}
    shown_names = [name for name in names if name in there]
    if len(medians) < 2:
        return None
    points = gathered(lines, ("total_s", "gap"), [NAME], limit)
    points = described(points, rows, [NAME, "total_s", "gap", "count"])
    axes = {
        "x": seconds_axis("total_s", "time", alt.X),
        "y": alt.Y("gap:Q", title="bound gap", scale=alt.Scale(type="log", nice=False, padding=6), axis=power_axis()),
    }
    look = marked(NAME, shown_names, methods=True)
    path = chart(medians).mark_line(color=NEUTRAL, strokeDash=[4, 3]).encode(order="order:Q", **axes)
    each = chart(points).mark_point(filled=True, size=25, opacity=0.45)
    each = each.encode(**axes, **look, tooltip=[*tooltip(together=True), alt.Tooltip("gap:Q", title="bound gap")])
    middles = chart(medians).mark_point(filled=True, size=190, opacity=1).encode(**axes, **look)
    return Figure(
        named(f"tightness-{network.name}"),
        f"{network.name}: what a tighter bound costs",
        _text(medians),
        sized(alt.layer(path, each, middles)),
        (
            "Large: medians over the instances for which all of these have bounds. bound gap: best known upper bound "
            f"of a margin minus the lower bound, mean over the targets; {CLOSED:g} or less stands at {CLOSED:g}.",
            *_together(len(lines), len(points)),
        ),
    )


def _lines(network: Network, names: Sequence[str]) -> pd.DataFrame:
    lines = network.setups.lines
    lines = lines[lines[NAME].isin(list(names)) & lines["bound_gap"].notna() & lines["total_s"].gt(0)]
    return lines.assign(gap=lines["bound_gap"].clip(lower=CLOSED), **{NAME: lines[NAME].astype(str)})


def _medians(lines: pd.DataFrame) -> pd.DataFrame:
    """One line a setup: medians over the instances that all of them bounded, from the loosest bound to the tightest."""
    everywhere = lines.groupby(QUESTION)[NAME].transform("nunique") == lines[NAME].nunique()
    medians = lines[everywhere].groupby(NAME)[["total_s", "gap"]].median().reset_index()
    medians = medians.assign(n=lines.loc[everywhere, QUESTION].nunique()).sort_values("gap", ascending=False)
    return medians.assign(order=np.arange(len(medians)))


def _text(medians: pd.DataFrame) -> str:
    gaps = [number(gap) if gap > CLOSED else f"{CLOSED:g} or less" for gap in medians["gap"]]
    times = medians["total_s"].map(seconds)
    told = [f"{name} {gap} in {time}" for name, gap, time in zip(medians[NAME], gaps, times, strict=True)]
    return (
        f"Median bound gap and median time over {medians['n'].iloc[0]:,} instances, from the loosest to the tightest: "
        f"{'; '.join(told)}."
    )


def _together(lines: int, points: int) -> tuple[str, ...]:
    return (f"{lines:,} instances in {points:,} points: near ones are one.",) if points < lines else ()
