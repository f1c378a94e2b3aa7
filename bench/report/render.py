"""What a report consists of: sections of tables, figures and lines. How they are shown is the renderers' business."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

Format = Callable[[Any], str]
MISSING = "-"
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
    chart : altair.Chart, a composition of charts, or bytes
        Bytes are a picture, as PNG.
    notes : tuple of str
        How to read it, and what was left out or aggregated; printed below it.
    """

    name: str
    title: str
    text: str
    chart: Any
    notes: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The name of the file to show: lines where there are some."""
        return f"{self.name}.png" if isinstance(self.chart, bytes) else f"{self.name}.svg"


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


def counted(number: int, what: str) -> str:
    """`1 row`, `12 rows`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


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


def remarks(table: Table, said: set[str]) -> list[str]:
    """The definitions that were not `said` before in this report, and the notes."""
    new = [text for text in table.definitions if text not in said]
    said.update(new)
    return [*new, *table.notes]


def one_line(header: str) -> str:
    """A column's name without the breaks of a narrow header."""
    return header.replace("-\n", "").replace("\n", " ")


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
