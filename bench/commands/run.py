"""`relubench run`: measure a suite."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import console, errors, progress_bar

if TYPE_CHECKING:
    from bench.plan import Planned
    from bench.row import Row

INTERRUPTED, TERMINATED = 130, 143  # what shells give for Ctrl-C, and for SIGTERM


class Terminated(KeyboardInterrupt):
    """SIGTERM, which is to end a run as Ctrl-C does."""


def run(
    suite: Annotated[str, typer.Argument(help="A shipped suite (`relubench suites`) or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="results/NAME")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the full MNIST set.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Cells at a time, each on its own processors.")] = 1,
    hard_limit: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which a cell's process is killed.", show_default="time limit + 10 s or a quarter"
        ),
    ] = None,
    memory_limit: Annotated[
        float | None,
        typer.Option(
            help="MB above which a cell's process and its children are killed.", show_default="90 % divided by jobs"
        ),
    ] = None,
    report: Annotated[bool, typer.Option(help="Print the report at the end.")] = True,
) -> None:
    """Measure a suite; what the run's folder has already is not measured again.

    Every cell runs in a worker process that is killed and replaced past a limit. Ctrl-C stops at once and keeps every
    finished cell: the same command goes on from there. At the end the rows are held against each other, as
    `relubench check` does it: exit code 3 where something does not hold.

    Example: relubench run quick --jobs 2
    """
    from bench.commands.check import CONTRADICTED, judge_runs, show_findings
    from bench.limits import Limits, in_force, shared_cores
    from bench.plan import make_plan
    from bench.runner import run as run_plan
    from bench.runner import unfinished
    from bench.store import Store
    from bench.suite import load_suite

    checked = load_suite(suite)
    limits = in_force(checked, jobs, Limits(hard_limit, memory_limit))
    plan = make_plan(checked, data)
    for note in (*plan.notes, *shared_cores(jobs, plan.threads)):
        errors.print(f"note: {note}")
    folder = out or Path("results") / checked.name
    with _sigterm_as_ctrl_c(), Store(folder) as store, progress_bar("{task.fields[failed]} failed") as progress:
        for note in store.notes:
            errors.print(f"note: {note}")
        cells = len(plan.cells)
        done = cells - len(unfinished(plan, store, limits))
        task = progress.add_task(checked.name, total=cells, completed=done, failed=0)
        running: dict[str, str] = {}

        def show() -> None:
            first, *others = [*running.values()] or [checked.name]
            progress.update(task, description=f"{len(running)} cells: {first}" if others else first)

        def on_start(planned: Planned) -> None:
            running[planned.digest] = planned.cell.describe()
            show()

        def on_row(row: Row) -> None:
            running.pop(row.cell)
            show()
            failed = progress.tasks[task].fields["failed"] + (row.error is not None)
            progress.update(task, advance=1, failed=failed)
            if row.error is not None:
                what = " ".join(part for part in (row.network, row.method, row.solver) if part)
                errors.print(f"failed: {what}: {row.error}")

        try:
            run_plan(plan, store, jobs=jobs, limits=limits, on_start=on_start, on_row=on_row)
        except KeyboardInterrupt as stopped:
            progress.stop()
            done = cells - len(unfinished(plan, store, limits))
            errors.print(f"stopped: {done} of {cells} cells are in {folder}; run it again to go on")
            raise typer.Exit(TERMINATED if isinstance(stopped, Terminated) else INTERRUPTED) from None
        failed = progress.tasks[task].fields["failed"]
    console.print(f"{cells} cells, {done} of them were there, {failed} failed; the run is in {folder}", soft_wrap=True)
    if report:
        from bench.commands.report import report as print_report

        print_report(folder)
    judgement = judge_runs([folder], data)
    show_findings(judgement)
    if judgement.findings:
        raise typer.Exit(CONTRADICTED)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
