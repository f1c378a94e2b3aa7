"""What the machine offers a run, and what else it did during a cell."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

CGROUPS = Path("/sys/fs/cgroup")
# A shorter cell says nothing of the others' load: the system counts processor time in hundredths of a second.
SHORTEST_LOAD_S = 0.2


def usable_cores() -> list[int]:
    """The processors that this process may use, by their numbers."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return sorted(process.cpu_affinity())
    return list(range(os.cpu_count() or 1))


def cores_of(slot: int, threads: int) -> tuple[int, ...]:
    """The processors of the worker number `slot`: its own as long as there are enough, then shared in turn."""
    usable = usable_cores()
    return tuple(dict.fromkeys(usable[(slot * threads + index) % len(usable)] for index in range(threads)))


def usable_memory_mb() -> float:
    """The memory of the machine, or of the control group that this process is in, in units of 10^6 bytes."""
    limits = _cgroup_numbers("memory.max", "memory", "memory.limit_in_bytes")  # none outside of Linux
    return min([psutil.virtual_memory().total, *limits]) / 1e6


class Snapshot(NamedTuple):
    """Counters of the machine at one moment; None where the platform does not say."""

    at: float
    busy_s: float
    steal_s: float | None
    swapped: int
    throttled_s: float | None
    thermal: int | None

    @classmethod
    def take(cls) -> Snapshot:
        """Of now."""
        times, swap = psutil.cpu_times(), psutil.swap_memory()
        return cls(
            at=time.perf_counter(),
            busy_s=sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq")),
            steal_s=getattr(times, "steal", None),
            swapped=swap.sin + swap.sout,
            throttled_s=_throttled_s(),
            thermal=_thermal_throttles(),
        )


def during(before: Snapshot, after: Snapshot, own_cpu_s: float) -> dict[str, float]:
    """What went on between two moments, for `Row.machine`.

    Parameters
    ----------
    own_cpu_s : float
        The cell's own processor seconds.

    Returns
    -------
    dict
        `load`, the one-minute load average; `others_load`, how many processors others kept busy (not for a cell
        shorter than 0.2 s); `swapped_mb`, in and out; `steal_s`, processor seconds that the hypervisor gave to others;
        `throttled_s`, seconds for which the control group had used up its share; `thermal_throttles`, how often a
        processor was slowed for its heat. What the platform does not say is left out.
    """
    seconds = after.at - before.at
    found: dict[str, float | None] = {
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "swapped_mb": (after.swapped - before.swapped) / 1e6,
        "steal_s": _rise(before.steal_s, after.steal_s),
        "throttled_s": _rise(before.throttled_s, after.throttled_s),
        "thermal_throttles": _rise(before.thermal, after.thermal),
    }
    if seconds >= SHORTEST_LOAD_S:
        found["others_load"] = max(0.0, after.busy_s - before.busy_s - own_cpu_s) / seconds
    return {name: round(value, 3) for name, value in found.items() if value is not None}


def _rise(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _throttled_s() -> float | None:
    for folder in _cgroup_folders("cpu"):
        stat = _read(folder / "cpu.stat").split()
        for name, unit in (("throttled_usec", 1e-6), ("throttled_time", 1e-9)):  # of version 2, and of version 1
            if name in stat:
                return int(stat[stat.index(name) + 1]) * unit
    return None


def _thermal_throttles() -> int | None:
    counts = [int(text) for path in _thermal_files() if (text := _read(path).strip()).isdigit()]
    return sum(counts) if counts else None


@cache
def _thermal_files() -> tuple[Path, ...]:
    return tuple(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))


def _cgroup_numbers(unified: str, controller: str, older: str) -> Iterator[int]:
    """The numbers in a file of version 2 or 1 of the control groups, of this process's group and of those above it."""
    for folder in _cgroup_folders(controller):
        for name in (unified, older):
            text = _read(folder / name).strip()
            if text.isdigit():
                yield int(text)


@cache
def _cgroup_folders(controller: str) -> tuple[Path, ...]:
    """Where this process's control group may show its files, the innermost first; a container sees only the root."""
    found: list[Path] = []
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and controller not in controllers.split(","):
            continue
        root = CGROUPS if number == "0" else CGROUPS / controller
        inner = root / path.lstrip("/")
        found += [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
    return tuple(found)


def _read(path: Path) -> str:
    """The file's text, empty where this platform has no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
