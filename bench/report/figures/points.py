"""What a reader finds behind a point: the instance, who answered it, in which time, and the cell's digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.report.render import seconds

if TYPE_CHECKING:
    import altair as alt

DIGEST = 12  # characters of a cell's digest that tell it apart
TOLD = {"instance": "instance", "who": "by", "time": "time", "ended": "ended", "cell": "cell"}
FINEST, COARSEST = 0.01, 1.0  # of a decade, the meshes of what is drawn together


def described(lines: pd.DataFrame, rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Lines of a contest with what their points say: `instance`, `who`, `time`, `ended` and `cell`, as text.

    A page holds every value of these: nothing but `columns` is kept of the others.

    Parameters
    ----------
    lines : DataFrame
        With `row`, `competitor`, `ended` and `total_s`; few, as every line is written out.
    rows : DataFrame
        The run's.
    """
    of = rows.loc[lines["row"]]
    return lines[list(columns)].assign(
        instance=[instance_text(*values) for values in zip(of["network"], of["image"], of["epsilon"], strict=True)],
        who=lines["competitor"].astype(str),
        time=[seconds(value) if np.isfinite(value) else "-" for value in lines["total_s"]],
        ended=lines["ended"].astype(str),
        cell=of["cell"].astype(str).str[:DIGEST].to_numpy(),
    )


def instance_text(network: Any, image: Any, epsilon: float) -> str:
    """An instance in words."""
    return f"{network}, image {image}, epsilon {epsilon:g}"


def tooltip(*, together: bool = False) -> list[alt.Tooltip]:
    """What hovering over a point shows; `together` adds how many it stands for."""
    import altair as alt

    told = {name: f"{name}:N" for name in TOLD} | ({"count": "count:Q"} if together else {})
    return [alt.Tooltip(field, title=TOLD.get(name, "instances")) for name, field in told.items()]


def gathered(lines: pd.DataFrame, axes: tuple[str, str], by: list[str], limit: int) -> pd.DataFrame:
    """At most some `limit` lines: what lies close together on logarithmic axes and is equal `by` becomes one.

    `count` says how many lines one stands for; its other values are those of the first of them.
    """
    mesh = FINEST
    found = lines.assign(count=1)
    while len(found) > limit and mesh <= COARSEST:
        places = {f"_{axis}": np.round(np.log10(lines[axis].astype(float)) / mesh) for axis in axes}
        grouped = lines.assign(**places).groupby([*places, *by], observed=True, sort=False)
        found = grouped.head(1).assign(count=grouped.size().to_numpy())
        mesh *= 2
    return found


def thinned(lines: pd.DataFrame, limit: int) -> pd.DataFrame:
    """At most `limit` of the lines, evenly, the first and the last among them."""
    if len(lines) <= limit:
        return lines
    return lines.iloc[np.linspace(0, len(lines) - 1, limit).round().astype(int)]
