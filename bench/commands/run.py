"""`relubench run`: measure a suite."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import console, errors, progress_bar

if TYPE_CHECKING:
    from bench.limits import Limits
    from bench.plan import Plan, Planned
    from bench.row import Row
    from bench.store import Store

INTERRUPTED = 130  # what shells give for Ctrl-C


def run(
    suite: Annotated[str, typer.Argument(help="A shipped suite (`relubench suites`) or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="results/NAME")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the full MNIST set.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Cells measured at the same time.", min=1)] = 1,
    hard_limit: Annotated[
        float | None,
        typer.Option(help="Seconds after which a cell is killed.", show_default="its limit and 25 %, at least 10 s"),
    ] = None,
    memory_limit: Annotated[
        float | None,
        typer.Option(help="MB above which a cell is killed.", show_default="90 % of the machine, shared by the jobs"),
    ] = None,
    report: Annotated[bool, typer.Option(help="Print the report at the end.")] = True,
) -> None:
    """Measure a suite; what the run's folder has already is not measured again.

    Every cell runs in a process of its own, which is killed with its children past a limit. Ctrl-C stops at once and
    keeps every finished cell: the same command goes on from there.

    Examples:
    relubench run quick

    relubench run mine.toml --jobs 4 --memory-limit 4000
    """
    from bench.plan import make_plan
    from bench.runner import limits_of
    from bench.store import Store
    from bench.suite import load_suite

    checked = load_suite(suite)
    plan = make_plan(checked, data)
    limits = limits_of(plan, jobs, hard_limit, memory_limit)
    for note in (*plan.notes, *crowding(plan, limits)):
        errors.print(f"note: {note}")
    folder = out or Path("results") / checked.name
    with Store(folder) as store:
        for note in store.notes:
            errors.print(f"note: {note}")
        _measure(plan, store, limits)
    if report:
        from bench.commands.report import report as print_report

        print_report(folder)


def crowding(plan: Plan, limits: Limits) -> list[str]:
    """A warning where the jobs have fewer cores than threads."""
    from bench.pool import usable_cores

    threads, cores = max(planned.cell.threads for planned in plan.cells), len(usable_cores()) or os.cpu_count() or 1
    if limits.jobs * threads <= cores:
        return []
    asked = f"{limits.jobs} job{'s' * (limits.jobs != 1)} of {threads} thread{'s' * (threads != 1)}"
    return [f"{asked} on {cores} core{'s' * (cores != 1)}: cells slow one another down, and their times say little"]


def _measure(plan: Plan, store: Store, limits: Limits) -> None:
    from bench.runner import missing
    from bench.runner import run as run_plan

    cells = len(plan.cells)
    done = cells - len(missing(plan, store, limits))
    with progress_bar("{task.fields[failed]} failed") as progress:
        task = progress.add_task(plan.suite.name, total=cells, completed=done, failed=0)

        def on_start(planned: Planned) -> None:
            progress.update(task, description=planned.cell.describe())

        def on_row(row: Row) -> None:
            failed = progress.tasks[task].fields["failed"] + (row.error is not None)
            progress.update(task, advance=1, failed=failed)
            if row.error is not None or row.killed_for is not None:
                what = " ".join(part for part in (row.network, row.method, row.solver) if part)
                errors.print(f"{'failed' if row.error else 'stopped'}: {what}: {row.error or row.evidence}")

        try:
            with _ended_by_signals():
                run_plan(plan, store, limits, on_start=on_start, on_row=on_row)
        except KeyboardInterrupt as stop:
            progress.stop()
            kept = cells - len(missing(plan, store, limits))
            errors.print(f"stopped: {kept} of {cells} cells are in {store.folder}; run it again to go on")
            raise typer.Exit(getattr(stop, "code", INTERRUPTED)) from None
        progress.update(task, description=plan.suite.name)
        failed = progress.tasks[task].fields["failed"]
    counts = f"{cells} cells, {done} of them were there, {failed} failed"
    console.print(f"{counts}; the run is in {store.folder}", soft_wrap=True)


class Ended(KeyboardInterrupt):
    """A signal that asks the run to end, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number  # what shells give


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within, SIGTERM and the end of the terminal stop the run as Ctrl-C does, and the workers with it."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    asked = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
