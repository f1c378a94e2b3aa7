"""`relubench report`: what runs say, printed and written."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.choices import REPORT_FILES
from bench.console import console, errors

if TYPE_CHECKING:
    from bench.report.files import Content
    from bench.report.frame import Run


class Format(StrEnum):
    """How a report is printed."""

    TEXT = "text"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `relubench run` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html, report.md, report.tex, the rows and the figures.")
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(help=f"What goes there: {', '.join(REPORT_FILES)}; may be given again.", show_default="all"),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print; csv prints a line a row of results.")] = Format.TEXT,
    chapter: Annotated[
        bool | None,
        typer.Option(help="The tutorial chapter's values beside ours.", show_default="for the suite chapter"),
    ] = None,
) -> None:
    """Print what runs say: verdicts, bounds, times, solvers and attacks; several runs are reported together.

    With --out, write it: a page that works offline, Markdown, LaTeX tables, the rows as CSV and Parquet, and figures.

    Examples:
    relubench report results/quick --out report

    relubench report results/monday results/tuesday --out report --write html
    """
    from bench.report.frame import load_runs

    files = _checked(write)
    loaded = load_runs(runs)
    for note in loaded.notes:
        errors.print(f"note: {note}")
    show_report(loaded, out, format, chapter, files)


def _checked(names: list[str] | None) -> tuple[str, ...]:
    """The names, or all there are."""
    from networks.errors import InputError
    from networks.files import shown

    for name in names or ():
        if name not in REPORT_FILES:
            raise InputError(f"--write is {shown(name)}; expected one of {', '.join(REPORT_FILES)}")
    return tuple(names or REPORT_FILES)


def show_report(
    run: Run,
    out: Path | None = None,
    format: Format = Format.TEXT,
    chapter: bool | None = None,
    files: tuple[str, ...] = REPORT_FILES,
) -> None:
    """Print the report of what was read, and write it where a folder is given."""
    from bench.report.content import content_of
    from bench.report.files import ROWS_ALONE, Content

    forms = {*files} if out is not None else set()
    if format is Format.CSV and forms <= ROWS_ALONE:
        content = Content("", ())
    else:
        with_figures = format is Format.MARKDOWN or bool({"html", "markdown", "figures"} & forms)
        content = content_of(run, chapter=chapter, figures=with_figures)
    _print(run, content, format)
    if out is not None:
        from bench.report.files import write_report

        errors.print(f"wrote {', '.join(write_report(run, content, out, files))} to {out}")


def _print(run: Run, content: Content, format: Format) -> None:
    from bench.report.files import csv_text
    from bench.report.latex import to_latex
    from bench.report.markdown import to_markdown
    from bench.report.terminal import to_terminal

    sections = [*content.sections, *content.chapter]
    if format is Format.TEXT:
        to_terminal(sections, console)
    elif format is Format.MARKDOWN:
        typer.echo(to_markdown(sections), nl=False)
    elif format is Format.LATEX:
        typer.echo(to_latex(sections, content.title), nl=False)
    else:
        typer.echo(csv_text(run.rows), nl=False)
