"""The runner: measures what is not there yet, each cell in a worker process, and keeps every finished cell."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Self

from bench.environment import describe, utc_now
from bench.limits import Limits, in_force, killed_past, shared
from bench.outline import Outline, line_of, outline, read_outline
from bench.plan import Plan, Planned
from bench.pool import measure_all, solver_versions, start_server
from bench.progress import Counts, one_line
from bench.row import Row
from bench.runlog import SHOWN, in_words, log, log_row
from bench.store import Store
from networks.errors import InputError


def unfinished(plan: Plan, store: Store, limits: Limits) -> list[Planned]:
    """The cells of a plan that are still to be measured.

    Those are the ones that `store` does not have, and those that were killed under a lower limit than is in force now.
    """
    return [planned for planned in plan.cells if not _is_finished(planned.digest, store, limits)]


def _is_finished(digest: str, store: Store, limits: Limits) -> bool:
    row = store.finished.get(digest)
    return row is not None and not limits.let_further(row)


def worker_count(plan: Plan, store: Store, jobs: int) -> int:
    """How many workers a run starts at most: no more than there are cells without an answer, or with that of a kill."""
    rows = (store.finished.get(planned.digest) for planned in plan.cells)
    return min(jobs, sum(row is None or killed_past(row) is not None for row in rows))


def run(
    plan: Plan,
    store: Store,
    *,
    jobs: int = 1,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    logs: bool = True,
    on_start: Callable[[Planned], None] = lambda planned: None,
    on_row: Callable[[Row], None] = lambda row: None,
    on_look: Callable[[], None] = lambda: None,
) -> None:
    """Measure every cell of `plan` that `store` does not have yet, in worker processes.

    Each row is on disk before its cell counts as done. With several jobs rows come in the order of their ends.
    KeyboardInterrupt passes through, ends the workers, and loses nothing that had finished. A script that calls this
    does so under `if __name__ == "__main__":`, as workers import it.

    Parameters
    ----------
    jobs : int
        How many cells to measure at a time, each on its own processors.
    limits : Limits
        In place of the suite's and of the defaults.
    logs : bool
        Whether to keep the solvers' own logs.
    on_start, on_row : callable
        Called before each cell, and after each row.
    on_look : callable
        Called some twenty times a second between whatever else is done: what it raises ends the run.

    Raises
    ------
    InputError
        A limit that does not fit, or a row that cannot be written.
    WorkerError
        No worker comes up.
    """
    limits = shared(in_force(plan.suite, jobs, limits), worker_count(plan, store, jobs))
    missing, started = unfinished(plan, store, limits), utc_now()
    planned_cells, suite = outline(plan, missing, jobs, started), plan.suite.model_dump(mode="json")
    if not missing:
        if not _is_planned(planned_cells, store):
            store.start(suite)
            store.keep_plan(planned_cells.to_dict())
        log.info("run: suite %s, all %d cells are there", plan.suite.name, len(plan.cells))
        return
    start_server()
    environment = describe()
    missing = _with_versions(missing)
    store.start(suite, {"start": started, **environment})
    store.keep_plan(planned_cells.to_dict())
    _log_start(plan, len(missing), jobs, limits, environment)
    said = _Said(store, planned_cells.counts(store.finished))

    def begin(planned: Planned) -> None:
        said.begin(planned)
        on_start(planned)

    results = measure_all(
        missing,
        plan.data_dir,
        lambda planned: store.begin_log(planned.digest) if logs and planned.cell.solver else None,
        jobs=jobs,
        threads=plan.threads,
        limits=limits,
        on_start=begin,
        on_look=on_look,
    )
    with closing(results), said:
        for planned, row, arrays in results:
            if arrays:
                row = replace(row, arrays=store.save_arrays(planned.digest, arrays))
            row = replace(row, log=store.log_of(planned.digest) if logs else None)
            store.append(row)
            said.end(row)
            on_row(row)


def _with_versions(cells: list[Planned]) -> list[Planned]:
    """The cells with their solvers' versions, so that the rows of those that are killed have them too."""
    versions = solver_versions(dict.fromkeys(planned.cell.solver for planned in cells if planned.cell.solver))
    return [
        replace(planned, known=planned.known | {"solver_version": versions.get(planned.cell.solver or "")})
        for planned in cells
    ]


def _is_planned(cells: Outline, store: Store) -> bool:
    """Whether the folder's plan has the same cells: where the suite lost some, their rows are to count no more."""
    with contextlib.suppress(InputError):  # a plan that cannot be read is one to replace
        kept = read_outline(store.folder)
        return kept is not None and kept.cells == cells.cells
    return False


class _Said:
    """What is said of the cells in the log, and to those who look from outside."""

    def __init__(self, store: Store, counts: Counts) -> None:
        self._store, self._counts = store, counts
        self._running: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            log.error("run: stopped by %s", ": ".join(filter(None, (type(error).__name__, str(error)))))
        log.info("run: ended with %s", one_line(self._counts, time.time()))

    def begin(self, planned: Planned) -> None:
        what = in_words(planned.cell)
        log.info("start %s: %s", planned.digest[:SHOWN], what)
        line = line_of(planned)._asdict()
        self._running[planned.digest] = {"cell": planned.digest, **line, "what": what, "since": utc_now()}
        self._store.say_running([*self._running.values()])

    def end(self, row: Row) -> None:
        log_row(row)
        self._counts.add(row)
        del self._running[row.cell]  # from outside its row is seen: the file has time until the next cell


def _log_start(plan: Plan, missing: int, jobs: int, limits: Limits, environment: dict[str, Any]) -> None:
    machine = ("cpu", "cores", "device", "platform", "git_commit")
    named = {
        "versions": environment["versions"],
        "machine": {name: environment[name] for name in machine if environment[name]},
        "limits": asdict(limits) | {"time_limit_s": plan.suite.time_limit_s},
    }
    there = len(plan.cells) - missing
    log.info("run: suite %s, %d cells there, %d to measure, %d at a time", plan.suite.name, there, missing, jobs)
    log.info("command: %s", " ".join(sys.argv))
    for name, values in named.items():
        log.info("%s: %s", name, ", ".join(f"{key} {value}" for key, value in values.items() if value is not None))
