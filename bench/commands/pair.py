"""`relubench pair`: two installations timed against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands.options import Data
from bench.console import console, errors, progress_bar

if TYPE_CHECKING:
    from bench.limits import Limits
    from bench.pairing.result import Pairing, Rules
    from bench.plan import Plan

SLOWER, DIFFERS, NOT_COMPARED = 1, 3, 4  # exit codes, as those of `relubench compare`


def pair(
    suite: Annotated[str, typer.Argument(help="A shipped suite (`relubench suites`) or a TOML file.")],
    base: Annotated[str, typer.Option(metavar="PYTHON", help="Interpreter of the installation to compare with.")],
    head: Annotated[str, typer.Option(metavar="PYTHON", help="Interpreter of the installation to judge.")],
    threshold: Annotated[float, typer.Option(help="Fail where head takes surely more than this times base's.")] = 1.10,
    rounds: Annotated[int, typer.Option(help="Rounds of four measurements a cell, two pairs, at least.")] = 3,
    max_rounds: Annotated[int, typer.Option(help="Rounds at most, while the answer is not clear.")] = 10,
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds after which a call hangs.", show_default="time limit + 10 s or a quarter"),
    ] = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Folder for pair.json, with every measurement.")] = None,
) -> None:
    """Time two installations of relubench against each other, cell by cell in turns, in one job.

    Exit code 1 where head is slower: where the interval of its time over base's lies above the threshold.

    Exit code 3 where their answers differ, 4 where nothing could be compared.

    Example: relubench pair quick --base base/bin/python --head head/bin/python
    """
    from bench.limits import Limits, in_force
    from bench.pairing.record import save
    from bench.pairing.result import Rules
    from bench.plan import make_plan
    from bench.store import make_folder
    from bench.suite import load_suite
    from networks.errors import PairingError

    rules = Rules(threshold, rounds, max_rounds)
    checked = load_suite(suite)
    plan = make_plan(checked, data)
    limits = in_force(checked, 1, Limits(timeout))
    if out is not None:
        make_folder(out)
    for note in plan.notes:
        errors.print(f"note: {note}")
    try:
        pairing = _measured(plan, base, head, rules, limits)
        if out is not None:
            save(pairing, plan, out)
        raise typer.Exit(_shown(pairing))
    except PairingError as error:
        errors.print(f"relubench: error: {error}")
        raise typer.Exit(NOT_COMPARED) from None


def _measured(plan: Plan, base: str, head: str, rules: Rules, limits: Limits) -> Pairing:
    from bench.pairing.session import Session
    from bench.pairing.side import Side

    with Side("base", base, plan.threads) as a, Side("head", head, plan.threads) as b, progress_bar() as progress:
        task = progress.add_task("starting", total=None)

        def on_step(what: str, total: int) -> None:
            progress.update(task, description=what, total=total, advance=1)

        return Session(plan, a, b, rules, limits, on_step).run()


def _shown(pairing: Pairing) -> int:
    """Print what came of it; the exit code."""
    from rich.table import Table

    from bench.pairing.ratios import Decision
    from bench.pairing.tables import conclusion, headings, tables

    for note in pairing.notes:
        errors.print(f"note: {note}")
    for line in headings(pairing):
        console.print(line, soft_wrap=True)
    for text in tables(pairing):
        table = Table(*text.columns, title=text.title, title_justify="left", box=None, header_style="bold")
        for column in table.columns[1:]:
            column.justify = "right"
        for cells in text.lines:
            table.add_row(*cells)
        console.print()
        console.print(table)
    console.print()
    for words, remarks in (("left out", pairing.left_out), ("answers differ", pairing.differing)):
        for planned, what in remarks:
            console.print(f"{words}: {planned.cell.describe()}: {what}", soft_wrap=True)
    console.print(conclusion(pairing), soft_wrap=True)
    if pairing.differing:
        return DIFFERS
    return SLOWER if pairing.decision is Decision.SLOWER else 0
