"""The files of a report: one page, Markdown, LaTeX, the rows as CSV and Parquet, the figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pandas as pd

from bench.report.drawing import Drawing, drawn
from bench.report.frame import Run
from bench.report.render import Section
from bench.store import make_folder, writing

if TYPE_CHECKING:
    import pyarrow

FIGURES = "figures"  # the folder of the figures' files, beside the texts that link to them


class File(StrEnum):
    """What a report can be written as."""

    HTML = "html"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    PARQUET = "parquet"
    FIGURES = "figures"


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a report says, made once for all its forms.

    Attributes
    ----------
    title : str
    sections : tuple of Section
    """

    title: str
    sections: tuple[Section, ...]


def write_report(run: Run, content: Content, out: Path, files: Collection[File] = tuple(File)) -> list[str]:
    """Write a report's files into a folder, which is made where it is missing; returns their names.

    Markdown links to the figures' files, and brings these along.

    Raises
    ------
    InputError
        The folder or a file in it cannot be written.
    """
    make_folder(out)
    figures = [figure for section in content.sections for figure in section.figures]
    with_figures = figures and {File.HTML, File.MARKDOWN, File.FIGURES} & {*files}
    drawings = drawn(figures) if with_figures else {}
    written: list[str] = []
    for file in File:
        if file in files or (file is File.FIGURES and File.MARKDOWN in files):
            written += WRITERS[file](run, content, drawings, out)
    return written


def _html(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    from bench.report.html.page import page_of

    return _write_text(out, "report.html", page_of(run, content.title, content.sections, drawings))


def _markdown(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    from bench.report.markdown import to_markdown

    return _write_text(out, "report.md", f"# {content.title}\n\n{to_markdown(content.sections, figures=FIGURES)}")


def _latex(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    from bench.report.latex import to_latex

    return _write_text(out, "report.tex", to_latex(content.sections, content.title))


def _csv(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    with writing(out / "rows.csv"), (out / "rows.csv").open("wb") as file:
        write_csv(run.rows, file)
    return ["rows.csv"]


def _parquet(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    import pyarrow.parquet

    with writing(out / "rows.parquet"), (out / "rows.parquet").open("wb") as file:
        pyarrow.parquet.write_table(_columns(run.rows), file, compression="zstd")
    return ["rows.parquet"]


def _figures(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    return write_figures(drawings, out / FIGURES) if drawings else []


Writer = Callable[[Run, Content, Mapping[str, Drawing], Path], list[str]]
WRITERS: dict[File, Writer] = {
    File.HTML: _html,
    File.MARKDOWN: _markdown,
    File.LATEX: _latex,
    File.CSV: _csv,
    File.PARQUET: _parquet,
    File.FIGURES: _figures,
}


def write_figures(drawings: Mapping[str, Drawing], folder: Path) -> list[str]:
    """Write each figure as NAME.svg and NAME.png into a folder; returns `folder/` and how many there are.

    Raises
    ------
    InputError
        A file cannot be written.
    """
    make_folder(folder)
    for name, drawing in drawings.items():
        if drawing.svg:
            _write_text(folder, f"{name}.svg", drawing.svg_file())
        with writing(folder / f"{name}.png"):
            (folder / f"{name}.png").write_bytes(drawing.png)
    return [f"{len(drawings)} figures"]


def write_csv(rows: pd.DataFrame, file: IO[bytes]) -> None:
    """One line a row, comma-separated; what is missing is empty."""
    import pyarrow.csv

    table = _columns(rows)
    for place, column in enumerate(table.schema):
        if pyarrow.types.is_dictionary(column.type):
            table = table.set_column(place, column.name, table[column.name].cast(column.type.value_type))
    pyarrow.csv.write_csv(table, file)


def csv_text(rows: pd.DataFrame) -> str:
    """The text that `write_csv` writes."""
    file = BytesIO()
    write_csv(rows, file)
    return file.getvalue().decode()


def _columns(rows: pd.DataFrame) -> pyarrow.Table:
    import pyarrow

    return pyarrow.Table.from_pandas(rows, preserve_index=False)


def _write_text(folder: Path, name: str, text: str) -> list[str]:
    with writing(folder / name):
        (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return [name]
