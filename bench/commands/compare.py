"""`relubench compare`: what changed between two runs, and whether that is a regression."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands.options import NUMBER, Json
from bench.commands.outputs import GitHub, JUnit, Markdown, Outputs
from bench.console import errors
from networks.errors import InputError

if TYPE_CHECKING:
    from bench.compare import Comparison


def compare(
    base: Annotated[
        Path, typer.Argument(metavar="BASE", help="A run's folder, or a file of `pytest --benchmark-json`.")
    ],
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="The same of what is to be judged.")],
    work_threshold: Annotated[
        float,
        typer.Option(
            parser=NUMBER, help="Geometric mean of HEAD / BASE above which work fails, where none can match exactly."
        ),
    ] = 1.05,
    markdown: Markdown = None,
    junit: JUnit = None,
    json: Json = False,
    github: GitHub = False,
    update: Annotated[
        bool, typer.Option("--update", help="Then make HEAD the new BASE, which need not be there yet.")
    ] = False,
) -> None:
    """Compare two runs of one suite: answers and work block, times are shown.

    Exit code 0: nothing got worse. 1: more work. 3: a wrong, changed or missing answer. 4: nothing could be compared.

    Example: relubench compare results/baselines/ci results/ci --junit compare.xml
    """
    outputs = Outputs(markdown, junit, json, github)
    if not 1 <= work_threshold < math.inf:
        raise InputError(f"--work-threshold is {work_threshold:g}; expected a ratio of at least 1, such as 1.05")
    compared = _compare(base, head, work_threshold, update=update)
    code = 0 if compared is None else compared.exit_code
    if compared is not None:
        outputs.show(compared)
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


def _update(base: Path, head: Path, *, first: bool) -> None:
    from bench.compare.baseline import make_baseline
    from bench.compare.lanes import RunFiles

    said = make_baseline(RunFiles.read(head), base)
    errors.print(f"{said}; there was none" if first else said)
