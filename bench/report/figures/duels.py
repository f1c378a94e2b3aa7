"""Two solvers on the same instances, point by point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.report.contest import NAME, QUESTION, Contest
from bench.report.figures.points import described, gathered, tooltip
from bench.report.figures.theme import chart, guide, marked, named, rule, seconds_axis, sized
from bench.report.render import Figure, ratio, seconds
from bench.statistics import duel

HEIGHT = 380


def scatter_figure(network: str, contest: Contest, rows: pd.DataFrame, limit: int) -> Figure | None:
    """The first two of a contest, seconds against seconds; None where they have nothing in common."""
    import altair as alt

    first, other = contest.competitors[:2]
    points = _points(contest, first, other)
    if points.empty:
        return None
    kinds = ["both", f"only {first}", f"only {other}", "neither"]
    kinds = [kind for kind in kinds if points["solved"].eq(kind).any()]
    shown = gathered(points, ("first_s", "other_s"), ["solved"], limit)
    shown = described(shown, rows, ["first_s", "other_s", "solved", "count"])
    shown["time"] = [f"{seconds(a)} and {seconds(b)}" for a, b in zip(shown["first_s"], shown["other_s"], strict=True)]
    together = len(shown) < len(points)
    marks = chart(shown.assign(who=f"{first} and {other}", ended="solved by " + shown["solved"])).mark_point(
        filled=True, opacity=1, size=45
    )
    size = {"size": alt.Size("count:Q", title="instances", scale=alt.Scale(range=[20, 400]))} if together else {}
    scatter = marks.encode(
        x=seconds_axis("first_s", f"time of {first}", alt.X),
        y=seconds_axis("other_s", f"time of {other}", alt.Y),
        **marked("solved", kinds, "solved by"),
        tooltip=tooltip(together=together),
        **size,
    )
    limits = sorted(set(points.loc[points["solved"].ne("both"), "limit_s"].dropna()))
    limit_lines = [rule(**{axis: limit}) for limit in limits for axis in ("x", "y")]
    return Figure(
        named(f"scatter-{network}-{contest.what}"),
        f"{network}, {contest.what}: {first} against {other}",
        _text(contest, first, other, points),
        sized(alt.layer(*_diagonal(points), *limit_lines, scatter), HEIGHT),
        _notes(limits, len(points), len(shown)),
    )


def _points(contest: Contest, first: str, other: str) -> pd.DataFrame:
    """One line a question asked of both; what was not solved stands at its time limit, else it is left out."""
    both = contest.shared(first, other)
    lines = contest.lines[contest.lines[NAME] == first].set_index(QUESTION)
    limits = contest.lines.groupby(QUESTION)["limit_s"].max()
    times = contest.times.loc[both, [first, other]]
    lines = lines.reindex(times.index).drop(columns="limit_s").join(limits)
    solved = times.notna()
    kinds = np.select(
        [solved.all(axis=1), solved[first], solved[other]], ["both", f"only {first}", f"only {other}"], "neither"
    )
    placed = {name: times[name].fillna(lines["limit_s"]) for name in (first, other)}
    points = lines.assign(solved=kinds, first_s=placed[first], other_s=placed[other]).reset_index()
    return points[points["first_s"].gt(0) & points["other_s"].gt(0) & points["solved"].ne("neither")]


def _diagonal(points: pd.DataFrame) -> list[Any]:
    times = points[["first_s", "other_s"]]
    ends = [float(times.min().min()), float(times.max().max())]
    return [guide(pd.DataFrame({"a": ends, "b": ends}), x="a:Q", y="b:Q")] if ends[0] < ends[1] else []


def _text(contest: Contest, first: str, other: str, points: pd.DataFrame) -> str:
    found = duel(contest.times.loc[points[QUESTION], first], contest.times.loc[points[QUESTION], other])
    both = contest.times.loc[contest.shared(first, other), [first, other]].dropna()
    text = f"{first} against {other} on {len(points):,} instances that one of them solved: "
    text += f"{first} is faster, or alone in solving it, on {found.wins:,}, {other} on {found.losses:,}; "
    text += f"{found.ties:,} tie."
    if both.empty:
        return text
    faster = contest.ratio(other, first)
    interval = f" (95 % interval {ratio(faster.low)} to {ratio(faster.high)})" if np.isfinite(faster.high) else ""
    text += f" {other} takes {ratio(faster.estimate)} the time of {first}{interval} on the {len(both):,} of both"
    return f"{text}{': no difference is shown' if faster.holds(1.0) else ''}."


def _notes(limits: list[float], points: int, shown: int) -> tuple[str, ...]:
    notes = ["Below the diagonal the one on the vertical axis is faster."]
    notes += [f"What was not solved stands at its time limit: {', '.join(map(seconds, limits))}."] if limits else []
    notes += [f"{points:,} instances in {shown:,} points: near ones are one, its size says how many."] * (
        shown < points
    )
    return tuple(notes)
