"""From a run's folder to data frames: one with a line a row, one with a line a row and target."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from bench.row import Row
from bench.store import load_rows, read_manifest
from bench.verdict import DONE

# What makes two rows the same question; their bounds bracket the same numbers.
INSTANCE = ["network_digest", "dataset", "image", "epsilon", "norm", "clip"]
OUTCOMES = ["failed", "unknown", "falsified", "verified"]  # from the weakest to the strongest
DECIDED = ("falsified", "verified")
SOLVED = frozenset({*DONE, "infeasible", "target_reached"})  # how a target ends that lacks nothing for its question
SKIPPED = "skipped"  # a target that was not asked: no lack where another one decided the instance
COLLECTIONS = (
    *("targets", "lower", "upper", "safety", "claimed", "certified", "status", "gap", "stage", "stage_s"),
    *("enforced", "machine", "counters", "versions", "clip"),
)
INTEGERS = ["image", "images", "label", "threads", "seed", "repeat", "target", "steps", "restarts"]
OF_TARGET = ["target", "lower", "upper", "status", "stage"]
SECONDS = ["bounds_s", "build_s", "solve_s", "total_s"]
BY_STAGE = "stage_s."  # before the stage's name, in the columns of `tidy`


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a run's folder holds.

    Attributes
    ----------
    folder : Path
    rows : DataFrame
        See `tidy`.
    targets : DataFrame
        See `by_target`.
    manifest : dict
        Empty where there is none.
    notes : tuple of str
        What was passed over while reading.
    """

    folder: Path
    rows: pd.DataFrame
    targets: pd.DataFrame
    manifest: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def suite_name(self) -> str:
        """The suite's name, the folder's where no manifest has it."""
        return str((self.manifest.get("suite") or {}).get("name") or self.folder.resolve().name)


def load_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises
    ------
    InputError
        No such folder, no rows in it, or a line that is no row; the message has the file and the line's number.
    """
    kept, notes = load_rows(folder)
    targets = by_target(kept)
    frame = tidy(kept)
    gaps = bound_gaps(targets).reindex(frame.index).where(answers_margins(frame))
    return Run(folder, frame.assign(bound_gap=gaps), targets, read_manifest(folder), tuple(notes))


def tidy(rows: Iterable[Row]) -> pd.DataFrame:
    """One line a row, scalars only.

    Beside the fields of `bench.row.Row`: `clip` as text, `target_count`, `lower_min` and `upper_min` over the targets,
    `status` (how the row ended), `solved` (whether nothing was left to solve), `outcome` (one of OUTCOMES; None for an
    attack), `reason` (why a row is unknown or failed), every counter as `counter.NAME` and the seconds of every stage
    as `stage_s.NAME`.
    """
    frame = pd.DataFrame([_scalars(row) for row in rows])
    integers = [name for name in INTEGERS if name in frame]
    return frame.astype(dict.fromkeys(integers, "Int64") | dict.fromkeys(SECONDS, "float64"))


def _scalars(row: Row) -> dict[str, Any]:
    kept = {item.name: getattr(row, item.name) for item in fields(Row) if item.name not in COLLECTIONS}
    status = row_status(row)
    return kept | {
        "clip": clip_text(row.clip),
        "target_count": len(row.targets),
        "lower_min": _minimum(row.lower),
        "upper_min": _minimum(row.upper),
        "status": status if row.kind == "verify" else None,
        "solved": row.kind == "verify" and _is_solved(row),
        "outcome": None if row.kind != "verify" else "failed" if row.error else row.verdict or "unknown",
        "reason": _reason(row, status),
        **{f"counter.{name}": value for name, value in row.counters.items()},
        **{f"{BY_STAGE}{name}": value for name, value in row.stage_s.items()},
    }


def clip_text(clip: tuple[float, float] | None) -> str:
    """`none`, or `[0, 1]`."""
    return "none" if clip is None else f"[{clip[0]:g}, {clip[1]:g}]"


def answers_margins(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows bound margins: with goal `verdict` the bounds are only as good as the sign needed."""
    return rows["goal"].ne("verdict").fillna(True)


def row_status(row: Row) -> str:
    """The status of a row: `error`, else that of the first target that was not solved, else that of the first asked."""
    if row.error:
        return "error"
    asked = [status for status in row.status if status != SKIPPED]
    return (_unsolved(row) or asked or row.status or ["unknown"])[0]


def _unsolved(row: Row) -> list[str]:
    """The statuses of the targets that were not solved to the end."""
    passed_over = {SKIPPED} if row.verdict in DECIDED else set()
    return [status for status in row.status if status not in SOLVED | passed_over]


def _is_solved(row: Row) -> bool:
    """Every target solved; where the verdict was the goal, a verdict suffices."""
    if row.error:
        return False
    return (row.goal == "verdict" and row.verdict in DECIDED) or (bool(row.status) and not _unsolved(row))


def _reason(row: Row, status: str) -> str | None:
    if row.error:
        return f"error: {row.error.split(':')[0]}"
    if row.verdict != "unknown":
        return None
    if row.reason:
        return row.reason
    return "not decided" if status in SOLVED else status.replace("_", " ")  # rows of schema 1 say no reason


def _minimum(values: list[float | None]) -> float:
    """NaN where one of the values is missing."""
    return math.nan if None in values or not values else min(value for value in values if value is not None)


def by_target(rows: Iterable[Row]) -> pd.DataFrame:
    """One line a row and target.

    Columns: `row` (the line in `tidy`), those of INSTANCE, `target`, `lower`, `upper`, `status` and `stage`.
    """
    lines: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        instance = {name: getattr(row, name) for name in INSTANCE} | {"clip": clip_text(row.clip)}
        statuses = row.status if len(row.status) == len(row.targets) else [row_status(row)] * len(row.targets)
        stages = row.stage if len(row.stage) == len(row.targets) else [""] * len(row.targets)
        of_targets = zip(row.targets, row.lower, row.upper, statuses, stages, strict=True)
        lines += [{"row": index, **instance, **dict(zip(OF_TARGET, values, strict=True))} for values in of_targets]
    frame = pd.DataFrame(lines, columns=["row", *INSTANCE, *OF_TARGET])
    return frame.astype({"image": "Int64", "lower": "float64", "upper": "float64"})


def bound_gaps(targets: pd.DataFrame) -> pd.Series[float]:
    """For each row the mean over its targets of (best upper bound of any row on that margin) - lower.

    Rows with a target that has no finite bound are left out.
    """
    best = targets.groupby([*INSTANCE, "target"], dropna=False)["upper"].transform("min")
    gaps = best - targets["lower"]
    missing = gaps.isna().groupby(targets["row"]).any()
    return gaps.groupby(targets["row"]).mean().mask(missing)
