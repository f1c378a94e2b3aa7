"""Which processors both sides keep to: those that others leave the most of.

How busy a processor is does not tell: a program of higher priority on it leaves nothing, one of lower priority nearly
all. So a busy loop is run on each, and what it gets is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from bench.machine import usable_cores

LISTEN_S = 0.3  # to tell which processors are busy
PROBE_S = 0.2  # of a busy loop: long enough for others to have their turn
PROBED = 8  # of the processors that are least busy


def quietest_cores(count: int) -> list[int]:
    """So many of the processors that this process may use, in order of their numbers; where it can choose none, all."""
    usable = usable_cores()
    if not hasattr(psutil.Process(), "cpu_affinity") or count >= len(usable):
        return usable[:count]
    busy = psutil.cpu_percent(interval=LISTEN_S, percpu=True)
    candidates = sorted(usable, key=lambda core: busy[core] if core < len(busy) else 0.0)[: max(PROBED, count)]
    return sorted(sorted(candidates, key=_share_of, reverse=True)[:count])


def _share_of(core: int) -> float:
    """How much of a processor a busy loop gets, in tenths, so that chance decides nothing."""
    with _kept_to(core):
        start, begun = time.thread_time(), time.perf_counter()
        while time.perf_counter() < begun + PROBE_S:
            pass
        return round((time.thread_time() - start) / (time.perf_counter() - begun), 1)


@contextmanager
def _kept_to(core: int) -> Iterator[None]:
    process = psutil.Process()
    before = process.cpu_affinity()
    process.cpu_affinity([core])
    try:
        yield
    finally:
        process.cpu_affinity(before)
