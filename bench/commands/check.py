"""`relubench check`: what must hold between the rows of runs."""

from __future__ import annotations

import json as json_format
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands.options import Data, Json
from bench.console import console, errors

if TYPE_CHECKING:
    from bench.judge import Judgement, Side
    from bench.report.frame import Run

CONTRADICTED = 3  # the exit code where something does not hold
SHOWN = 20  # findings, of different kinds


def check(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `relubench run` wrote.")],
    data: Data = None,
    json: Json = False,
) -> None:
    """Test what must hold between all rows of the runs together, and name the cells that are wrong.

    Bounds against inputs, relaxations in order, solvers in agreement, and every witness run forward again.

    Exit code 3 where something does not hold.

    Example: relubench check results/quick results/solvers
    """
    loaded = load_replayed(runs, data)
    judgement = replace(loaded.judgement, notes=(*loaded.notes, *loaded.judgement.notes))
    if json:
        print(json_format.dumps(_to_dict(judgement), allow_nan=False))
    else:
        show(judgement)
    if judgement.findings:
        raise typer.Exit(CONTRADICTED)


def load_replayed(folders: list[Path], data: Path | None) -> Run:
    """The runs, all their rows judged together, with their witnesses run forward again before that.

    Raises
    ------
    InputError
        A folder that holds no run.
    """
    from bench.report.frame import load_runs
    from bench.witnesses import replay_inputs

    return load_runs(folders, partial(replay_inputs, data_dir=data))


def show(judgement: Judgement) -> None:
    """Print how much each check tested, then what does not hold, the first few of each."""
    from rich.table import Table

    from bench.judge import CHECKS
    from bench.witnesses import CHECK

    words = {name: text for name, (text, _) in CHECKS.items()} | {CHECK: "inputs run forward again"}
    table = Table("check", "of what", "tested", "findings", box=None, header_style="bold")
    for column in table.columns[2:]:
        column.justify = "right"
    for name, tested in judgement.tested.items():
        wrong = sum(finding.check == name for finding in judgement.findings)
        table.add_row(name, words[name], f"{tested:,}", f"{wrong:,}")
    console.print(table)
    show_findings(judgement)


def show_findings(judgement: Judgement) -> None:
    """Print what could not be tested, and what does not hold, the first few of it."""
    for note in judgement.notes:
        errors.print(f"note: {note}")
    shown = judgement.firsts[:SHOWN]
    for finding in shown:
        cells = ", ".join(dict.fromkeys(side.cell[:12] for side in finding.guilty))
        console.print(f"{finding.check}: {finding} [cell {cells}]", soft_wrap=True)
    more = len(judgement.findings) - len(shown)
    if more > 0:
        console.print(f"and {more:,} more like these: `relubench check --json` has all of them", soft_wrap=True)
    console.print(summary(judgement), soft_wrap=True)


def summary(judgement: Judgement) -> str:
    """One line: how much was tested, and whether it holds."""
    tested = sum(judgement.tested.values())
    if not judgement.findings:
        return f"{tested:,} tests, nothing is contradicted"
    wrong, guilty = len(judgement.findings), len(judgement.guilty)
    who = Counter(side.who for side in _guilty_sides(judgement))
    rows = ", ".join(f"{name} ({count})" for name, count in sorted(who.items()))
    return f"{tested:,} tests, {wrong:,} do not hold: {guilty:,} rows are not to be believed: {rows}"


def _guilty_sides(judgement: Judgement) -> list[Side]:
    """One side of each row that is wrong."""
    return list({side.row: side for finding in judgement.findings for side in finding.guilty}.values())


def _to_dict(judgement: Judgement) -> dict[str, object]:
    return {
        "tested": judgement.tested,
        "findings": [finding.to_dict() for finding in judgement.findings],
        "notes": list(judgement.notes),
    }
