"""The limits of a run's cells, past which their process is killed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.machine import usable_cores, usable_memory_mb
from bench.row import Row
from bench.suite import Suite
from networks.errors import InputError
from networks.instance import is_finite_number, is_whole_number

# What a solver may take beyond the limit that it was told: seconds, or a share of the limit if that is more.
GRACE_S, GRACE_SHARE = 10.0, 0.25
MEMORY_SHARE = 0.9  # of what there is, for all workers together
BARE_MB = 450.0  # resident, with torch and a solver imported; of those that ship HiGHS takes the least, 330
REASONS = {"time": "time limit", "memory": "memory limit"}  # in `Row.reason`


@dataclass(frozen=True, slots=True)
class Limits:
    """Of every cell of a run.

    Attributes
    ----------
    hard_limit_s : float or None
        Wall-clock seconds for one cell. None stands for the cell's own time limit and a grace of 10 s, or of a quarter
        of it if that is more; and for no limit where the cell has none.
    memory_limit_mb : float or None
        Resident memory of a worker and its children together, in units of 10^6 bytes. None stands for 90 % of what
        there is, divided by the number of workers.

    Raises
    ------
    InputError
        A limit that is not a number above zero.
    """

    hard_limit_s: float | None = None
    memory_limit_mb: float | None = None

    def __post_init__(self) -> None:
        for name, unit in (("hard_limit_s", "seconds"), ("memory_limit_mb", "megabytes")):
            value = getattr(self, name)
            if value is not None and not (is_finite_number(value) and value > 0):
                raise InputError(f"{name} is {value!r}; expected a number of {unit} above 0")

    def seconds(self, time_limit_s: float | None) -> float | None:
        """The hard limit of a cell whose solver is told `time_limit_s`."""
        if self.hard_limit_s is not None or time_limit_s is None:
            return self.hard_limit_s
        return time_limit_s + max(GRACE_S, GRACE_SHARE * time_limit_s)

    def let_further(self, row: Row) -> bool:
        """Whether the cell of `row` was killed under a lower limit than it has now."""
        kind = killed_past(row)
        now = {"time": self.seconds(row.time_limit_s), "memory": self.memory_limit_mb}
        then = {"time": row.hard_limit_s, "memory": row.memory_limit_mb}
        if kind is None:
            return False
        limit, before = now[kind], then[kind]
        return limit is None or before is None or limit > before


def killed_past(row: Row) -> str | None:
    """`time` or `memory` where the row's process was killed past that limit."""
    if row.targets or row.falsified is not None:  # it came to its end
        return None
    return next((kind for kind, reason in REASONS.items() if row.reason == reason), None)


def in_force(suite: Suite, jobs: int, asked: Limits) -> Limits:
    """The limits asked for, else the suite's. That on memory has a default, which depends on the workers: `shared`.

    Raises
    ------
    InputError
        `jobs` is no count, or a hard limit does not leave a solver the time that the suite gives it.
    """
    if not is_whole_number(jobs) or jobs < 1:
        raise InputError(f"jobs is {jobs!r}; expected how many cells to measure at a time, at least 1")
    hard_limit_s = asked.hard_limit_s or suite.hard_limit_s
    longest = max((table.time_limit_s or suite.time_limit_s or 0.0 for table in suite.verify), default=0.0)
    if hard_limit_s is not None and hard_limit_s <= longest:
        raise InputError(
            f"hard limit is {hard_limit_s:g} s; expected more than the {longest:g} s that suite {suite.name} gives a "
            "solver, so that it can stop by itself"
        )
    return Limits(hard_limit_s, asked.memory_limit_mb or suite.memory_limit_mb)


def shared(limits: Limits, workers: int) -> Limits:
    """The limits with each worker's share of the memory, where none was asked for.

    Raises
    ------
    InputError
        The share is less than a worker takes before its first cell.
    """
    if limits.memory_limit_mb is not None:
        return limits
    whole_mb = MEMORY_SHARE * usable_memory_mb()
    most = max(1, int(whole_mb / BARE_MB))
    if workers > most:
        raise InputError(
            f"{workers} workers have {whole_mb / workers:,.0f} MB of memory each, and one may take {BARE_MB:,.0f} MB "
            f"before its first cell; expected at most {most} jobs, or a limit of your own (--memory-limit)"
        )
    return replace(limits, memory_limit_mb=whole_mb / max(1, workers))


def too_low(limits: Limits) -> list[str]:
    """What the user should know of a limit on memory that hardly a worker keeps."""
    limit_mb = limits.memory_limit_mb
    if limit_mb is None or limit_mb >= BARE_MB:
        return []
    return [f"the memory limit is {limit_mb:,.0f} MB, and a worker takes up to {BARE_MB:,.0f} MB before its first cell"]


def shared_cores(jobs: int, threads: int) -> list[str]:
    """What the user should know where the workers have more threads than there are processors."""
    cores = len(usable_cores())
    if jobs * threads <= cores:
        return []
    asked = f"{jobs} jobs of {threads} threads" if threads > 1 else f"{jobs} jobs"
    return [f"{asked} share {cores} processors: their cells slow one another, and times are not to be compared"]
