"""The runner: measures what is missing of a plan, in worker processes, and keeps every finished cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from bench.environment import describe
from bench.limits import Limits
from bench.plan import Plan, Planned
from bench.row import Row
from bench.store import Store, now
from bench.worker import Setup


def missing(plan: Plan, store: Store, limits: Limits) -> list[Planned]:
    """The cells that `store` does not have, and those that were killed and may go on longer, or take more, now."""
    return [planned for planned in plan.cells if not store.has(planned.digest, limits)]


def run(
    plan: Plan,
    store: Store,
    limits: Limits | None = None,
    *,
    on_start: Callable[[Planned], None] = lambda planned: None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> None:
    """Measure every cell of `plan` that `store` does not have yet.

    Each row is on disk before its cell counts as done, and with one job before the row after it is. KeyboardInterrupt
    passes through, ends all workers, and loses nothing that had finished.

    Parameters
    ----------
    limits : Limits, optional
        One job, and the suite's own limits, unless given.
    on_start, on_row : callable
        Called when a cell is given to a worker, and after each row.
    """
    limits = limits or limits_of(plan)
    cells = missing(plan, store, limits)
    if not cells:
        return
    from bench.pool import Workers

    with Workers(limits, _setup(plan, cells)) as workers:  # which start while the machine is described
        store.start(plan.suite.model_dump(mode="json"), describe() | {"limits": asdict(limits)}, now())
        for planned, row, arrays in workers.measure(cells, on_start):
            if arrays:
                row = replace(row, arrays=store.save_arrays(planned.digest, arrays))
            store.append(row)
            on_row(row)


def limits_of(
    plan: Plan, jobs: int = 1, hard_limit_s: float | None = None, memory_limit_mb: float | None = None
) -> Limits:
    """The limits that are given, else the suite's own."""
    suite = plan.suite
    return Limits(jobs, hard_limit_s or suite.hard_limit_s, memory_limit_mb or suite.memory_limit_mb)


def _setup(plan: Plan, cells: list[Planned]) -> Setup:
    asked = [planned.cell for planned in cells]
    return Setup(
        networks={planned.network_digest: planned.cell.network for planned in cells},
        data_dir=plan.data_dir,
        solvers=tuple(dict.fromkeys(cell.solver for cell in asked if cell.solver)),
        gradients=any(cell.kind == "attack" or cell.method == "staged" or cell.start == "witness" for cell in asked),
        threads=max(cell.threads for cell in asked),
        cores=(),
    )
