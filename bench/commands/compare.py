"""`relubench compare`: what changed between two runs, and whether that is a regression."""

from __future__ import annotations

import json as json_format
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands.options import Json
from bench.console import console, errors
from networks.errors import InputError

if TYPE_CHECKING:
    from bench.compare import Comparison

STANDARD_OUTPUT = Path("-")
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"  # where GitHub has a step's file for the job's summary


def compare(
    base: Annotated[Path, typer.Argument(help="A run's folder, or a file of `pytest --benchmark-json`.")],
    head: Annotated[Path, typer.Argument(help="The same of what is to be judged.")],
    work_threshold: Annotated[
        float, typer.Option(help="Geometric mean of HEAD / BASE above which work fails, where none can match exactly.")
    ] = 1.05,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown for a comment to a file; - prints it.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to a file; - prints it.")] = None,
    json: Json = False,
    github: Annotated[
        bool, typer.Option("--github", help=f"Print annotations, and add Markdown to ${SUMMARY_VARIABLE}.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Then make HEAD the new BASE, which need not be there yet.")
    ] = False,
) -> None:
    """Compare two runs of one suite: answers and work block, times are shown.

    Exit code 0: nothing got worse. 1: more work. 3: a wrong or changed answer. 4: nothing could be compared.

    Example: relubench compare results/baselines/ci results/ci --junit compare.xml
    """
    printed = [name for name, path in (("--markdown", markdown), ("--junit", junit)) if path == STANDARD_OUTPUT]
    printed += ["--json"] if json else []
    if len(printed) > 1 or (printed and github):
        both = ", ".join([*printed, *(["--github"] if github else [])])
        raise InputError(f"{both} all print to the standard output; expected one of them, and files for the others")
    if not 1 <= work_threshold < math.inf:
        raise InputError(f"--work-threshold is {work_threshold:g}; expected a ratio of at least 1, such as 1.05")
    compared = _compare(base, head, work_threshold, update=update)
    code = 0 if compared is None else compared.exit_code
    if compared is not None:
        _show(compared, json=json, terminal=not printed)
        _write(compared, {"markdown": markdown, "junit": junit})
        if github:
            _annotate(compared)
    if update:
        _update(base, head, first=compared is None)
    elif code:
        raise typer.Exit(code)


def _compare(base: Path, head: Path, work_threshold: float, *, update: bool) -> Comparison | None:
    """The comparison; None where there is no BASE yet that --update will make."""
    from bench.compare.baseline import check_apart
    from bench.compare.lanes import RunFiles, compare_runs
    from bench.compare.micro import Micro, compare_micro, is_micro

    if update:
        check_apart(base, head)
    if is_micro(base) or is_micro(head):
        if update:
            raise InputError("--update keeps runs; expected two folders (copy a file of benchmarks over the other)")
        return compare_micro(Micro.read(base), Micro.read(head))
    if update and not base.exists():
        return None
    return compare_runs(RunFiles.read(base), RunFiles.read(head), work_threshold=work_threshold)


def _show(compared: Comparison, *, json: bool, terminal: bool) -> None:
    from bench.compare.comparison import Level
    from bench.compare.sections import detail_sections, finding_sections, summary_section
    from bench.report.terminal import to_terminal

    if json:
        print(json_format.dumps(compared.to_dict(), allow_nan=False))
    if terminal:
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


def _update(base: Path, head: Path, *, first: bool) -> None:
    from bench.compare.baseline import make_baseline
    from bench.compare.lanes import RunFiles

    said = make_baseline(RunFiles.read(head), base)
    errors.print(f"{said}; there was none" if first else said)
