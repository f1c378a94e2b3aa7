"""Two files of pytest-benchmark: their counters gate as a run's do, their times are shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.compare.answers import CALLS, SIZES
from bench.compare.comparison import FINE, GONE, SLOWER, WRONG, Comparison, Excluded, Finding, Lane, Level, Ratio
from bench.row import strict_json
from networks.errors import InputError
from networks.files import read_regular

ANSWERS = frozenset({*SIZES, *CALLS})  # counters that say what was computed; all others say how much work that was
EXPECTED = "expected what `pytest --benchmark-json` wrote"
UNLIKE = "another CPU or Python"


@dataclass(frozen=True, slots=True)
class Micro:
    """A file of pytest-benchmark.

    Attributes
    ----------
    path : Path
    machine : tuple of str
        Processor and Python.
    seconds : dict of str to float
        The median of each benchmark.
    counters : dict of str to dict of str to number
        The whole numbers of each benchmark's `extra_info`, and `work`. Other numbers there are times and ratios.
    """

    path: Path
    machine: tuple[str, ...]
    seconds: Mapping[str, float]
    counters: Mapping[str, Mapping[str, float]]

    @classmethod
    def read(cls, path: Path) -> Micro:
        """Read a file.

        Raises
        ------
        InputError
            It cannot be read, or is no such file.
        """
        try:
            content = strict_json(read_regular(path))
            benchmarks = {str(item["fullname"]): item for item in content["benchmarks"]}
            seconds = {name: float(item["stats"]["median"]) for name, item in benchmarks.items()}
            counters = {name: dict(_counters(item.get("extra_info") or {})) for name, item in benchmarks.items()}
            machine = content.get("machine_info") or {}
            cpu = machine.get("cpu") or {}
            return cls(path, (str(cpu.get("brand_raw")), str(machine.get("python_version"))), seconds, counters)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}; {EXPECTED}") from error
        except KeyError as error:
            raise InputError(f"{path}: no key {error}; {EXPECTED}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: {error}; {EXPECTED}") from error


def is_micro(path: Path) -> bool:
    """Whether it is to be read as a file of pytest-benchmark: a run is a folder."""
    return path.is_file()


def compare_micro(base: Micro, head: Micro) -> Comparison:
    """Counters exactly, times for the eye alone."""
    shared = [name for name in base.seconds if name in head.seconds]
    lanes = (_answers(base, head, shared), _work(base, head, shared), _times(base, head, shared))
    notes = [] if shared else ["the files have no benchmark in common"]
    if base.machine != head.machine:
        notes.append(f"{' with Python '.join(base.machine)} and {' with Python '.join(head.machine)}: work only warns")
    if shared and not any(lane.values for lane in lanes[:2]):
        notes.append("no benchmark has a counter in both files: whole numbers in `benchmark.extra_info` are compared")
    return Comparison(str(base.path), str(head.path), lanes, tuple(notes))


def _counters(extra_info: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in extra_info.items():
        if (isinstance(value, int) and not isinstance(value, bool)) or (name == "work" and isinstance(value, float)):
            yield str(name), value


def _answers(base: Micro, head: Micro, shared: list[str]) -> Lane:
    values = [item for item in _shared_counters(base, head, shared) if item[1] in ANSWERS]
    findings = [
        Finding(Level.FAILURE, where, what, f"{old:,}", f"{new:,}", "changed")
        for where, what, old, new in values
        if old != new
    ]
    findings += _lost(base, head, shared)
    if shared:
        lost = (name for name in base.seconds if name not in head.seconds)
        new = (name for name in head.seconds if name not in base.seconds)
        findings += [Finding(Level.FAILURE, name, "benchmark", "measured", "-", GONE) for name in lost]
        findings += [Finding(Level.NOTICE, name, "benchmark", "-", "measured", "new") for name in new]
    return Lane(
        "answers", WRONG, len({item[0] for item in values}), len(values), tuple(findings), _new(base, head, shared)
    )


def _lost(base: Micro, head: Micro, shared: list[str]) -> list[Finding]:
    """Counters that HEAD has no more, or not as numbers that gate: as bad as a benchmark that is gone."""
    return [
        Finding(Level.FAILURE, name, what, f"{count:,}", "-", GONE)
        for name in shared
        for what, count in base.counters[name].items()
        if what not in head.counters[name]
    ]


def _new(base: Micro, head: Micro, shared: list[str]) -> tuple[Excluded, ...]:
    """Counters that HEAD alone has."""
    return tuple(
        Excluded(name, what, "only HEAD has it")
        for name in shared
        for what in head.counters[name]
        if what not in base.counters[name]
    )


def _work(base: Micro, head: Micro, shared: list[str]) -> Lane:
    values = [item for item in _shared_counters(base, head, shared) if item[1] not in ANSWERS]
    alike = base.machine == head.machine
    findings = [_change(*item, alike=alike) for item in values if item[2] != item[3]]
    return Lane("work", SLOWER, len({item[0] for item in values}), len(values), tuple(findings))


def _change(where: str, what: str, old: float, new: float, *, alike: bool) -> Finding:
    if not alike:
        return Finding(Level.WARNING, where, what, f"{old:,}", f"{new:,}", f"changed ({UNLIKE})")
    level, word = (Level.FAILURE, "more work") if new > old else (Level.NOTICE, "less work")
    return Finding(level, where, what, f"{old:,}", f"{new:,}", word)


def _times(base: Micro, head: Micro, shared: list[str]) -> Lane:
    timed = [name for name in shared if base.seconds[name] > 0 and head.seconds[name] > 0]
    ratios = [_ratio(name, head.seconds[name] / base.seconds[name]) for name in timed]
    return Lane("time", FINE, len(timed), len(timed), ratios=tuple(ratios))


def _ratio(name: str, ratio: float) -> Ratio:
    return Ratio(name, "seconds", 1, int(ratio > 1), int(ratio < 1), ratio, math.nan, math.nan)


def _shared_counters(base: Micro, head: Micro, shared: list[str]) -> Iterator[tuple[str, str, float, float]]:
    for where in shared:
        for what, old in base.counters[where].items():
            if what in head.counters[where]:
                yield where, what, old, head.counters[where][what]
