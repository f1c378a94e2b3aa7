"""Curves of a contest: how many instances are solved within a time, and within a multiple of the best time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.report.contest import NAME, QUESTION, Contest
from bench.report.figures.points import described, thinned, tooltip
from bench.report.figures.theme import MOST, chart, lined, named, power_axis, seconds_axis, sized
from bench.report.render import Figure, ratio, seconds
from bench.statistics import times_the_best

SHOWN = 3  # names of a list in a text
FACTORS = (1.0, 2.0, 10.0)


def cactus_figure(network: str, contest: Contest, rows: pd.DataFrame, limit: int, names: Sequence[str]) -> Figure:
    """Instances solved against the time that each took.

    Parameters
    ----------
    names : sequence of str
        The competitors shown, at most MOST.
    """
    import altair as alt

    curves = [_ranked(_solved(contest, name), "total_s") for name in names]
    points = described(
        pd.concat([thinned(curve, limit // len(names)) for curve in curves]), rows, [NAME, "total_s", "rank"]
    )
    base = chart(points).encode(
        x=seconds_axis("total_s", "time of an instance", alt.X),
        y=alt.Y("rank:Q", title=f"instances {_done(contest)} within that time"),
    )
    return Figure(
        named(f"cactus-{network}-{contest.what}"),
        f"{network}, {contest.what}: {_done(contest)} within a time",
        f"Instances {_done(contest)}: {_listed(map(_told, curves, names))}.",
        sized(_stepped(base, contest, names)),
        (_over_asked(contest, names), *_left_out(contest, names), *_thinned_note(curves, limit)),
    )


def profile_figure(network: str, contest: Contest, rows: pd.DataFrame, limit: int) -> Figure:
    """The performance profile of Dolan and More: the share solved within a multiple of the best one's time."""
    import altair as alt

    names = [name for name in contest.competitors if name in contest.seconds][:MOST]
    factors = pd.DataFrame(times_the_best(contest.seconds[names]), contest.seconds.index, names)
    curves = [_factors_of(contest, name, factors[name]) for name in names]
    points = described(
        pd.concat([thinned(curve, limit // len(names)) for curve in curves]), rows, [NAME, "factor", "share"]
    )
    multiples = alt.Scale(type="log", nice=False)
    base = chart(points).encode(
        x=alt.X("factor:Q", title="times the best one's time", scale=multiples, axis=power_axis()),
        y=alt.Y("share:Q", title=f"instances {_done(contest)}", axis=alt.Axis(format="%"), scale=WHOLE),
    )
    return Figure(
        named(f"profile-{network}-{contest.what}"),
        f"{network}, {contest.what}: performance profile",
        f"Share of the {len(factors):,} instances {_done(contest)} within 1, 2 and 10 times the time of the best one: "
        f"{_listed(_within(factors[name], name) for name in names)}.",
        sized(_stepped(base, contest, names)),
        (f"Over {len(factors):,} instances. {PROFILE_TERM}", *_left_out(contest, names), *_thinned_note(curves, limit)),
    )


WHOLE = {"domain": [0, 1]}
PROFILE_TERM = "Where a curve begins is the share on which it is the fastest, where it ends what it solves at all."


def _stepped(base: Any, contest: Contest, names: Sequence[str]) -> Any:
    """Lines in steps, with a point to hover over for each instance."""
    look = lined(NAME, list(names) if contest.kind == "method" else sorted(names), methods=contest.kind == "method")
    line = base.mark_line(interpolate="step-after", strokeWidth=2).encode(**look)
    return line + base.mark_circle(size=30, opacity=1).encode(color=look["color"], tooltip=tooltip())


def _drawn(curves: Sequence[pd.DataFrame], limit: int) -> pd.DataFrame:
    """All curves as one frame, with at most `limit` points."""
    return pd.concat([thinned(curve, limit // len(curves)) for curve in curves])


def _solved(contest: Contest, name: str) -> pd.DataFrame:
    lines = contest.lines
    return lines[(lines[NAME] == name) & lines["done"] & lines["total_s"].gt(0)]


def _ranked(lines: pd.DataFrame, by: str) -> pd.DataFrame:
    return lines.sort_values(by, kind="stable").assign(rank=np.arange(1, len(lines) + 1))


def _factors_of(contest: Contest, name: str, factors: pd.Series) -> pd.DataFrame:
    """The lines of one competitor that has a factor, with its share of all instances up to there."""
    finite = factors[np.isfinite(factors)]
    lines = _solved(contest, name).set_index(QUESTION)
    lines = lines[lines.index.isin(finite.index)]
    ranked = _ranked(lines.assign(factor=finite.reindex(lines.index)), "factor")
    return ranked.assign(share=ranked["rank"] / max(len(factors), 1)).reset_index()


def _done(contest: Contest) -> str:
    return "solved" if len(contest.ends) == 1 else "decided"


def _told(curve: pd.DataFrame, name: str) -> str:
    if curve.empty:
        return f"{name} none"
    return f"{name} {len(curve):,}, half of them within {seconds(curve['total_s'].median())}, the last at " + seconds(
        curve["total_s"].iloc[-1]
    )


def _within(factors: pd.Series, name: str) -> str:
    shares = [f"{100 * float((factors <= factor * (1 + 1e-9)).mean()):.0f}" for factor in FACTORS]
    finite = factors[np.isfinite(factors)]
    worst = f", at worst {ratio(finite.max())}" if len(finite) else ""
    return f"{name} {', '.join(shares)} %{worst}"


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(texts)


def _over_asked(contest: Contest, names: Sequence[str]) -> str:
    asked = contest.asked[list(names)].sum()
    if asked.nunique() == 1:
        return f"Each curve is over {int(asked.iloc[0]):,} instances."
    return f"Not all were asked the same: {_listed(f'{name} {int(n):,}' for name, n in asked.items())} instances."


def _left_out(contest: Contest, names: Sequence[str]) -> tuple[str, ...]:
    others = len(contest.competitors) - len(names)
    return (f"{others} more are in the tables.",) if others else ()


def _thinned_note(curves: Sequence[pd.DataFrame], limit: int) -> tuple[str, ...]:
    longest: Any = max(map(len, curves), default=0)
    kept = limit // max(len(curves), 1)
    return (f"Of the {longest:,} steps of a curve at most {kept:,} are drawn, evenly.",) if longest > kept else ()
