"""One cell while its worker measures it: what it uses, whether it is past a limit, and what its row says of that."""

from __future__ import annotations

import time
from dataclasses import replace

import psutil

from bench.environment import utc_now
from bench.limits import REASONS, Limits
from bench.machine import Snapshot, during
from bench.plan import Planned
from bench.processes import Usage, usage_of
from bench.row import Row

LOOK_S = 0.05  # between two looks at a worker
GONE_S = 1.0  # from the end of a worker to pebble's word of it; it has none for one that ends with exit code 0


class Watch:
    """The watch over one cell, from now on.

    Parameters
    ----------
    planned : Planned
    process : psutil.Process
        The worker.
    limits : Limits
    cores : str
        How the worker was bound to its processors, for the row.
    """

    def __init__(self, planned: Planned, process: psutil.Process, limits: Limits, cores: str) -> None:
        self._blank = planned.blank_row(utc_now())
        self._process = process
        self._hard_limit_s = limits.seconds(planned.cell.time_limit_s)
        self._memory_limit_mb = limits.memory_limit_mb
        self._cores = cores
        self._machine = Snapshot.take()
        self._before = self._used = usage_of(process) or Usage(0, 0.0)
        self._peak = self._used.resident
        self._began = self._last_seen = time.perf_counter()
        self._seconds = 0.0

    def look(self) -> None:
        """See what the worker and its children use now."""
        now, used = time.perf_counter(), usage_of(self._process)
        self._seconds = now - self._began
        if used is not None:
            self._used, self._peak, self._last_seen = used, max(self._peak, used.resident), now

    @property
    def is_gone(self) -> bool:
        """Whether the worker has ended, and nothing has been heard of it since."""
        return self._began + self._seconds - self._last_seen > GONE_S

    @property
    def processes(self) -> tuple[psutil.Process, ...]:
        """The worker and its children as last seen: those of a worker that died by itself have no parent to tell."""
        return self._used.processes

    def killed(self) -> Row | None:
        """The row of the cell where it was past a limit at the last look: its worker is to be killed."""
        resident_mb, limit_s, limit_mb = self._used.resident / 1e6, self._hard_limit_s, self._memory_limit_mb
        if limit_s is not None and self._seconds > limit_s:
            return self._stopped("time", f"killed after {self._seconds:.1f} s, hard limit {limit_s:.1f} s")
        if limit_mb is not None and resident_mb > limit_mb:
            return self._stopped("memory", f"killed at {resident_mb:,.0f} MB, limit {limit_mb:,.0f} MB")
        return None

    def _stopped(self, limit: str, evidence: str) -> Row:
        reason = REASONS[limit]
        return replace(
            self._blank,
            verdict="unknown" if self._blank.kind == "verify" else None,
            reason=reason,
            status=[reason.replace(" ", "_")],
            evidence=evidence,
            total_s=self._seconds,
        )

    def died(self, cause: str) -> Row:
        """The row of the cell where its worker ended by itself."""
        return replace(self._blank, status=["error"], error=f"WorkerDied: {cause}")

    def completed(self, row: Row) -> Row:
        """The cell's row, with what was watched."""
        over_s = None
        if row.time_limit_s is not None and row.total_s is not None:
            over_s = max(0.0, row.total_s - row.time_limit_s)
        return replace(
            row,
            hard_limit_s=self._hard_limit_s,
            overshoot_s=over_s,
            memory_limit_mb=self._memory_limit_mb,
            peak_memory_mb=round(self._peak / 1e6, 1),
            enforced=self._enforced(row),
            machine=during(self._machine, Snapshot.take(), self._used.cpu_s - self._before.cpu_s),
        )

    def _enforced(self, row: Row) -> dict[str, str]:
        limit_s, limit_mb = self._hard_limit_s, self._memory_limit_mb
        none, looked = "not enforced: none was asked for", f"looked at every {1000 * LOOK_S:.0f} ms"
        resident = f"worker killed above {limit_mb:,.0f} MB resident, its children counted, {looked}"
        return {
            "time": none if limit_s is None else f"worker killed after {limit_s:g} s, {looked}",
            "memory": none if limit_mb is None else resident,
            "cores": self._cores,
            "threads": f"{'torch, BLAS and solver' if row.solver else 'torch and BLAS'}: {row.threads}",
        }
