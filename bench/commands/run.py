"""`relubench run`: measure a suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import console, errors, progress_bar

if TYPE_CHECKING:
    from bench.row import Row
    from bench.runner import Planned

INTERRUPTED = 130  # what shells give for Ctrl-C


def run(
    suite: Annotated[str, typer.Argument(help="A shipped suite (`relubench suites`) or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="results/NAME")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the full MNIST set.")] = None,
    report: Annotated[bool, typer.Option(help="Print the report at the end.")] = True,
) -> None:
    """Measure a suite; what the run's folder has already is not measured again.

    Ctrl-C stops at once and keeps every finished cell: the same command goes on from there. At the end the rows are
    held against each other, as `relubench check` does it: exit code 3 where something does not hold.

    Example: relubench run quick
    """
    from bench.commands.check import CONTRADICTED, judge_runs, show_findings
    from bench.runner import make_plan
    from bench.runner import run as run_plan
    from bench.store import Store
    from bench.suite import load_suite

    checked = load_suite(suite)
    plan = make_plan(checked, data)
    for note in plan.notes:
        errors.print(f"note: {note}")
    folder = out or Path("results") / checked.name
    store = Store(folder)
    cells, done = len(plan.cells), plan.finished(store)
    with progress_bar("{task.fields[failed]} failed") as progress:
        task = progress.add_task(checked.name, total=cells, completed=done, failed=0)

        def on_start(planned: Planned) -> None:
            progress.update(task, description=planned.cell.describe())

        def on_row(row: Row) -> None:
            failed = progress.tasks[task].fields["failed"] + (row.error is not None)
            progress.update(task, advance=1, failed=failed)
            if row.error is not None:
                what = " ".join(part for part in (row.network, row.method, row.solver) if part)
                errors.print(f"failed: {what}: {row.error}")

        try:
            run_plan(plan, store, on_start=on_start, on_row=on_row)
        except KeyboardInterrupt:
            progress.stop()
            errors.print(f"stopped: {plan.finished(store)} of {cells} cells are in {folder}; run it again to go on")
            raise typer.Exit(INTERRUPTED) from None
        progress.update(task, description=checked.name)
        failed = progress.tasks[task].fields["failed"]
    console.print(f"{cells} cells, {done} of them were there, {failed} failed; the run is in {folder}", soft_wrap=True)
    if report:
        from bench.commands.report import report as print_report

        print_report(folder)
    judgement = judge_runs([folder], data)
    show_findings(judgement)
    if judgement.findings:
        raise typer.Exit(CONTRADICTED)
