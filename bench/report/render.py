"""A table, and how it is shown: by rich in the terminal, or as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from rich.console import Console

Format = Callable[[Any], str]
MISSING = "-"
LONGEST_WHOLE = 12  # characters of a word that a narrow terminal leaves in one piece
LARGEST_SHORT = 999.5  # from here on three significant digits do not reach the decimal point


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Numbers with their meaning.

    Attributes
    ----------
    title : str
    frame : DataFrame
        As computed. A line break in a column's name is where a narrow header breaks; `-` before it is a hyphen.
    formats : mapping of column to function
        How the numbers of a column are written; such columns stand to the right, all others to the left.
    definitions : tuple of str
        What the columns mean; printed below the first table of a report that has them.
    notes : tuple of str
        What else there is to say of this table; printed below it.
    grouped : str
        A column whose value is only written where it changes; empty for none.
    """

    title: str
    frame: pd.DataFrame
    formats: Mapping[str, Format] = field(default_factory=dict)
    definitions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    grouped: str = ""

    def cells(self) -> pd.DataFrame:
        """The frame as text."""
        columns = {name: self.frame[name].map(self._format(str(name))) for name in self.frame}
        text = pd.DataFrame(columns, dtype=str)
        if self.grouped:
            text[self.grouped] = text[self.grouped].where(text[self.grouped].ne(text[self.grouped].shift()), "")
        return text

    def _format(self, column: str) -> Format:
        write = self.formats.get(column, str)
        return lambda value: MISSING if _missing(value) else write(value)


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A chart with what a reader who does not see it needs.

    Attributes
    ----------
    name : str
        Of its files, without an ending: lower-case letters, digits and `-`.
    title : str
    text : str
        What the chart shows, in words and numbers: it stands in for the chart where that cannot be seen.
    chart : altair.Chart or a composition of charts
    notes : tuple of str
        How to read it, and what was left out or aggregated; printed below it.
    """

    name: str
    title: str
    text: str
    chart: Any
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, lines of text, figures and tables."""

    heading: str
    tables: tuple[Table, ...] = ()
    lines: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()


def number(value: float) -> str:
    """Four significant digits; thousands in full up to ten million."""
    size = abs(value)
    if 1e4 <= size < 1e7:
        return f"{value:,.0f}"
    text = f"{value:#.4g}"
    return text.rstrip(".") if "e" not in text else f"{value:.3e}"


def plain_number(value: float) -> str:
    """A setting as a person would type it, e.g. an epsilon."""
    return f"{value:g}"


def count(value: float) -> str:
    """A whole number, with commas between the thousands."""
    return f"{int(value):,}"


def percent(value: float) -> str:
    """A share in per cent with two digits."""
    return f"{value:.2%}".replace("%", " %")


def seconds(value: float) -> str:
    """A time: in milliseconds below one second, in seconds above."""
    if value == 0:
        return "0 ms"
    if value * 1e3 < LARGEST_SHORT:
        return f"{_three_digits(value * 1e3)} ms"
    return f"{_three_digits(value)} s" if value < LARGEST_SHORT else f"{value:,.0f} s"


def ratio(value: float) -> str:
    """How many times as much."""
    return f"{_three_digits(value) if value < LARGEST_SHORT else f'{value:,.0f}'}x"


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".")


def to_terminal(sections: Iterable[Section], console: Console) -> None:
    """Print sections with rich, fitted to the console's width."""
    from rich.padding import Padding
    from rich.text import Text

    said: set[str] = set()
    for section in sections:
        console.rule(Text(section.heading, style="bold"), align="left")
        for line in section.lines:
            console.print(Text(line))
        for table in section.tables:
            console.print()
            console.print(Text(table.title, style="bold"))
            console.print(_rich(table))
            for note in _remarks(table, said):
                console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))
        console.print()


def _remarks(table: Table, said: set[str]) -> list[str]:
    """The definitions that were not `said` before, and the notes."""
    new = [text for text in table.definitions if text not in said]
    said.update(new)
    return [*new, *table.notes]


def _rich(table: Table) -> Any:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    cells = table.cells()
    for name in cells:
        right = name in table.formats
        shown.add_column(
            Text(str(name)),
            justify="right" if right else "left",
            no_wrap=right or _short_words(cells[name]),
            overflow="fold",
            vertical="top",
        )
    for line in cells.itertuples(index=False):
        shown.add_row(*(Text(cell) for cell in line))
    return shown


def _short_words(cells: pd.Series[str]) -> bool:
    """Whether each cell is one word that is too short to be broken."""
    return all(len(cell) <= LONGEST_WHOLE and " " not in cell for cell in cells)


def to_markdown(sections: Iterable[Section], level: int = 2) -> str:
    """Sections as Markdown; `level` is that of their headings."""
    blocks: list[str] = []
    said: set[str] = set()
    for section in sections:
        blocks.append(f"{'#' * level} {section.heading}")
        blocks += section.lines
        for table in section.tables:
            remarks = (_escaped(remark) for remark in _remarks(table, said))
            blocks += [f"{'#' * (level + 1)} {table.title}", _markdown(table), *remarks]
    return "\n\n".join(blocks) + "\n"


def _markdown(table: Table) -> str:
    cells = table.cells().map(_escaped)
    cells.columns = pd.Index([_one_line(str(name)) for name in cells])
    align = ["right" if name in table.formats else "left" for name in table.frame]
    return str(cells.to_markdown(index=False, colalign=align, disable_numparse=True))


def _one_line(header: str) -> str:
    return header.replace("-\n", "").replace("\n", " ")


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
