"""What a run allows its cells: how many at once, how long, and how much memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.row import KILLED_FOR, Row
from networks.errors import InputError
from networks.instance import is_finite_number, is_whole_number

# A cell's own limit is what its solver is told; what solvers overshoot by as a rule is no reason to kill them.
LEAST_GRACE_S, GRACE_SHARE = 10.0, 0.25
MEMORY_SHARE = 0.9  # of the machine's, for all workers together, unless a limit is given
MEGABYTE = 10**6
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True)
class Limits:
    """How a run's cells are bounded. A cell that passes a limit is killed with all its processes.

    Attributes
    ----------
    jobs : int
        Cells that are measured at the same time.
    hard_limit_s : float or None
        Wall-clock seconds of a cell. Unless given, a cell has a quarter more than its own time limit, and at least
        10 s more; one without a time limit has none.
    memory_limit_mb : float or None
        Resident memory of a cell's process and its children together, in 10^6 bytes. Unless given, 90 % of what the
        machine or its container has, shared out among the jobs.

    Raises
    ------
    InputError
        A value out of range.
    """

    jobs: int = 1
    hard_limit_s: float | None = None
    memory_limit_mb: float | None = None

    def __post_init__(self) -> None:
        if not is_whole_number(self.jobs) or self.jobs < 1:
            raise InputError(f"jobs is {self.jobs!r}; expected a whole number of at least 1")
        for name, unit in (("hard_limit_s", "seconds"), ("memory_limit_mb", "megabytes")):
            value = getattr(self, name)
            if value is not None and not (is_finite_number(value) and value > 0):
                raise InputError(f"{name} is {value!r}; expected {unit} above 0, or none")

    def seconds(self, time_limit_s: float | None) -> float | None:
        """The hard limit of a cell with this time limit; None for none."""
        if self.hard_limit_s is not None or time_limit_s is None:
            return self.hard_limit_s
        return time_limit_s + max(LEAST_GRACE_S, GRACE_SHARE * time_limit_s)

    @property
    def memory_mb(self) -> float:
        """The memory limit of a cell."""
        if self.memory_limit_mb is not None:
            return self.memory_limit_mb
        return MEMORY_SHARE * machine_memory() / self.jobs / MEGABYTE

    def allow_more(self, row: Row) -> bool:
        """Whether a killed cell may go on longer now, or take more memory, than where it was killed."""
        if row.killed_for == KILLED_FOR["time_limit"]:
            hard = self.seconds(row.time_limit_s)
            return row.hard_limit_s is not None and (hard is None or hard > row.hard_limit_s)
        return row.killed_for is not None and row.memory_limit_mb is not None and self.memory_mb > row.memory_limit_mb


@cache
def machine_memory() -> int:
    """Bytes of memory that this machine has, or its container may use."""
    import psutil

    found = [int(psutil.virtual_memory().total)]
    for name in CGROUP_LIMITS:
        text = Path(name).read_text(encoding="ascii").strip() if os.access(name, os.R_OK) else ""
        found += [int(text)] if text.isdecimal() else []
    return min(found)
