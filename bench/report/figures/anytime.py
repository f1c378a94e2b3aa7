"""What a solver knew at what time: its incumbent and its bound while it searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arrays import arrays_of_row
from bench.report.figures.points import DIGEST, instance_text, thinned
from bench.report.figures.theme import MOST, chart, lined, named, sized
from bench.report.frame import Run
from bench.report.networks import Network
from bench.report.render import Figure, number, seconds
from networks.errors import InputError

TRACE = "trace"
TRACED = ("milp",)  # the methods whose searches take long enough to be watched
TRIED = 6  # instances, from the longest search on, until one has traces
OF_ROW = ["instance", "network", "image", "epsilon", "method", "setup", "solve_s", "outcome", "cell", "arrays"]
COLUMNS = ["target", "seconds", "incumbent", "bound"]
KINDS = {"incumbent": [1, 0], "bound": [5, 3]}


def anytime_figure(run: Run, network: Network, limit: int) -> Figure | None:
    """The longest search of a network, by every solver: incumbent and bound over time; None without a trace."""
    import altair as alt

    traces = _longest(run, network)
    if traces.empty:
        return None
    names = traces["setup"].drop_duplicates().tolist()[:MOST]
    parts = traces[traces["setup"].isin(names)].groupby(["setup", "kind"], sort=False)
    kept = pd.concat([thinned(part, max(limit // (2 * len(names)), 2)) for _, part in parts])
    base = chart(kept).encode(
        x=alt.X("seconds:Q", title="seconds since the search began"),
        y=alt.Y("value:Q", title="margin", scale=alt.Scale(zero=False)),
    )
    look = lined("setup", sorted(names))
    kinds = alt.StrokeDash("kind:N", title=None, scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())))
    kinds = kinds.legend(orient="top", symbolType="stroke", symbolStrokeWidth=2)
    line = base.mark_line(interpolate="step-after", strokeWidth=2).encode(color=look["color"], strokeDash=kinds)
    shown = ("instance", "setup", "kind", "value", "seconds", "ended", "cell")
    points = base.mark_circle(size=24, opacity=1).encode(color=look["color"], tooltip=list(shown))
    first = traces.iloc[0]
    return Figure(
        named(f"anytime-{network.name}"),
        f"{network.name}: incumbent and bound over time",
        _text(traces, names),
        sized(line + points),
        (f"The search that took longest: {first['instance']}, target {first['target']}.", ANYTIME_TERM),
    )


ANYTIME_TERM = "Full lines: the least margin that the search has found. Dashed: the bound that it has proven."


def _longest(run: Run, network: Network) -> pd.DataFrame:
    """The traces of the target with the longest search, of the first instance that has any."""
    rows = network.labelled[OF_ROW]
    rows = rows[rows["method"].isin(TRACED) & rows["arrays"].notna()].sort_values("solve_s", ascending=False)
    for instance in rows["instance"].drop_duplicates().head(TRIED):
        points = pd.DataFrame(_searches(run, rows[rows["instance"] == instance].drop_duplicates("setup")))
        searches = points[np.isfinite(points["value"])] if len(points) else points
        if len(searches):
            return searches[searches["target"] == _telling(searches)]
    return pd.DataFrame()


def _telling(searches: pd.DataFrame) -> int:
    """The target with the most curves, of those the one with the longest search."""
    curves = searches.groupby("target")[["setup", "kind"]].apply(lambda part: len(part.drop_duplicates()))
    longest = searches.groupby("target")["seconds"].max()
    return int(pd.DataFrame({"curves": curves, "longest": longest}).sort_values(["curves", "longest"]).index[-1])


def _searches(run: Run, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One line a point of each trace and kind."""
    for index, row in zip(rows.index.tolist(), rows.to_dict("records"), strict=True):
        said = {
            "instance": instance_text(row["network"], row["image"], row["epsilon"]),
            "setup": str(row["setup"]),
            "ended": str(row["outcome"]),
            "cell": str(row["cell"])[:DIGEST],
        }
        for target, at, incumbent, bound in _trace(run, index, str(row["arrays"])).tolist():
            line = said | {"target": int(target), "seconds": at}
            yield from (
                line | {"kind": kind, "value": value} for kind, value in zip(KINDS, (incumbent, bound), strict=True)
            )


def _trace(run: Run, index: int, name: str) -> NDArray[np.float64]:
    """Target, seconds, incumbent and bound, shape (m, 4); none where the file has no such array or is gone."""
    try:
        (trace,) = arrays_of_row(run.folder_of(index), name, (TRACE,))
    except InputError:
        return np.empty((0, len(COLUMNS)))
    whole = trace.ndim == 2 and trace.shape[1] == len(COLUMNS)
    return trace.astype(float) if whole and np.isfinite(trace[:, :2]).all() else np.empty((0, len(COLUMNS)))


def _text(traces: pd.DataFrame, names: Sequence[str]) -> str:
    parts = []
    for name in names:
        part = traces[traces["setup"] == name]
        lasts = part.groupby("kind")["value"].last()
        told = [f"{kind} {number(lasts[kind])}" for kind in KINDS if kind in lasts]
        parts.append(f"{name} ends after {seconds(part['seconds'].max())} with {' and '.join(told)}")
    return f"{'; '.join(parts)}."
