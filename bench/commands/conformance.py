"""`relubench solvers --check NAME`: what a back-end gets right of tiny problems with known answers."""

from __future__ import annotations

import json as json_format
from collections import Counter
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from bench.console import console, progress_bar

if TYPE_CHECKING:
    from solvers.conformance.kit import CheckResult

DOES_NOT_CONFORM = 3  # the exit code
OUTCOMES = ("passed", "failed", "skipped")


def check_solver(name: str, *, json: bool) -> None:
    """Print the result of every check, and exit with code 3 if one failed."""
    results = _run(name)
    counts: Counter[str] = Counter(result.outcome for result in results)
    if json:
        checks = [asdict(result) for result in results]
        print(json_format.dumps({"solver": name, **{word: counts[word] for word in OUTCOMES}, "checks": checks}))
    else:
        _print(name, results)
        print(", ".join(f"{counts[word]} {word}" for word in OUTCOMES))
    if counts["failed"]:
        raise typer.Exit(DOES_NOT_CONFORM)


def _run(name: str) -> list[CheckResult]:
    from solvers.conformance.checks import CHECKS
    from solvers.conformance.kit import check_backend

    results = []
    with progress_bar() as progress:
        task = progress.add_task(f"checking {name}", total=len(CHECKS))
        for result in check_backend(name):
            results.append(result)
            progress.advance(task)
    return results


def _print(name: str, results: list[CheckResult]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=f"Checks of {name}", title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("detail", overflow="fold")
    for group, checks in groupby(results, key=lambda result: result.group):
        table.add_row(group)
        for check in checks:
            table.add_row(f"  {check.name}", check.outcome, check.detail)
    console.print(table)
