"""Figures drawn: as SVG and PNG, without a browser, and as the specification that a page draws by itself."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.report.render import Figure

INK, PAPER, DARK_INK = "#1f2328", "#ffffff", "#e2e8f0"
PIXELS = 2.0  # of a PNG, for one of the drawing's own
LONGEST_SVG = 200_000  # characters
WIDTH = 640  # of a chart that takes what its container has, where there is none
PADDING = {"left": 16, "right": 16, "top": 4, "bottom": 4}  # letters are wider on machines that lack the usual fonts
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_text = {"labelColor": "currentColor", "titleColor": "currentColor"}
# What charts leave to whoever shows them: `currentColor` is the colour of the text around them, light or dark.
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "aria": False,  # a label for each point tells less than the text beside the figure, in twice the file
    "font": FONT,
    "padding": 4,
    "view": {"stroke": "transparent"},
    "title": {"color": "currentColor", "subtitleColor": "currentColor", "anchor": "start", "fontSize": 13},
    "axis": _text
    | {"domainColor": "currentColor", "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.12}
    | {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "domainOpacity": 0.5, "tickOpacity": 0.5},
    "legend": _text
    | {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 560}
    | {"layout": {"top": {"direction": "vertical", "anchor": "start"}}},  # beside each other they may overlap
    "header": _text | {"labelFontSize": 12, "titleFontSize": 12},
    "text": {"color": "currentColor"},
}


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A figure in the forms in which it is shown.

    Attributes
    ----------
    png : bytes
    svg : str
        In the colours of the text around it (`currentColor`); empty for a picture of pixels.
    spec : dict or None
        For Vega-Lite; None for a picture of pixels.
    """

    png: bytes
    svg: str = ""
    spec: dict[str, Any] | None = None

    def svg_file(self) -> str:
        """The SVG as a file that stands by itself: dark on white."""
        return _on_paper(self.svg)

    def data_url(self) -> str:
        """An image's source that is light in dark surroundings; the SVG in an image runs no script.

        Pixels take its place where it has so many points that it is long.
        """
        if not self.svg or len(self.svg) > LONGEST_SVG:
            return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"
        style = f"<style>svg{{color:{INK}}}@media (prefers-color-scheme:dark){{svg{{color:{DARK_INK}}}}}</style>"
        return f"data:image/svg+xml;base64,{base64.b64encode(_behind_the_tag(self.svg, style).encode()).decode()}"


def drawn(figures: Iterable[Figure]) -> dict[str, Drawing]:
    """Every figure, by its name."""
    return {figure.name: _drawn(figure.chart) for figure in figures}


def _drawn(chart: Any) -> Drawing:
    import altair
    import vl_convert

    if isinstance(chart, bytes):
        return Drawing(chart)
    with altair.data_transformers.enable("default", max_rows=None, consolidate_datasets=True):
        spec = chart.to_dict()
    spec["config"] = merged(CONFIG, spec.get("config") or {})
    svg = str(vl_convert.vegalite_to_svg(_of_fixed_width(spec)))
    return Drawing(bytes(vl_convert.svg_to_png(_on_paper(svg), scale=PIXELS)), svg, spec)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both have a value, `above` counts."""
    both = {
        name: merged(below[name], value) if isinstance(value, Mapping) and isinstance(below[name], Mapping) else value
        for name, value in above.items()
        if name in below
    }
    return {**below, **above, **both}


def _of_fixed_width(spec: dict[str, Any]) -> dict[str, Any]:
    fixed = {**spec, "width": WIDTH} if spec.get("width") == "container" else spec
    return {**fixed, "padding": PADDING}


def _on_paper(svg: str) -> str:
    paper = f'<style>svg{{color:{INK}}}</style><rect width="100%" height="100%" fill="{PAPER}"/>'
    return _behind_the_tag(svg, paper)


def _behind_the_tag(svg: str, content: str) -> str:
    """The SVG with `content` as the first thing in it."""
    head, tag, body = svg.partition(">")
    return f"{head}{tag}{content}{body}"
