"""What each method decides at each radius."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.contest import NAME
from bench.report.figures.theme import GREEN, GREY, ORANGE, PURPLE, VERMILION, chart, named, sized
from bench.report.frame import DECIDED
from bench.report.networks import Network
from bench.report.render import Figure, plain_number

OUTCOMES = {"verified": GREEN, "unknown": GREY, "failed": PURPLE, "contradicted": ORANGE, "falsified": VERMILION}
BAR = 14  # pixels of a bar
SHOWN_EPSILONS = 8
SHARES = {"format": "%", "values": [0, 0.25, 0.5, 0.75, 1]}
ROOM = {"domain": [-0.1, 1], "nice": False}  # on the left for the epsilons


def fractions_figure(network: Network, names: Sequence[str]) -> Figure:
    """Verified, falsified and undecided instances as bars, by method and epsilon.

    Parameters
    ----------
    names : sequence of str
        The setups shown.
    """
    import altair as alt

    counts = _counts(network, names)
    epsilons = sorted(counts["epsilon"].unique())
    shown = counts[counts["epsilon"].isin(epsilons[:SHOWN_EPSILONS])].assign(
        order=lambda frame: frame["outcome"].map([*OUTCOMES].index),
        radius=lambda frame: frame["epsilon"].map("{:g}".format),
    )
    radii = [*map(plain_number, epsilons[:SHOWN_EPSILONS])]
    rows = {"y": alt.Y(f"{NAME}:N", title=None, sort=list(names)), "yOffset": alt.YOffset("radius:N", sort=radii)}
    outcomes = [outcome for outcome in OUTCOMES if shown["outcome"].eq(outcome).any()]
    scale = alt.Scale(domain=outcomes, range=[OUTCOMES[outcome] for outcome in outcomes])
    bars = (
        chart(shown)
        .mark_bar(height={"band": 0.84})
        .encode(
            x=alt.X("share:Q", title="share of instances", axis=SHARES, scale=ROOM),
            color=alt.Color("outcome:N", title=None, scale=scale, legend=alt.Legend(orient="top", columns=3)),
            order="order:Q",
            tooltip=[
                alt.Tooltip(f"{NAME}:N", title="by"),
                alt.Tooltip("radius:N", title="epsilon"),
                alt.Tooltip("outcome:N"),
                alt.Tooltip("n:Q", title="instances"),
                alt.Tooltip("of:Q", title="of"),
            ],
            **rows,
        )
    )
    radius = chart(shown.drop_duplicates([NAME, "radius"])[[NAME, "radius"]])
    labels = radius.mark_text(align="right", fontSize=10, dx=-4).encode(x=alt.XDatum(0), text="radius:N", **rows)
    return Figure(
        named(f"fractions-{network.name}"),
        f"{network.name}: verified, falsified and unknown at each epsilon",
        _text(counts, names),
        sized(bars + labels, BAR * len(names) * len(radii)),
        (
            "Small numbers are the epsilons. Each method with the setup that decides the most; bars of one method are "
            "over the instances that it was asked.",
            *_left_out(epsilons),
        ),
    )


def _counts(network: Network, names: Sequence[str]) -> pd.DataFrame:
    """One line a setup, epsilon and outcome: `n` of `of`, and their `share`."""
    lines = network.setups.lines[network.setups.lines[NAME].isin(list(names))]
    ended = lines["ended"].astype(str)
    outcome = ended.where(ended.isin([*DECIDED, "failed", "contradicted"]), "unknown")
    sizes = lines.assign(outcome=outcome).groupby([NAME, "epsilon", "outcome"], observed=True).size()
    counts = sizes.rename("n").reset_index()
    counts[NAME] = counts[NAME].astype(str)
    counts["of"] = counts.groupby([NAME, "epsilon"])["n"].transform("sum")
    return counts.assign(share=counts["n"] / counts["of"])


def _text(counts: pd.DataFrame, names: Sequence[str]) -> str:
    parts = []
    for name in names:
        part = counts[counts[NAME] == name]
        spread = part.pivot_table(index="epsilon", columns="outcome", values="n", aggfunc="sum", fill_value=0)
        spread = spread.reindex(columns=list(DECIDED), fill_value=0).join(part.groupby("epsilon")["of"].first())
        told = [f"{v}+{f}/{n} at {e:g}" for e, f, v, n in spread[[*DECIDED, "of"]].itertuples(name=None)]
        parts.append(f"{name} {', '.join(told)}")
    return f"Verified + falsified of the instances asked, at each epsilon: {'; '.join(parts)}."


def _left_out(epsilons: Sequence[float]) -> tuple[str, ...]:
    more = len(epsilons) - SHOWN_EPSILONS
    return (f"{more} larger epsilons are in the tables.",) if more > 0 else ()
