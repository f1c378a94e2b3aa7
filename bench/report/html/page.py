"""Sections, and the cells behind them, as one page of HTML.

The page asks nothing of any server: styles, scripts, figures and data are in it, and its content security policy
refuses everything else. Texts of rows are hostile until escaped, and are never put into the page as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from importlib.metadata import version
from typing import Any

import pandas as pd

from bench.report.cells import BLOCK, Cells, embedded_cells
from bench.report.drawing import Drawing
from bench.report.frame import Run
from bench.report.render import Figure, Section, Table, remarks

PAGE_BYTES = 15_000_000  # what a mail or a forge's viewer still takes
SPARE = 100_000  # of these, for what holds the parts together
FIGURE_BYTES = 6_000_000  # of all figures together, their data and their pictures
CELL_BYTES = 6_000_000
LONGEST = 300  # lines of a table; a longer one is cut, and says so
SOFT_HYPHEN = "\u00ad"
LONGEST_TEXT = 1000  # characters in a cell of a table
NARROW = 24  # characters up to which a column's texts stay on one line
FILTERABLE = 12  # lines from which on a table has a filter


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    right: bool


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of a table: its text, a number to sort by, and whether the line above says the same."""

    text: str
    value: float | None = None
    style: str = ""


@dataclass(frozen=True, slots=True)
class _TableView:
    title: str
    columns: list[_Column]
    lines: list[list[_Cell]]
    notes: list[str]

    @property
    def filterable(self) -> bool:
        return len(self.lines) >= FILTERABLE


@dataclass(frozen=True, slots=True)
class _FigureView:
    name: str
    title: str
    text: str
    notes: tuple[str, ...]
    picture: str  # a data URL; empty where there was no room
    spec: str  # JSON for a script element; empty where the picture has to do


@dataclass(frozen=True, slots=True)
class _SectionView:
    id: str
    heading: str
    lines: tuple[str, ...]
    figures: list[_FigureView]
    tables: list[_TableView]

    @property
    def interactive(self) -> bool:
        return any(figure.spec for figure in self.figures)


@dataclass(slots=True)
class _Room:
    """What of a page's size is left for figures."""

    left: int = FIGURE_BYTES

    def take(self, text: str) -> str:
        """The text if it fits, else nothing."""
        if len(text) > self.left:
            return ""
        self.left -= len(text)
        return text


def page_of(run: Run, title: str, sections: Sequence[Section], drawings: Mapping[str, Drawing]) -> str:
    """The page on a run, with as many of its cells as there is room for.

    Parameters
    ----------
    drawings : mapping of str to Drawing
        Every figure of the sections, drawn, by its name.

    Raises
    ------
    InputError
        The run's rows cannot be read any more.
    """
    room = PAGE_BYTES - SPARE - len(to_html(title, sections, drawings).encode(errors="backslashreplace"))
    cells = embedded_cells(run, min(CELL_BYTES, room), _cells_behind(drawings.values()))
    return to_html(title, sections, drawings, cells)


def _cells_behind(drawings: Iterable[Drawing]) -> set[str]:
    """The starts of the digests of the cells that points of the figures stand for."""
    tables = [table for drawing in drawings if drawing.spec for table in drawing.spec.get("datasets", {}).values()]
    return {str(point["cell"]) for table in tables for point in table if isinstance(point, dict) and "cell" in point}


def to_html(
    title: str, sections: Sequence[Section], drawings: Mapping[str, Drawing], cells: Cells | None = None
) -> str:
    """The page, without the list of cells where there is none."""
    views = list(_sections(sections, drawings))
    specs = {figure.name: figure.spec for view in views for figure in view.figures if figure.spec}
    return str(
        _template().render(
            title=title,
            sections=views,
            specs=specs,
            cells=cells,
            block=BLOCK,
            version=version("relubench"),
            css=_file("page.css"),
            script=_file("page.js"),
            library=_library() if specs else "",
        )
    )


def _sections(sections: Iterable[Section], drawings: Mapping[str, Drawing]) -> Iterator[_SectionView]:
    said: set[str] = set()
    ids: dict[str, int] = {}
    room = _Room()
    for section in sections:
        yield _SectionView(
            _unique(section.heading, ids),
            section.heading,
            section.lines,
            [_figure(figure, drawings[figure.name], room) for figure in section.figures],
            [_table(table, remarks(table, said)) for table in section.tables],
        )


def _unique(heading: str, taken: dict[str, int]) -> str:
    """The heading as the end of an address; `cells` and the like are the page's own."""
    words = "s-" + re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
    taken[words] = taken.get(words, 0) + 1
    return words if taken[words] == 1 else f"{words}-{taken[words]}"


def _figure(figure: Figure, drawing: Drawing, room: _Room) -> _FigureView:
    picture = room.take(drawing.data_url())
    spec = room.take(script_json(drawing.spec)) if drawing.spec is not None else ""
    missing = ("No room for this figure in the page: its files are beside it.",) if not picture and not spec else ()
    return _FigureView(figure.name, figure.title, figure.text, (*figure.notes, *missing), picture, spec)


def _table(table: Table, said: list[str]) -> _TableView:
    shown = replace(table, frame=table.frame.iloc[:LONGEST], grouped="")
    text = shown.cells().map(_short)
    columns = [_Column(_soft(str(name)), name in table.formats) for name in table.frame]
    by_column = [_cells(table, str(name), shown.frame[name], text[name]) for name in text]
    lines = [list(line) for line in zip(*by_column, strict=True)]
    cut = f"The first {LONGEST:,} of {len(table.frame):,} lines; report.md has all."
    return _TableView(table.title, columns, lines, [*said, cut] if len(lines) < len(table.frame) else said)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


def _soft(header: str) -> str:
    """A column's name that a browser may break where a narrow header would be."""
    return header.replace("-\n", SOFT_HYPHEN).replace("\n", " ")


def _cells(table: Table, name: str, values: pd.Series[Any], text: pd.Series[str]) -> list[_Cell]:
    number = name in table.formats
    kind = "n" if number else "s" if text.str.len().max() <= NARROW else ""
    again = text.eq(text.shift()) if name == table.grouped else pd.Series(False, index=text.index)
    styles = [f"{kind} again".strip() if same else kind for same in again]
    numbers = pd.to_numeric(values, errors="coerce") if number else [None] * len(text)
    return [
        _Cell(words, None if value is None or value != value else float(value), style)
        for words, value, style in zip(text, numbers, styles, strict=True)
    ]


def script_json(value: Any) -> str:
    """JSON that cannot end the script element which it stands in."""
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(value, separators=(",", ":"), allow_nan=False)


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("bench.report", "html")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("page.html.jinja")


def _file(name: str) -> Any:
    """A file of this package, which goes into the page as it is."""
    from markupsafe import Markup

    return Markup((resources.files(__package__) / name).read_text(encoding="utf-8"))


@cache
def _library() -> Any:
    """Vega, Vega-Lite and Vega-Embed in one script."""
    import vl_convert
    from markupsafe import Markup

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    if "</script" in script.lower():
        raise ValueError("the chart library cannot be embedded: it has the text that ends a script element")
    return Markup(script)
