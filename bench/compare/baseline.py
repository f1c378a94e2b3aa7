"""A run made the baseline: what a comparison needs of it, and no more."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any

from bench.compare.lanes import RunFiles
from bench.compare.pairs import asked_of
from bench.judge import judge
from bench.outcome import plain
from bench.row import Row, failed
from bench.store import MANIFEST, ROWS, make_folder, writing
from networks.errors import InputError

# Of a start what decides whether its counts repeat; of a row neither its files nor what else the machine did.
OF_A_START = ("start", "versions", "cpu", "simd", "git_commit")
DROPPED = ("arrays", "log", "enforced", "machine", "peak_memory_mb", "memory_limit_mb", "hard_limit_s", "overshoot_s")


def check_apart(base: Path, head: Path) -> None:
    """Raise InputError where HEAD would be written onto itself."""
    if base.exists() and base.resolve() == head.resolve():
        raise InputError(
            f"--update: BASE and HEAD are both {base}; expected a run that is to take the baseline's place"
        )


def make_baseline(head: RunFiles, base: Path) -> str:
    """Write HEAD's rows and manifest into the folder of BASE; returns what was written, in words.

    Raises
    ------
    InputError
        HEAD has no rows, failed cells or contradictions, or the folder cannot be written.
    """
    _check_sound(head)
    rows = sorted(head.rows, key=_order)
    texts = {
        ROWS: "".join(json.dumps(_kept(row), allow_nan=False) + "\n" for row in rows),
        MANIFEST: json.dumps(_manifest(head.manifest), indent=2) + "\n",
    }
    make_folder(base)
    for name, text in texts.items():
        with writing(base / name):
            (base / name).write_text(text, encoding="utf-8")
    return f"{base} is now the baseline: {len(rows)} cells of {head.folder}"


def _check_sound(head: RunFiles) -> None:
    wrong = sum(map(failed, head.rows))
    what = f"{wrong} of its {len(head.rows)} cells failed" if wrong else "" if head.rows else "it has no rows"
    found = () if what else judge(head.rows, [head.folder] * len(head.rows)).findings
    if what or found:
        why = what or f"it contradicts itself: {found[0]}"
        raise InputError(f"--update: {head.folder} is no baseline: {why}; mend what is wrong and run the suite again")


def _order(row: Row) -> str:
    """The same order whatever order the cells ended in, so that two baselines differ in what has changed."""
    return json.dumps(plain(asked_of(row)))


def _manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    starts = [{name: start[name] for name in OF_A_START if name in start} for start in manifest.get("starts") or []]
    return manifest | {"starts": starts}


def _kept(row: Row) -> dict[str, Any]:
    """The fields that say something: those at their defaults are read back as such."""
    values = plain(asdict(row))
    defaults = {item.name: plain(_default(item)) for item in fields(Row)}
    kept = (name for name in values if name not in DROPPED and values[name] != defaults[name])
    return {"schema": row.schema} | {name: values[name] for name in kept}


def _default(item: Field[Any]) -> Any:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return ... if item.default is MISSING else item.default
