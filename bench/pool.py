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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import cache
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from pebble import ProcessExpired, ProcessPool

from bench import worker
from bench.environment import utc_now
from bench.limits import REASONS, Limits
from bench.machine import Snapshot, cores_of, during
from bench.plan import Planned
from bench.processes import Usage, kill_tree, usage_of
from bench.row import Row
from networks.errors import WorkerError

LOOK_S = 0.05  # between two looks at a worker
START_S = 120.0  # for a worker to be ready
STARTS = 3  # of a worker in a row without success
GONE_S = 1.0  # from the end of a worker to pebble's word of it; it has none for one that ends with exit code 0
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


def measure_all(
    cells: Sequence[Planned],
    data_dir: Path | None,
    *,
    jobs: int,
    threads: int,
    limits: Limits,
    on_start: Callable[[Planned], None],
) -> Iterator[Measured]:
    """Measure cells, `jobs` at a time; they come in the order of their ends.

    Close the iterator to stop: its workers are killed, with all that they started.

    Raises
    ------
    WorkerError
        No worker comes up.
    """
    waiting = deque(cells)
    with tempfile.TemporaryDirectory(prefix="relubench-", ignore_cleanup_errors=True) as temporary:
        slots = [Slot(index, threads, data_dir, temporary, limits) for index in range(min(jobs, len(waiting)))]
        try:
            while waiting or any(slot.busy for slot in slots):
                for slot in slots:
                    if waiting and slot.ready():
                        on_start(waiting[0])
                        slot.begin(waiting.popleft())
                wait([slot.future for slot in slots], timeout=LOOK_S, return_when=FIRST_COMPLETED)
                yield from filter(None, [slot.look() for slot in slots])
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
        self._pool = ProcessPool(max_workers=1, context=start_server())
        self.future: Future[Any] = self._pool.schedule(worker.prepare, args=(self._setup,))
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
        error = self.future.exception()
        try:
            if error is None:
                ready: worker.Ready = self.future.result()
                self._process, self._cores, self._failed_starts = psutil.Process(ready.pid), ready.cores, 0
                return
        except psutil.NoSuchProcess as gone:
            error = gone
        self._failed_starts += 1
        if self._failed_starts == STARTS:
            raise WorkerError(f"no worker comes up: {type(error).__name__}: {error}") from error
        self._replace()

    def begin(self, planned: Planned) -> None:
        """Have the worker measure a cell."""
        assert self._process is not None
        self._planned, self._gone_at = planned, None
        self._started, self._before = utc_now(), Snapshot.take()
        self._used_before = self._used = usage_of(self._process) or Usage(0, 0.0)
        self._peak = self._used.resident
        self._began = time.perf_counter()
        try:
            self.future = self._pool.schedule(worker.measure, args=(planned, self._data_dir))
        except RuntimeError as error:  # the worker died while it waited
            self.future = Future()
            self.future.set_exception(error)

    def look(self) -> Measured | None:
        """What there is of the cell: nothing while it goes on within its limits."""
        if self._planned is None or self._process is None:
            return None
        seconds, used = time.perf_counter() - self._began, usage_of(self._process)
        if used:
            self._used, self._peak = used, max(self._peak, used.resident)
        if self.future.done():
            return self._read()
        if used is None:
            return self._vanished()
        return self._past_a_limit(self._planned, seconds, used.resident / 1e6)

    def _read(self) -> Measured:
        error = self.future.exception()
        if error is None:
            row, arrays = self.future.result()
            return self._end(row, arrays)
        return self._died(_cause(error))

    def _vanished(self) -> Measured | None:
        self._gone_at = self._gone_at or time.perf_counter()
        if time.perf_counter() - self._gone_at < GONE_S:
            return None
        return self._died("it ended with exit code 0")

    def _died(self, cause: str) -> Measured:
        assert self._planned is not None
        row = replace(self._planned.blank_row(self._started), status=["error"], error=f"WorkerDied: {cause}")
        return self._end(row, {}, replaced=True)

    def _past_a_limit(self, planned: Planned, seconds: float, resident_mb: float) -> Measured | None:
        hard_limit_s, memory_mb = self._limits.seconds(planned.cell.time_limit_s), self._limits.memory_limit_mb
        if hard_limit_s is not None and seconds > hard_limit_s:
            return self._kill("time", seconds, f"killed after {seconds:.1f} s, hard limit {hard_limit_s:.1f} s")
        if memory_mb is not None and resident_mb > memory_mb:
            return self._kill("memory", seconds, f"killed at {resident_mb:,.0f} MB, limit {memory_mb:,.0f} MB")
        return None

    def _kill(self, limit: str, seconds: float, evidence: str) -> Measured:
        assert self._planned is not None
        reason = REASONS[limit]
        row = replace(
            self._planned.blank_row(self._started),
            verdict="unknown" if self._planned.cell.kind == "verify" else None,
            reason=reason,
            status=[reason.replace(" ", "_")],
            evidence=evidence,
            total_s=seconds,
        )
        return self._end(row, {}, replaced=True)

    def _end(self, row: Row, arrays: dict[str, Any], *, replaced: bool = False) -> Measured:
        """The cell's row with what was watched; its worker goes on, or is replaced."""
        planned, cell = self._planned, row
        assert planned is not None
        over_s = None if None in (row.time_limit_s, row.total_s) else max(0.0, row.total_s - row.time_limit_s)  # type: ignore[operator]
        row = replace(
            row,
            hard_limit_s=self._limits.seconds(cell.time_limit_s),
            overshoot_s=over_s,
            memory_limit_mb=self._limits.memory_limit_mb,
            peak_memory_mb=round(self._peak / 1e6, 1),
            enforced=self._enforced(cell),
            machine=during(self._before, Snapshot.take(), self._used.cpu_s - self._used_before.cpu_s),
        )
        self._planned = None
        if replaced:
            self._replace()
        return Measured(planned, row, arrays)

    def _enforced(self, cell: Row) -> dict[str, str]:
        limit_s, memory_mb = self._limits.seconds(cell.time_limit_s), self._limits.memory_limit_mb
        time_words = "not enforced: no limit was asked for" if limit_s is None else f"worker killed after {limit_s:g} s"
        return {
            "time": time_words,
            "memory": f"worker killed above {memory_mb:,.0f} MB resident, its children counted, looked at every "
            f"{1000 * LOOK_S:.0f} ms",
            "cores": self._cores,
            "threads": f"{'torch, BLAS and solver' if cell.solver else 'torch and BLAS'}: {cell.threads}",
        }

    def _replace(self) -> None:
        self.retire()
        self._start()

    def retire(self) -> None:
        """End the worker with all that it started, at once, and its pool in the background."""
        self._pool.stop()
        if self._process is not None:
            kill_tree(self._process.pid)
        self._retired.append(threading.Thread(target=self._pool.join, daemon=True))
        self._retired[-1].start()

    def join(self) -> None:
        """Wait for the end of all pools that were retired."""
        for thread in self._retired:
            thread.join()


def close(slots: Sequence[Slot]) -> None:
    """End all workers and wait until they are gone."""
    for slot in slots:
        slot.retire()
    for slot in slots:
        slot.join()


def _cause(error: BaseException) -> str:
    """Why a worker died, in words."""
    if not isinstance(error, ProcessExpired):
        return f"{type(error).__name__}: {error}"
    if error.exitcode >= 0:
        return f"it ended with exit code {error.exitcode}"
    name = signal.Signals(-error.exitcode).name
    return f"it was killed by {name}{' (by hand, or by a system out of memory)' if name == 'SIGKILL' else ''}"
