"""Sections in a terminal, by rich. Figures are not shown there: their numbers are in the tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.report.render import Section, Table, remarks

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

LONGEST_WHOLE = 12  # characters of a word that a narrow terminal leaves in one piece


def to_terminal(sections: Iterable[Section], console: Console) -> None:
    """Print sections with rich, fitted to the console's width."""
    from rich.padding import Padding
    from rich.text import Text

    said: set[str] = set()
    for section in sections:
        if not section.lines and not section.tables:
            continue
        console.rule(Text(section.heading, style="bold"), align="left")
        for line in section.lines:
            console.print(Text(line))
        for table in section.tables:
            console.print()
            console.print(Text(table.title, style="bold"))
            console.print(_rich(table))
            for note in remarks(table, said):
                console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))
        console.print()


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
