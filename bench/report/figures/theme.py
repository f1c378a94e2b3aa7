"""How all figures look: colours that colour-blind readers tell apart, said once more by shapes and dashes.

Charts have no background and leave the colour of text and axes to whoever shows them: they read in light and in dark.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import altair as alt

# Okabe and Ito's colours, but for their yellow, which is lost on white, and their black, which is lost on black.
BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, GREY, OLIVE = "#56B4E9", "#CC79A7", "#8C8C8C", "#A89B00"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, OLIVE, GREY)
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left")
DASHES = ([1, 0], [7, 3], [2, 2], [9, 2, 2, 2], [4, 4], [1, 3], [12, 3], [5, 1])
MOST = len(COLOURS)  # things that one figure tells apart
METHOD_COLOURS = {
    "interval": GREY,
    "dual": OLIVE,
    "linear": ORANGE,
    "alpha": SKY,
    "lp": BLUE,
    "milp": VERMILION,
    "staged": GREEN,
    "input": PURPLE,
}
METHOD_SHAPES = dict(zip(METHOD_COLOURS, SHAPES, strict=True))
HEIGHT = 300
LEGEND_LETTERS, SYMBOL_LETTERS = 92, 5  # of a line of a legend; what a symbol takes of it
NEUTRAL = "#808080"  # of lines that help to read: as far from white as from black
DIGITS = 5  # of a number in a chart: finer than a screen's pixels


def chart(frame: pd.DataFrame) -> Any:
    """A chart of a frame, with numbers no longer than a screen shows."""
    import altair as alt

    floats = frame.select_dtypes("float").columns
    return alt.Chart(frame.assign(**{name: rounded(frame[name]) for name in floats}))


def rounded(values: Any) -> Any:
    """Numbers with DIGITS significant digits."""
    given = np.asarray(values, dtype=float)
    sizes = np.log10(np.abs(given), out=np.zeros_like(given), where=np.isfinite(given) & (given != 0))
    scale = 10.0 ** (DIGITS - 1 - np.floor(sizes))
    return np.round(given * scale) / scale


def sized(layers: Any, height: float = HEIGHT) -> Any:
    """As wide as what holds it."""
    return layers.properties(width="container", height=height)


def marked(field: str, names: Sequence[str], title: str = "", *, methods: bool = False) -> dict[str, Any]:
    """Colour and shape of points by name, with one legend above the chart.

    Parameters
    ----------
    names : sequence of str
        At most MOST. Where they are `methods`, or begin with one, each has the method's own colour and shape.
    """
    return {"color": _scaled("Color", field, names, title, METHOD_COLOURS if methods else COLOURS)} | {
        "shape": _scaled("Shape", field, names, title, METHOD_SHAPES if methods else SHAPES)
    }


def lined(field: str, names: Sequence[str], title: str = "", *, methods: bool = False) -> dict[str, Any]:
    """Colour and dash of lines by name, as `marked` does for points."""
    colours = METHOD_COLOURS if methods else COLOURS
    return {
        "color": _scaled("Color", field, names, title, colours, symbolType="stroke"),
        "strokeDash": _scaled("StrokeDash", field, names, title, DASHES, symbolType="stroke"),
    }


def _scaled(channel: str, field: str, names: Sequence[str], title: str, values: Any, **symbol: Any) -> Any:
    """An encoding of names by values, or by a mapping of methods to values."""
    import altair as alt

    chosen = by_method(names, values) if isinstance(values, dict) else list(values[: len(names)])
    longest = max(map(len, names), default=0)
    columns = max(1, min(3, LEGEND_LETTERS // (longest + SYMBOL_LETTERS)))
    legend = alt.Legend(orient="top", columns=columns, symbolStrokeWidth=2.5, symbolSize=90, symbolOpacity=1, **symbol)
    scale = alt.Scale(domain=list(names), range=chosen)
    return getattr(alt, channel)(f"{field}:N", title=title or None, scale=scale, legend=legend)


def by_method(names: Sequence[str], values: Mapping[str, Any]) -> list[Any]:
    """A value for each name that is a method, or begins with one: the method's own, or one that nobody here has.

    Each declared method has its value in every figure; one of another package, and the second setup of one method,
    take what is left, in order.
    """
    methods = [re.split("[ ,]", name, maxsplit=1)[0] for name in names]
    own = {method: values[method] for method in methods if method in values}
    free = [value for value in values.values() if value not in own.values()] or [*values.values()]
    others = itertools.cycle(free)
    return [own.pop(method) if method in own else next(others) for method in methods]


def seconds_axis(field: str, title: str, channel: Any) -> Any:
    """A logarithmic axis of seconds."""
    import altair as alt

    return channel(f"{field}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=6), axis=power_axis("s"))


def power_axis(unit: str = "") -> alt.Axis:
    """Labels as a person writes them, where a logarithmic axis has room for them: 0.1, 10; or 1 ms, 10 s."""
    import altair as alt

    timed = "datum.value < 0.9995 ? format(datum.value * 1000, '~r') + ' ms' : format(datum.value, ',~r') + ' s'"
    text = timed if unit == "s" else "format(datum.value, ',~r')"
    return alt.Axis(labelExpr=f"datum.label === '' ? '' : {text}", labelOverlap="greedy", tickCount=5)


def guide(frame: pd.DataFrame, **encoding: Any) -> Any:
    """A thin dashed line in a neutral colour through the points of a frame."""
    import altair as alt

    return alt.Chart(frame).mark_line(color=NEUTRAL, strokeDash=[4, 3], strokeWidth=1).encode(**encoding)


def rule(**values: Any) -> Any:
    """A thin neutral line across the chart at `x` or `y`."""
    import altair as alt

    encoding = {name: (alt.XDatum if name == "x" else alt.YDatum)(value) for name, value in values.items()}
    return alt.Chart().mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(**encoding)


def named(text: str) -> str:
    """A figure's name out of words: lower-case letters, digits and `-`."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
    return "-".join(part for part in kept.split("-") if part)
