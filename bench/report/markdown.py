"""Sections as Markdown, for a pull request, a job's summary or a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from bench.report.render import Figure, Section, Table, one_line, remarks


def to_markdown(sections: Iterable[Section], level: int = 2, figures: str | None = None) -> str:
    """Sections as Markdown.

    Parameters
    ----------
    level : int
        Of the sections' headings.
    figures : str or None
        Folder of the figures' SVG files, as the text is to link to it; None where there are none: then the figures'
        alternative texts stand in for them.
    """
    blocks: list[str] = []
    said: set[str] = set()
    for section in sections:
        blocks.append(f"{'#' * level} {section.heading}")
        blocks += section.lines
        for figure in section.figures:
            blocks += _figure(figure, level + 1, figures)
        for table in section.tables:
            said_below = (_escaped(remark) for remark in remarks(table, said))
            blocks += [f"{'#' * (level + 1)} {table.title}", _table(table), *said_below]
    return "\n\n".join(blocks) + "\n"


def _figure(figure: Figure, level: int, folder: str | None) -> Iterator[str]:
    yield f"{'#' * level} {figure.title}"
    link = f"![{_in_brackets(figure.text)}]({folder}/{figure.file})"
    yield _escaped(figure.text) if folder is None else link
    yield from map(_escaped, figure.notes)


def _in_brackets(text: str) -> str:
    for letter in "\\[]":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split()).replace("<", "&lt;")


def _table(table: Table) -> str:
    cells = table.cells().map(_escaped)
    cells.columns = pd.Index([one_line(str(name)) for name in cells])
    align = ["right" if name in table.formats else "left" for name in table.frame]
    return str(cells.to_markdown(index=False, colalign=align, disable_numparse=True))


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
