"""The forms that a comparison can take, shared by the commands that make one."""

from __future__ import annotations

import json as json_format
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import console, errors
from networks.errors import InputError

if TYPE_CHECKING:
    from bench.compare import Comparison

STANDARD_OUTPUT = Path("-")
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"  # where GitHub has a step's file for the job's summary

Markdown = Annotated[
    Path | None, typer.Option("--markdown", help="Write Markdown for a comment to a file; - prints it.")
]
JUnit = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML to a file; - prints it.")]
GitHub = Annotated[bool, typer.Option("--github", help=f"Print annotations, and add Markdown to ${SUMMARY_VARIABLE}.")]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a comparison goes: files, `-` for the standard output, and the terminal where nothing else is printed.

    Raises
    ------
    InputError
        Two of them print to the standard output.
    """

    markdown: Path | None
    junit: Path | None
    json: bool
    github: bool

    def __post_init__(self) -> None:
        printed = self._printed()
        if len(printed) > 1 or (printed and self.github):
            both = ", ".join([*printed, *(["--github"] if self.github else [])])
            raise InputError(f"{both} all print to the standard output; expected one of them, and files for the others")

    def _printed(self) -> list[str]:
        paths = {"--markdown": self.markdown, "--junit": self.junit}
        return [*(name for name, path in paths.items() if path == STANDARD_OUTPUT), *(["--json"] if self.json else [])]

    def show(self, compared: Comparison, *, terminal: bool = True) -> None:
        """Print and write all that was asked for; the terminal's tables only with `terminal`."""
        if self.json:
            print(json_format.dumps(compared.to_dict(), allow_nan=False))
        if terminal and not self._printed():
            _to_terminal(compared)
        _write(compared, {"markdown": self.markdown, "junit": self.junit})
        if self.github:
            _annotate(compared)


def _to_terminal(compared: Comparison) -> None:
    from bench.compare.comparison import Level
    from bench.compare.sections import detail_sections, finding_sections, summary_section
    from bench.report.terminal import to_terminal

    found = [section for level in reversed(Level) for section in finding_sections(compared, level)]
    to_terminal([*detail_sections(compared), *found, summary_section(compared)], console)


def _write(compared: Comparison, paths: dict[str, Path | None]) -> None:
    from bench.compare.junit import as_junit
    from bench.compare.markdown import as_markdown
    from bench.store import writing

    for name, make in (("markdown", as_markdown), ("junit", as_junit)):
        path = paths[name]
        if path == STANDARD_OUTPUT:
            typer.echo(make(compared))
        elif path is not None:
            with writing(path):
                path.write_text(make(compared), encoding="utf-8", errors="backslashreplace")
            errors.print(f"wrote {path}")


def _annotate(compared: Comparison) -> None:
    """Annotations on the standard output, where GitHub reads them, and the job's summary."""
    from bench.compare.github import workflow_commands
    from bench.compare.markdown import as_markdown
    from bench.store import writing

    for line in workflow_commands(compared):
        typer.echo(line)
    summary = os.environ.get(SUMMARY_VARIABLE)
    if summary:
        with writing(Path(summary)), Path(summary).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(as_markdown(compared) + "\n")
