"""What else the machine did while a cell was measured, as far as it tells: what may have slowed the cell down."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.limits import MEGABYTE

CGROUP_CPU = ("/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat")
THROTTLED = {"throttled_usec": 1e-6, "throttled_time": 1e-9}  # a cgroup's words, and their units in seconds
THERMAL = "/sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
SHORTEST_S = 0.1  # of a share of time: the kernel counts processor time in hundredths of a second
IDLE = ("idle", "iowait")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The machine's counters at one moment; a counter that the platform lacks is not in `counts`."""

    at_s: float
    counts: dict[str, float]

    @classmethod
    def take(cls, cores: Iterable[int]) -> Snapshot:
        """The counters now, those of single cores for these ones."""
        times = psutil.cpu_times()._asdict()
        swap = psutil.swap_memory()
        counts = {
            "busy_cores": sum(value for name, value in times.items() if name not in IDLE),
            "swapped_mb": (swap.sin + swap.sout) / MEGABYTE,
            "throttled_s": _throttled_s(),
            "thermal_throttles": _thermal_throttles(cores),
            "steal_s": times.get("steal"),
        }
        return cls(time.perf_counter(), {name: value for name, value in counts.items() if value is not None})


def during(before: Snapshot, after: Snapshot) -> dict[str, float]:
    """What went on between two snapshots.

    `load`: the 1-minute load average at the end. `busy_cores`: cores at work on the mean, by this cell and all else.
    `swapped_mb`: 10^6 bytes moved to and from swap. `throttled_s`: held back by the container's share of processors.
    `thermal_throttles`: how often the cell's cores slowed down to cool. `steal_s`: taken by the hypervisor.
    """
    found = {name: round(after.counts[name] - value, 6) for name, value in before.counts.items()}
    elapsed = after.at_s - before.at_s
    busy = found.pop("busy_cores")
    if elapsed >= SHORTEST_S:
        found["busy_cores"] = round(busy / elapsed, 3)
    if hasattr(os, "getloadavg"):
        found["load"] = round(os.getloadavg()[0], 3)
    return found


def _throttled_s() -> float | None:
    for name in CGROUP_CPU:
        for line in _read(name).splitlines():
            key, _, value = line.partition(" ")
            if key in THROTTLED:
                return float(value) * THROTTLED[key]
    return None


def _thermal_throttles(cores: Iterable[int]) -> float | None:
    counts = [_read(THERMAL.format(core)) for core in cores]
    return float(sum(int(count) for count in counts)) if counts and all(counts) else None


def _read(name: str) -> str:
    """The file's text, empty where there is none."""
    return Path(name).read_text(encoding="ascii").strip() if os.access(name, os.R_OK) else ""
