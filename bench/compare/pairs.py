"""Which rows of two runs belong together, and how far they must agree."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.choices import BY_PROPAGATION, TIGHTENING_SHARE
from bench.judge import who
from bench.limits import REASONS, killed_past
from bench.row import ASKED, DRAWN, Row

KERNELS = ("numpy", "scipy", "torch")  # whose versions decide how floating-point sums are rounded
TIGHTENING = ("lp", "milp")  # bounds that a solver makes until a share of the time limit is over
# A value that the question alone determines, whoever computes it: by these methods, or from these bounds.
CLOSED_FORM = ("interval", "linear", "dual")
DETERMINED_BOUNDS = ("interval", "linear")


@dataclass(frozen=True, slots=True)
class Pair:
    """One cell in both runs.

    Attributes
    ----------
    base, head : Row
    unequal : str
        Why unchanged code need not repeat each step of the search; empty where it must.
    """

    base: Row
    head: Row
    unequal: str

    @property
    def words(self) -> str:
        """The cell in words."""
        return words_of(self.head)

    @property
    def clock(self) -> str:
        """What stopped the cell in either run at a point that no two runs share; empty where nothing did."""
        return clock_of(self.base) or clock_of(self.head)

    @property
    def determined(self) -> bool:
        """Whether the question alone determines the cell's bounds, statuses and model."""
        return _determined(self.base) and _determined(self.head)


def words_of(row: Row) -> str:
    """A row in words: the instance, and who answered."""
    about = f"image {row.image}" if row.image is not None else f"{row.images} images"
    target = "" if row.target is None else f", target {row.target}"
    return f"{row.network}, {about}, epsilon {row.epsilon:g}{target}: {who(row)}"


def setup_of(row: Row) -> str:
    """Who answered: the method and its solver, whatever the instance, the switches and the seed."""
    return " ".join(filter(None, (row.method, row.solver)))


def joined(
    base: Sequence[Row], head: Sequence[Row], unequal: Callable[[Row, Row], str]
) -> tuple[list[Pair], list[Row], list[Row]]:
    """The cells that both have, those of BASE alone, and those of HEAD alone.

    Cells are joined by their digests; those left by what was asked, as far as that is unambiguous.
    """
    both, base_left, head_left = _match(base, head, lambda row: (row.cell, row.seed, row.repeat))
    more, base_left, head_left = _match(base_left, head_left, asked_of)
    return [Pair(old, new, unequal(old, new)) for old, new in (*both, *more)], base_left, head_left


def asked_of(row: Row) -> tuple[Any, ...]:
    """What a cell was asked: it is the same one where another version of relubench writes another digest for it."""
    return tuple(getattr(row, name) for name in ASKED)


def instance_of(row: Row) -> tuple[Any, ...]:
    """What a cell was asked, whatever the seed and the repeat."""
    return tuple(getattr(row, name) for name in ASKED if name not in DRAWN)


def _match(
    base: Sequence[Row], head: Sequence[Row], key: Callable[[Row], Hashable]
) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """The rows with the same key, once on each side, and the rows that are left."""
    firsts, seconds = _by_key(base, key), _by_key(head, key)
    shared = [name for name in firsts if name in seconds]
    base_left = [row for row in base if key(row) not in seconds or key(row) not in firsts]
    head_left = [row for row in head if key(row) not in firsts or key(row) not in seconds]
    return [(firsts[name], seconds[name]) for name in shared], base_left, head_left


def _by_key(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> dict[Hashable, Row]:
    counts = Counter(map(key, rows))
    return {key(row): row for row in rows if counts[key(row)] == 1}


def clock_of(row: Row) -> str:
    """What stopped a row by the clock, or by the memory that there was; empty where nothing did."""
    kind = killed_past(row)
    if kind is not None:
        return REASONS[kind]
    if "time_limit" in row.status:
        return REASONS["time"]
    if row.reason and row.reason in REASONS.values():
        return row.reason
    return "time limit of the tightening" if _tightening_ran_out(row) else ""


def _tightening_ran_out(row: Row) -> bool:
    """Whether bounds were tightened for as long as they may be, as far as the row's times tell."""
    if row.bounds not in TIGHTENING or row.time_limit_s is None:
        return False
    tightening_s = row.stage_s.get("tighten", row.bounds_s if row.method != "staged" else None)
    spent_s = sum(seconds for stage, seconds in row.stage_s.items() if stage not in ("tighten", "milp"))
    return tightening_s is not None and tightening_s >= TIGHTENING_SHARE * (row.time_limit_s - spent_s)


def _determined(row: Row) -> bool:
    if row.kind != "verify" or clock_of(row):
        return False
    if row.method in BY_PROPAGATION:
        return row.method in CLOSED_FORM
    whole = row.method in ("lp", "milp") and row.goal == "margin" and row.bounds in DETERMINED_BOUNDS
    return whole and all(status == "optimal" for status in row.status)


@dataclass(frozen=True, slots=True)
class Machine:
    """The processor that a run's cells ran on, as its manifest has it.

    Attributes
    ----------
    kinds : frozenset of str
        One for each processor on which the run was started: its name, and the vector instructions that it has.
    """

    kinds: frozenset[str]

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> Machine:
        """Out of a manifest, which may be empty."""
        return cls(frozenset(map(_machine_kind, manifest.get("starts") or [])))

    def unlike(self, other: Machine) -> str:
        """Why the two may round differently; empty where they do not."""
        if not self.kinds or not other.kinds:
            return "no manifest says on which CPU the run was made"
        if self.kinds != other.kinds or len(self.kinds) > 1:
            return f"CPUs {_listed(self.kinds)} and {_listed(other.kinds)}"
        return ""


def _machine_kind(start: dict[str, Any]) -> str:
    simd = start.get("simd")
    parts = (start.get("cpu") or "unknown", " ".join(map(str, simd)) if isinstance(simd, list) else "")
    return " with ".join(str(part) for part in parts if part)


def _listed(kinds: Iterable[str]) -> str:
    return " / ".join(sorted(kinds))


def inequality(base: Machine, head: Machine) -> Callable[[Row, Row], str]:
    """The function that says why two rows of two runs need not repeat each other's steps."""
    return functools.partial(_unequal, machines=base.unlike(head))


def _unequal(base: Row, head: Row, *, machines: str) -> str:
    threads = max(base.threads, head.threads)
    if base.solver is not None and threads > 1:
        return f"{threads} threads, which race"
    if base.solver_version != head.solver_version:
        return f"{base.solver} {base.solver_version or '?'} and {head.solver_version or '?'}"
    if base.device != head.device or base.device != "cpu":
        return f"devices {base.device} and {head.device}"
    for name in KERNELS:
        old, new = base.versions.get(name), head.versions.get(name)
        if old != new:
            return f"{name} {old or '?'} and {new or '?'}"
    return machines
