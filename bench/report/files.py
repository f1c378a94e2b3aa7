"""The files of a report: one page, Markdown, LaTeX, the rows as CSV and Parquet, the figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pandas as pd

from bench.choices import REPORT_FILES
from bench.report.drawing import Drawing, drawn
from bench.report.frame import Run
from bench.report.render import Section
from bench.store import make_folder, writing

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped]

FIGURES = "figures"  # the folder of the figures' files, beside the texts that link to them
PICTURES = "images"  # the folder of the chapter's pictures
ROWS_ALONE = {"csv", "parquet"}  # the forms that have rows, and nothing of what is made of them
CHAPTER_TITLE = "Chapter 4 of Kolter and Madry, Adversarial Robustness"


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a report says, made once for all its forms.

    Attributes
    ----------
    title : str
    sections : tuple of Section
    chapter : tuple of Section
        The tutorial chapter's values beside ours; empty where they are not wanted.
    """

    title: str
    sections: tuple[Section, ...]
    chapter: tuple[Section, ...] = ()


def write_report(run: Run, content: Content, out: Path, files: Collection[str] = REPORT_FILES) -> list[str]:
    """Write a report's files into a folder, which is made where it is missing; returns their names.

    Markdown links to the figures' files, and brings these along.

    Raises
    ------
    InputError
        The folder or a file in it cannot be written.
    """
    make_folder(out)
    wanted = {*files, "figures"} if "markdown" in files else {*files}
    figures = [figure for section in content.sections for figure in section.figures]
    drawings = drawn(figures) if {"html", "figures"} & wanted else {}
    return [name for file in REPORT_FILES if file in wanted for name in WRITERS[file](run, content, drawings, out)]


def _html(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    from bench.report.html.page import page_of

    return _write_text(out, "report.html", page_of(run, content.title, _all(content), drawings))


def _markdown(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    from bench.report.images import image_section
    from bench.report.markdown import to_markdown

    written = _write_text(out, "report.md", f"# {content.title}\n\n{to_markdown(content.sections, figures=FIGURES)}")
    if content.chapter:
        pictures = image_section(run, chapter=True)
        write_figures(drawn(figure for section in pictures for figure in section.figures), out / PICTURES)
        text = to_markdown([*content.chapter, *pictures], figures=PICTURES)
        written += _write_text(out, "chapter.md", f"# {CHAPTER_TITLE}\n\n{text}")
    return written


def _latex(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    from bench.report.latex import to_latex

    return _write_text(out, "report.tex", to_latex(_all(content), content.title))


def _csv(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    with writing(out / "rows.csv"), (out / "rows.csv").open("wb") as file:
        write_csv(run.rows, file)
    return ["rows.csv"]


def _parquet(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    import pyarrow.parquet  # type: ignore[import-untyped]

    with writing(out / "rows.parquet"), (out / "rows.parquet").open("wb") as file:
        pyarrow.parquet.write_table(_columns(run.rows), file, compression="zstd")
    return ["rows.parquet"]


def _figures(run: Run, content: Content, drawings: Mapping[str, Drawing], out: Path) -> list[str]:
    return write_figures(drawings, out / FIGURES) if drawings else []


Writer = Callable[[Run, Content, Mapping[str, Drawing], Path], list[str]]
WRITERS: dict[str, Writer] = {
    "html": _html,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "parquet": _parquet,
    "figures": _figures,
}


def _all(content: Content) -> tuple[Section, ...]:
    return content.sections + content.chapter


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
    return [f"{len(drawings)} figure{'s' * (len(drawings) != 1)}"]


def write_csv(rows: pd.DataFrame, file: IO[bytes]) -> None:
    """One line a row, comma-separated; what is missing is empty."""
    import pyarrow.csv  # type: ignore[import-untyped]

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
