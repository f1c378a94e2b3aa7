"""The workers of a run: one process a slot, watched, and killed and replaced past a limit."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import cache
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from pebble import ProcessExpired, ProcessPool

from bench import worker
from bench.limits import Limits
from bench.machine import cores_of, usable_cores
from bench.plan import Planned
from bench.processes import kill, kill_tree
from bench.row import Row
from bench.watch import LOOK_S, Watch
from networks.errors import WorkerError

START_S = 120.0  # for a worker to be ready
VERSION_S = 30.0  # for a solver to tell its version
JOIN_S = 5.0  # for a pool to end whose worker is dead
STARTS = 3  # of a worker in a row without success
# Imported once, in the server that the workers are forked from: a new one is there in milliseconds. No solver: a
# library that does not bear another one, or to be forked, would spoil all cells and not only its own.
PRELOADED = ["torch", "bench.worker", "bench.verification", "bench.methods.attacks", "threadpoolctl"]


class Measured(NamedTuple):
    """A cell, its row, and its arrays."""

    planned: Planned
    row: Row
    arrays: dict[str, Any]


@cache
def start_server() -> BaseContext:
    """Start what the workers are forked from, where the platform has it; returns before its imports are done."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    from multiprocessing.forkserver import ensure_running

    with _interrupts_ignored():  # and by all that come of it: a terminal sends Ctrl-C to all, the runner ends them
        ensure_running()
    return context


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _wait_for_server() -> None:
    """Until its imports are done, by a process that does nothing: who is interrupted here leaves nothing half-made."""
    process = start_server().Process(target=int)  # type: ignore[attr-defined]
    process.start()
    process.join()


def solver_versions(names: Collection[str]) -> dict[str, str | None]:
    """Each solver's version, for the rows of cells that end before they tell; None where it is not to be had.

    Each is asked in a process of its own: importing it may break this one, or those of the others.
    """
    if not names:
        return {}
    _wait_for_server()
    pool = ProcessPool(max_workers=min(len(names), len(usable_cores())), max_tasks=1, context=start_server())
    try:
        asked = {
            name: pool.schedule(worker.version_of, args=(name, os.getcwd(), dict(os.environ)), timeout=VERSION_S)
            for name in names
        }
        wait(asked.values())
        return {name: None if told.exception() else str(told.result()) for name, told in asked.items()}
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join(JOIN_S)


def measure_all(
    cells: Sequence[Planned],
    data_dir: Path | None,
    log_of: Callable[[Planned], Path | None],
    *,
    jobs: int,
    threads: int,
    limits: Limits,
    on_start: Callable[[Planned], None],
    on_look: Callable[[], None],
) -> Generator[Measured, None, None]:
    """Measure cells, `jobs` at a time; they come in the order of their ends. `log_of` names a file for a solver's log.

    Close the iterator to stop: its workers are killed, with all that they started.

    Raises
    ------
    WorkerError
        No worker comes up.
    """
    waiting = deque(cells)
    _wait_for_server()
    with tempfile.TemporaryDirectory(prefix="relubench-run-", ignore_cleanup_errors=True) as temporary:
        slots: list[Slot] = []
        try:
            for index in range(min(jobs, len(waiting))):
                slots.append(Slot(index, threads, data_dir, temporary, limits))  # noqa: PERF401 (an interrupt keeps them)
            while waiting or any(slot.busy for slot in slots):
                for slot in slots:
                    if waiting and slot.ready():
                        on_start(waiting[0])
                        slot.begin(waiting[0], log_of(waiting.popleft()))
                pending = [slot.future for slot in slots if not slot.future.done()]
                wait(pending, timeout=LOOK_S, return_when=FIRST_COMPLETED)
                yield from filter(None, [slot.look() for slot in slots])
                on_look()
        finally:
            close(slots)


class Slot:
    """One worker at a time, on cores of its own.

    A pool of pebble's for each: workers of one pool share a channel and its locks, which one that is killed may leave
    in a state that stops them all. pebble's own timeout ends the worker alone; here its children go first, so the watch
    over time and memory is one.
    """

    def __init__(self, index: int, threads: int, data_dir: Path | None, temporary: str, limits: Limits) -> None:
        self._setup = worker.Setup(os.getcwd(), temporary, dict(os.environ), cores_of(index, threads), threads)
        self._data_dir = data_dir
        self._limits = limits
        self._failed_starts = 0
        self._retired: list[threading.Thread] = []
        self._start()

    def _start(self) -> None:
        others = set(multiprocessing.active_children())
        self._pool = ProcessPool(max_workers=1, context=start_server())
        self.future: Future[Any] = self._pool.schedule(worker.prepare, args=(self._setup,))
        self._child = next(iter(set(multiprocessing.active_children()) - others), None)
        self._process: psutil.Process | None = None
        self._cores = ""
        self._planned: Planned | None = None
        self._began = time.perf_counter()

    @property
    def busy(self) -> bool:
        """Whether a cell is being measured."""
        return self._planned is not None

    def ready(self) -> bool:
        """Whether the worker waits for a cell.

        Raises
        ------
        WorkerError
            It failed to come up, time and again.
        """
        if self._process is None and self.future.done():
            self._greet()
        elif self._process is None and time.perf_counter() - self._began > START_S:
            raise WorkerError(f"a worker was not ready within {START_S:g} s")
        return self._process is not None and not self.busy

    def _greet(self) -> None:
        try:
            ready: worker.Ready = self.future.result()
            self._process, self._cores, self._failed_starts = psutil.Process(ready.pid), ready.cores, 0
        except Exception as error:  # whatever kept the worker from coming up, another may
            self._failed_starts += 1
            if self._failed_starts == STARTS:
                raise WorkerError(f"no worker comes up: {type(error).__name__}: {error}") from error
            self._replace()

    def begin(self, planned: Planned, log: Path | None) -> None:
        """Have the worker measure a cell, the solver's log in a file."""
        assert self._process is not None, "not ready"
        self._planned, self._watch = planned, Watch(planned, self._process, self._limits, self._cores)
        try:
            self.future = self._pool.schedule(worker.measure, args=(planned, self._data_dir, log))
        except RuntimeError as error:  # the worker died while it waited
            self.future = Future()
            self.future.set_exception(error)

    def look(self) -> Measured | None:
        """What there is of the cell: nothing while it goes on within its limits."""
        if self._planned is None:
            return None
        planned, watch = self._planned, self._watch
        watch.look()
        if self.future.done() and self.future.exception() is None:
            self._planned = None
            row, arrays = self.future.result()
            return Measured(planned, watch.completed(row), arrays)
        ended = self._ended(watch)
        if ended is None:
            return None
        self._replace()
        kill(watch.processes)
        return Measured(planned, watch.completed(ended), {})

    def _ended(self, watch: Watch) -> Row | None:
        """The row of a cell without an answer, where its worker is dead or to be killed."""
        if self.future.done():
            return watch.died(_cause(self.future.exception()))
        if watch.is_gone:
            return watch.died("it ended with exit code 0")
        return watch.killed()

    def _replace(self) -> None:
        self.retire()
        self._start()

    def retire(self) -> None:
        """End the worker with all that it started, at once, and its pool in the background."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        if self._child is not None and self._child.pid is not None and self._child.is_alive():
            kill_tree(self._child.pid)
        self._retired.append(threading.Thread(target=self._pool.join, daemon=True))
        self._retired[-1].start()

    def join(self) -> None:
        """Wait for the end of all pools that were retired."""
        for thread in self._retired:
            thread.join(JOIN_S)


def close(slots: Sequence[Slot]) -> None:
    """End all workers and wait until they are gone."""
    for slot in slots:
        slot.retire()
    for slot in slots:
        slot.join()


def _cause(error: BaseException | None) -> str:
    """Why a worker died, in words."""
    if not isinstance(error, ProcessExpired):
        return f"{type(error).__name__}: {error}"
    if error.exitcode >= 0:
        return f"it ended with exit code {error.exitcode}"
    name = signal.Signals(-error.exitcode).name
    return f"it was killed by {name}{' (by hand, or by a system out of memory)' if name == 'SIGKILL' else ''}"
