"""Worker processes: one a job, warm, on its own cores, killed with all its children past a limit, and replaced.

Each has a pool of its own, as the processes of one pool share a channel, which dies with a process that is killed while
it holds the channel's lock. So one that is replaced never keeps another waiting.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import psutil
from pebble import ProcessExpired, ProcessPool

from bench import worker
from bench.limits import MEGABYTE, Limits
from bench.machine import Snapshot, during
from bench.plan import Planned
from bench.row import KILLED_FOR, Row
from bench.worker import Setup, Word

LOOK_S = 0.05  # how often a cell's time and memory are looked at: 1 ms of work each time
STARTS = 3  # how often a cell is given to a new worker that dies before it begins
Measured = tuple[Planned, Row, dict[str, Any]]


class Workers:
    """As many worker processes as the limits have jobs. Use it as a context manager.

    Parameters
    ----------
    limits : Limits
    setup : Setup
        Of every worker; the cores are given out here.
    """

    def __init__(self, limits: Limits, setup: Setup) -> None:
        cores = share_cores(limits.jobs, setup.threads)
        self._slots = [_Slot(limits, replace(setup, cores=own)) for own in cores]
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._watch.join()
        for slot in self._slots:
            slot.close()

    def measure(
        self, cells: Iterable[Planned], on_start: Callable[[Planned], None] = lambda planned: None
    ) -> Iterator[Measured]:
        """Each cell's row and arrays, in the order in which they are done; a cell begins once the last row is taken."""
        waiting = iter(cells)
        busy: dict[Future[Any], _Slot] = {}

        def give(slot: _Slot, planned: Planned) -> None:
            on_start(planned)
            busy[slot.submit(planned)] = slot

        for slot, planned in zip(self._slots, waiting, strict=False):
            give(slot, planned)
        while busy:
            done, _ = wait(busy, return_when=FIRST_COMPLETED)
            for future in done:
                slot = busy.pop(future)
                measured = slot.result(future)
                if measured is None:  # its worker died before it began
                    busy[slot.submit(slot.planned)] = slot
                    continue
                yield measured
                following = next(waiting, None)
                if following is not None:
                    give(slot, following)

    def _look(self) -> None:
        while not self._closed.wait(LOOK_S):
            for slot in self._slots:
                slot.look()


def share_cores(jobs: int, threads: int) -> list[tuple[int, ...]]:
    """The cores of each job, as many as it has threads; none of its own where there are not enough for all."""
    usable = usable_cores()
    if jobs * threads > len(usable):
        return [()] * jobs
    return [tuple(usable[job * threads : (job + 1) * threads]) for job in range(jobs)]


def usable_cores() -> list[int]:
    """The cores that this process may run on; empty where the platform lets no process choose."""
    process = psutil.Process()
    return list(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else []


@dataclass(slots=True)
class _Killed:
    """What a worker was killed for, a key of `KILLED_FOR`, and what was measured then."""

    status: str
    elapsed_s: float
    memory_mb: float


@dataclass(slots=True)
class _Slot:
    """One worker process at a time, and the cell that it measures."""

    limits: Limits
    setup: Setup
    planned: Planned = field(init=False)
    pool: ProcessPool = field(init=False)
    words: Connection = field(init=False)  # what workers say of themselves
    mouth: Connection = field(init=False)  # and where they say it: one for all, as a doomed one may still speak
    lock: threading.Lock = field(default_factory=threading.Lock)
    starts: int = 0  # of the present cell
    process: psutil.Process | None = None  # the worker, once it has said so
    begun_s: float | None = None  # when it began the cell, on `time.monotonic()`
    family: list[psutil.Process] = field(default_factory=list)  # the worker and its children, as last seen
    killed: _Killed | None = None
    peak_mb: float = 0.0
    before: Snapshot = field(init=False)

    def __post_init__(self) -> None:
        self.words, self.mouth = multiprocessing.Pipe(duplex=False)
        self._open()

    def _open(self) -> None:
        self.pool = ProcessPool(1, initializer=worker.start, initargs=(self.setup, self.mouth), context=_context())

    def submit(self, planned: Planned) -> Future[Any]:
        """Give the cell to the worker."""
        self.planned, self.starts = planned, self.starts + 1
        self.before = Snapshot.take(self.setup.cores)
        return self.pool.schedule(worker.measure, args=(planned,))

    def result(self, future: Future[Any]) -> Measured | None:
        """What came of the cell, its worker replaced if that has died; None if it died before the cell began."""
        machine = during(self.before, Snapshot.take(self.setup.cores))
        self.look()
        error = future.exception()
        row, arrays = future.result() if error is None else (None, {})
        with self.lock:
            begun_s, killed, peak_mb, family = self.begun_s, self.killed, self.peak_mb, self.family
            self.begun_s, self.killed, self.peak_mb, self.family = None, None, 0.0, []
        if error is not None or killed is not None:
            _kill(family)
            self._replace()
        if row is None:
            if killed is None and begun_s is None and self.starts < STARTS:
                return None
            row = self._killed_row(killed) if killed else self._died_row(error)
        self.starts = 0
        return self.planned, self._complete(row, machine, peak_mb), arrays

    def look(self) -> None:
        """Kill the worker where its cell has passed a limit."""
        with self.lock:
            if self.killed is not None:
                return
            while self.words.poll():
                self._hear(self.words.recv())
            if self.process is None or self.begun_s is None:
                return
            elapsed_s = time.monotonic() - self.begun_s
            self.family, memory_mb = _family(self.process)
            self.peak_mb = max(self.peak_mb, memory_mb)
            status = self._passed(elapsed_s, memory_mb)
            if status is not None:
                self.killed = _Killed(status, elapsed_s, memory_mb)
                _kill(self.family)

    def _hear(self, word: Word) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process, self.begun_s = psutil.Process(word.pid), word.at_s

    def _passed(self, elapsed_s: float, memory_mb: float) -> str | None:
        """The status of a cell that has come so far, None within its limits."""
        if self._hard_limit_s is not None and elapsed_s > self._hard_limit_s:
            return "time_limit"
        return "memory_limit" if memory_mb > self.limits.memory_mb else None

    @property
    def _hard_limit_s(self) -> float | None:
        return self.limits.seconds(self.planned.cell.time_limit_s)

    def close(self) -> None:
        """Kill the worker, whatever it does."""
        with self.lock:
            if self.process is not None:
                _kill(_family(self.process)[0])
        _end(self.pool)

    def _replace(self) -> None:
        """A new pool: what is left in the channels of the old one, half a message perhaps, is nobody's."""
        threading.Thread(target=_end, args=(self.pool,), daemon=True).start()
        self.process = None
        self._open()

    def _killed_row(self, killed: _Killed) -> Row:
        limit = {
            "time_limit": f"after {killed.elapsed_s:.1f} s, hard limit {self._hard_limit_s or 0:.1f} s",
            "memory_limit": f"at {killed.memory_mb:,.0f} MB, limit {self.limits.memory_mb:,.0f} MB",
        }
        return Row(
            **worker.row_base(self.planned),
            verdict="unknown" if self.planned.cell.kind == "verify" else None,
            status=[killed.status],
            reason=KILLED_FOR[killed.status],
            evidence=f"killed {limit[killed.status]}",
            total_s=killed.elapsed_s,
        )

    def _died_row(self, error: BaseException | None) -> Row:
        return worker.error_row(worker.row_base(self.planned), f"WorkerDied: {_cause(error)}")

    def _complete(self, row: Row, machine: dict[str, float], peak_mb: float) -> Row:
        """The row, with the limits that were in force and what else went on."""
        return replace(
            row,
            overshoot_s=_overshoot(row),
            hard_limit_s=self._hard_limit_s,
            memory_limit_mb=round(self.limits.memory_mb, 3),
            peak_memory_mb=round(peak_mb, 3) or None,
            enforced=self._enforced(row),
            machine=machine,
        )

    def _enforced(self, row: Row) -> dict[str, str]:
        hard, memory = self._hard_limit_s, self.limits.memory_mb
        look = f"looked at every {LOOK_S * 1e3:.0f} ms"
        return {
            "time": "none: the cell has no time limit" if hard is None else f"killed after {hard:g} s, {look}",
            "memory": f"killed above {memory:,.0f} MB, the resident set of its process and their children, {look}",
            "cores": ", ".join(map(str, self.setup.cores)) or NOT_PINNED,
            "threads": f"{row.threads}: torch, BLAS, the solver's own option",
        }


NOT_PINNED = "all: too few for each job to have its own, or the platform lets none be chosen"


def _overshoot(row: Row) -> float | None:
    """What a cell took beyond its time limit, which solvers keep as well as they can."""
    if row.time_limit_s is None or row.total_s is None:
        return None
    return max(0.0, row.total_s - row.time_limit_s)


def _family(worker: psutil.Process) -> tuple[list[psutil.Process], float]:
    """A process and all its children, those that are gone left out, and their resident memory in 10^6 bytes."""
    family, total = [], 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for member in (worker, *worker.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += member.memory_info().rss
                family.append(member)
    return family, total / MEGABYTE


def _kill(family: list[psutil.Process]) -> None:
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


def _end(pool: ProcessPool) -> None:
    """Stop a pool and wait for the end of its threads."""
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _cause(error: BaseException | None) -> str:
    """Why a worker died, in words."""
    code = error.exitcode if isinstance(error, ProcessExpired) else None
    if code is None:
        return f"its process did not start ({type(error).__name__}: {error})"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


@cache
def _context() -> Any:
    """How worker processes start: forked from one that has imported what they need, where the platform has that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(worker.PRELOADED))
    return context
