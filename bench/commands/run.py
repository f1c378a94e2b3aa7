"""`relubench run`: measure a suite."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from bench.commands.options import INTEGER, NUMBER
from bench.console import console, errors

if TYPE_CHECKING:
    from bench.limits import Limits
    from bench.plan import Plan
    from bench.store import Store

INTERRUPTED = 130  # what shells give for Ctrl-C
ALL_FAILED = 1


def run(
    suite: Annotated[str, typer.Argument(help="A shipped suite (`relubench suites`) or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="results/NAME")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the full MNIST set.")] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", parser=INTEGER, help="Cells at a time, each on its own processors.")
    ] = 1,
    hard_limit: Annotated[
        float | None,
        typer.Option(
            parser=NUMBER,
            help="Seconds after which a cell's process is killed.",
            show_default="time limit + 10 s or a quarter",
        ),
    ] = None,
    memory_limit: Annotated[
        float | None,
        typer.Option(
            parser=NUMBER,
            help="MB above which a cell's process and its children are killed.",
            show_default="90 % divided by jobs",
        ),
    ] = None,
    logs: Annotated[bool, typer.Option(help="Keep the solvers' own logs.")] = True,
    report: Annotated[bool, typer.Option(help="Print the report at the end.")] = True,
) -> None:
    """Measure a suite; what the run's folder has already is not measured again.

    Every cell runs in a worker process that is killed and replaced past a limit.

    Ctrl-C stops at once and keeps every finished cell: the same command goes on from there.

    The file run.log in the run's folder keeps what happened; `relubench status` shows from outside how far it is.

    At the end the rows are held against each other by `relubench check`: exit code 3 where something does not hold, 1
    where every cell failed.

    Example: relubench run quick --jobs 2
    """
    from bench.limits import Limits, in_force, shared, shared_cores, too_low
    from bench.plan import make_plan
    from bench.runlog import keeping_log, log
    from bench.runner import worker_count
    from bench.store import Store
    from bench.suite import load_suite

    checked = load_suite(suite)
    limits = in_force(checked, jobs, Limits(hard_limit, memory_limit))
    plan = make_plan(checked, data)
    folder = out or Path("results") / checked.name
    with Store(folder) as store, keeping_log(folder, _note):
        workers = worker_count(plan, store, jobs)
        limits = shared(limits, workers)
        for note in (*plan.notes, *shared_cores(workers, plan.threads), *too_low(limits), *store.notes):
            log.warning("note: %s", note)
            _note(note)
        all_failed = _measure(plan, store, jobs, limits, logs)
    _conclude(folder, data, report)
    if all_failed:
        raise typer.Exit(ALL_FAILED)


def _conclude(folder: Path, data: Path | None, report: bool) -> None:
    """Read once what was measured, report it and say what does not hold."""
    from bench.commands.check import CONTRADICTED, load_replayed, show_findings
    from bench.commands.report import show_report

    measured = load_replayed([folder], data)
    for note in measured.notes:
        errors.print(f"note: {note}")
    if report:
        show_report(measured)
    show_findings(measured.judgement)
    if measured.judgement.findings:
        raise typer.Exit(CONTRADICTED)


def _note(text: str) -> None:
    errors.print(f"note: {text}")


def _measure(plan: Plan, store: Store, jobs: int, limits: Limits, logs: bool) -> bool:
    """Run the plan and show how far it is; whether every cell failed. A signal ends it with its own exit code."""
    from bench.commands.display import displayed
    from bench.outline import outline
    from bench.progress import together
    from bench.runner import run as run_plan
    from bench.runner import unfinished

    missing = unfinished(plan, store, limits)
    counts = outline(plan, missing, jobs).counts(store.finished)
    cells, there = len(plan.cells), len(plan.cells) - len(missing)
    with displayed(counts, plan.suite.name) as display, Stopping() as stopping:

        def on_look() -> None:
            display.on_look()
            stopping.raise_if_asked()

        try:
            run_plan(
                plan,
                store,
                jobs=jobs,
                limits=limits,
                logs=logs,
                on_start=display.on_start,
                on_row=display.on_row,
                on_look=on_look,
            )
        except KeyboardInterrupt as stop:
            display.end()
            kept = cells - len(unfinished(plan, store, limits))
            errors.print(f"stopped: {kept} of {cells} cells are in {store.folder}; run it again to go on")
            raise typer.Exit(stop.code if isinstance(stop, Stop) else INTERRUPTED) from None
    failed = together(counts.tallies, "all").counts["failed"]
    words = f"{cells} cells, {there} of them were there, {failed} failed"
    console.print(f"{words}; the run is in {store.folder}", soft_wrap=True)
    return failed == cells


class Stop(KeyboardInterrupt):
    """A signal that is to end the run."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number  # what shells give


class Stopping:
    """Within, Ctrl-C and SIGTERM are noted, and end the run where it looks for them: nothing is left half-done.

    An exception out of a signal handler may come in the midst of anything, a lock that is held among it. Whoever asks
    a second time gets it all the same.
    """

    SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self) -> None:
        self._asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in self.SIGNALS if hasattr(signal, name)]
            self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            raise Stop(number)
        self._asked = number

    def raise_if_asked(self) -> None:
        """Raise Stop where a signal has come."""
        if self._asked is not None:
            raise Stop(self._asked)
