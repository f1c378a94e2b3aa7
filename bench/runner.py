"""The runner: measures what is not there yet, each cell in a worker process, and keeps every finished cell."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from bench.environment import describe, utc_now
from bench.limits import Limits, in_force
from bench.plan import Plan, Planned
from bench.pool import measure_all, start_server
from bench.row import Row
from bench.store import Store


def unfinished(plan: Plan, store: Store, limits: Limits) -> list[Planned]:
    """The cells of a plan that are still to be measured.

    Those are the ones that `store` does not have, and those that were killed under a lower limit than is in force now.
    """
    return [planned for planned in plan.cells if not _is_finished(planned.digest, store, limits)]


def _is_finished(digest: str, store: Store, limits: Limits) -> bool:
    row = store.finished.get(digest)
    return row is not None and not limits.let_further(row)


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
    limits = in_force(plan.suite, jobs, limits)
    missing = unfinished(plan, store, limits)
    if not missing:
        return
    start_server()
    store.start(plan.suite.model_dump(mode="json"), describe(), utc_now())
    results = measure_all(
        missing,
        plan.data_dir,
        lambda planned: store.begin_log(planned.digest) if logs and planned.cell.solver else None,
        jobs=jobs,
        threads=plan.threads,
        limits=limits,
        on_start=on_start,
        on_look=on_look,
    )
    with closing(results):
        for planned, row, arrays in results:
            if arrays:
                row = replace(row, arrays=store.save_arrays(planned.digest, arrays))
            row = replace(row, log=store.log_of(planned.digest) if logs else None)
            store.append(row)
            on_row(row)
