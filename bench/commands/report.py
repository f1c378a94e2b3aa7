"""`relubench report`: the tables of a run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import console, errors

if TYPE_CHECKING:
    from bench.report.frame import Run
    from bench.report.render import Section


CHAPTER = "chapter"  # the suite that asks the chapter's questions


class Format(StrEnum):
    """How a report is printed."""

    TEXT = "text"
    MARKDOWN = "markdown"
    CSV = "csv"


def report(
    run: Annotated[Path, typer.Argument(help="Folder that `relubench run` wrote.")],
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, rows.csv and the chapter's files.")] = None,
    format: Annotated[Format, typer.Option(help="How to print; csv prints a line a row of results.")] = Format.TEXT,
    chapter: Annotated[
        bool | None,
        typer.Option(help="The tutorial chapter's values beside ours.", show_default="for the suite chapter"),
    ] = None,
) -> None:
    """Print the tables of a run: verdicts, bounds, times, solvers and attacks.

    Example: relubench report results/quick --out report
    """
    from bench.report.frame import load_run

    loaded = load_run(run)
    for note in loaded.notes:
        errors.print(f"note: {note}")
    show_report(loaded, out, format, chapter)


def show_report(run: Run, out: Path | None = None, format: Format = Format.TEXT, chapter: bool | None = None) -> None:
    """Print the report of what was read, and write it where a folder is given."""
    from bench.report.chapter import chapter_sections
    from bench.report.summary import contradiction_sections, summary_section
    from bench.report.tables import run_sections

    sections = [*contradiction_sections(run), summary_section(run), *run_sections(run)]
    wanted = run.suite_name == CHAPTER if chapter is None else chapter
    chapter_tables = chapter_sections(run) if wanted else []
    _print(run, [*sections, *chapter_tables], format)
    if out is not None:
        _write(run, sections, chapter_tables, out)


def _print(run: Run, sections: list[Section], format: Format) -> None:
    from bench.report.markdown import to_markdown
    from bench.report.terminal import to_terminal

    if format is Format.TEXT:
        to_terminal(sections, console)
    elif format is Format.MARKDOWN:
        typer.echo(to_markdown(sections), nl=False)
    else:
        typer.echo(run.rows.to_csv(index=False), nl=False)


def _write(run: Run, sections: list[Section], chapter: list[Section], out: Path) -> None:
    from bench.report.images import image_section
    from bench.report.markdown import to_markdown
    from bench.store import make_folder, writing

    make_folder(out)
    files = {"report.md": f"# Report on {', '.join(run.names)}\n\n{to_markdown(sections)}"}
    if chapter:
        pictures = image_section(run, out)
        files["chapter.md"] = (
            f"# Chapter 4 of Kolter and Madry, Adversarial Robustness\n\n{to_markdown([*chapter, *pictures])}"
        )
    files["rows.csv"] = run.rows.to_csv(index=False)
    for name, text in files.items():
        with writing(out / name):
            (out / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    errors.print(f"wrote {', '.join(files)} to {out}")
