"""From a run's folder to data frames: one with a line a row, one with a line a row and target."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.choices import BY_PROPAGATION
from bench.judge import Judgement, judge
from bench.row import Row
from bench.store import load_rows, read_line, read_manifest
from bench.verdict import DONE

# What makes two rows the same question, so that their bounds bracket the same numbers; and what stands for all of it.
QUESTION = ["network_digest", "dataset", "image", "epsilon", "norm", "clip"]
INSTANCE = ["instance"]
CONTRADICTED = "contradicted"  # the outcome of a row that the judge does not believe
OUTCOMES = [CONTRADICTED, "failed", "unknown", "falsified", "verified"]  # from the weakest to the strongest
UNMEASURED = (CONTRADICTED, "failed")  # their bounds and seconds are no measurement
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
    """What one run's folder holds, or several together.

    Attributes
    ----------
    folders : tuple of Path
    rows : DataFrame
        See `tidy`; also `run`, the name of each row's run, `suite`, that of its suite, and `bound_gap`.
    targets : DataFrame
        See `by_target`.
    manifests : tuple of dict
        One a folder; empty where there is none.
    notes : tuple of str
        What was passed over while reading.
    judgement : Judgement
        What does not hold among the rows of all runs.
    places : ndarray, shape (rows, 2), int
        Where each row's line is in its file: the byte where it begins, and its length.
    """

    folders: tuple[Path, ...]
    rows: pd.DataFrame
    targets: pd.DataFrame
    manifests: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    judgement: Judgement
    places: NDArray[np.int64]

    @property
    def names(self) -> list[str]:
        """The runs' names, each another one."""
        return [str(name) for name in self.rows["run"].cat.categories]

    @property
    def suite_name(self) -> str:
        """The suites' names, a folder's where no manifest has it."""
        return ", ".join(dict.fromkeys(map(_suite_name, self.folders, self.manifests)))

    def folder_of(self, index: int) -> Path:
        """The folder of the run that a row is of; the row's arrays and its log lie below it."""
        return self.folders[self.rows["run"].cat.codes[index]]

    def raw(self, index: int) -> str:
        """The JSON text of a row, as it stands in its run's file.

        Raises
        ------
        InputError
            The file cannot be read any more.
        """
        start, length = self.places[index].tolist()
        return read_line(self.folder_of(index), (start, length))


def load_run(folder: Path) -> Run:
    """Read one run's folder, as `load_runs` does."""
    return load_runs([folder])


def load_runs(folders: Iterable[Path]) -> Run:
    """Read runs' folders, and judge all their rows together. A folder that is named twice counts once.

    Raises
    ------
    InputError
        No such folder, no rows in it, or a line that is no row; the message has the file and the line's number.
    """
    kept = _distinct(folders)
    manifests = tuple(map(read_manifest, kept))
    loaded = [load_rows(folder) for folder in kept]
    rows = [row for placed, _ in loaded for row, _ in placed]
    counts = [len(placed) for placed, _ in loaded]
    judgement = judge(rows, [folder for folder, count in zip(kept, counts, strict=True) for _ in range(count)])
    frame = without_belief(tidy(rows), judgement.guilty).assign(**_origins(kept, manifests, counts))
    targets = by_target(rows, frame["instance"])
    gaps = bound_gaps(targets).reindex(frame.index).where(answers_margins(frame))
    places = np.array([place for placed, _ in loaded for _, place in placed], dtype=np.int64)
    notes = tuple(note for folder, (_, notes) in zip(kept, loaded, strict=True) for note in _notes(kept, folder, notes))
    return Run(kept, frame.assign(bound_gap=gaps), targets, manifests, notes, judgement, places)


def _distinct(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Each folder once, by the first of its names."""
    kept: dict[Path, Path] = {}
    for folder in folders:
        kept.setdefault(folder.resolve(), folder)
    return tuple(kept.values())


def _notes(folders: Sequence[Path], folder: Path, notes: Iterable[str]) -> list[str]:
    """Of several runs each note says of which it is."""
    return [f"{folder}: {note}" if len(folders) > 1 else note for note in notes]


def _origins(folders: Sequence[Path], manifests: Sequence[dict[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """The columns `run` and `suite`, from how many rows each folder has."""
    codes = np.repeat(np.arange(len(folders)), counts)
    names = [*map(_suite_name, folders, manifests)]
    suites = [*dict.fromkeys(names)]
    of_suites = np.array([suites.index(name) for name in names])
    return {
        "run": pd.Categorical.from_codes(codes, pd.Index(run_names(folders))),
        "suite": pd.Categorical.from_codes(of_suites[codes], pd.Index(suites)),
    }


def run_names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names; where two are the same, as many of the folders above as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    depth = next(n for n in itertools.count(1) if len({part[-n:] for part in parts}) == len(parts))
    return [str(PurePath(*part[-depth:])) for part in parts]


def _suite_name(folder: Path, manifest: dict[str, Any]) -> str:
    return str((manifest.get("suite") or {}).get("name") or folder.resolve().name)


def without_belief(frame: pd.DataFrame, guilty: Collection[int]) -> pd.DataFrame:
    """The frame of `tidy` with the rows that are wrong neither verified, falsified nor solved."""
    wrong = frame.index.isin(list(guilty))
    return frame.assign(outcome=frame["outcome"].mask(wrong, CONTRADICTED), solved=frame["solved"].to_numpy() & ~wrong)


def tidy(rows: Iterable[Row]) -> pd.DataFrame:
    """One line a row, scalars only.

    Beside the fields of `bench.row.Row`: `instance`, a number for each question (see QUESTION), `clip` as text,
    `target_count`, `lower_min` and `upper_min` over the targets, `status` (how the row ended), `solved` (whether
    nothing was left to solve), `outcome` (one of OUTCOMES; None for an attack), `tier` (what the verdict rests on),
    `reason` (why a row is unknown or failed), every counter as `counter.NAME` and the seconds of every stage as
    `stage_s.NAME`.
    """
    frame = pd.DataFrame([_scalars(row) for row in rows])
    integers = [name for name in INTEGERS if name in frame]
    typed = frame.astype(dict.fromkeys(integers, "Int64") | dict.fromkeys(SECONDS, "float64"))
    return typed.assign(instance=typed.groupby(QUESTION, dropna=False, sort=False).ngroup())


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
        "tier": _tier(row),
        "outcome": None if row.kind != "verify" else "failed" if row.error else row.verdict or "unknown",
        "reason": _reason(row, status),
        **{f"counter.{name}": value for name, value in row.counters.items()},
        **{f"{BY_STAGE}{name}": value for name, value in row.stage_s.items()},
    }


def clip_text(clip: tuple[float, float] | None) -> str:
    """`none`, or `[0, 1]`."""
    return "none" if clip is None else f"[{clip[0]:g}, {clip[1]:g}]"


def answers_margins(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows bound margins: with goal `verdict` as well as the sign needs, and none that is contradicted."""
    return rows["goal"].ne("verdict").fillna(True) & rows["outcome"].ne(CONTRADICTED)


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
    if row.reason:
        return row.reason
    if row.verdict != "unknown":
        return None
    return "not decided" if status in SOLVED else status.replace("_", " ")  # rows of schema 1 say no reason


def _tier(row: Row) -> str | None:
    """What the verdict rests on; of rows before schema 3 as far as it is plain."""
    if row.tier or row.kind != "verify":
        return row.tier
    if row.verdict == "falsified" and row.witness_single is not None:
        return "float32" if row.witness_single else "float64"
    return "certified" if row.verdict == "verified" and row.method in BY_PROPAGATION else None


def _minimum(values: list[float | None]) -> float:
    """NaN where one of the values is missing."""
    return math.nan if None in values or not values else min(value for value in values if value is not None)


def by_target(rows: Iterable[Row], instances: Iterable[int]) -> pd.DataFrame:
    """One line a row and target.

    Columns: `row` (the line in `tidy`), `instance` as there, `target`, `lower`, `upper`, `status` and `stage`.
    """
    lines: list[dict[str, Any]] = []
    for index, (row, instance) in enumerate(zip(rows, instances, strict=True)):
        statuses = row.status if len(row.status) == len(row.targets) else [row_status(row)] * len(row.targets)
        stages = row.stage if len(row.stage) == len(row.targets) else [""] * len(row.targets)
        of_targets = zip(row.targets, row.lower, row.upper, statuses, stages, strict=True)
        where = {"row": index, "instance": instance}
        lines += [{**where, **dict(zip(OF_TARGET, values, strict=True))} for values in of_targets]
    frame = pd.DataFrame(lines, columns=["row", *INSTANCE, *OF_TARGET])
    return frame.astype({"lower": "float64", "upper": "float64"})


def bound_gaps(targets: pd.DataFrame) -> pd.Series[float]:
    """For each row the mean over its targets of (best upper bound of any row on that margin) - lower.

    Rows with a target that has no finite bound are left out.
    """
    best = targets.groupby([*INSTANCE, "target"])["upper"].transform("min")
    gaps = best - targets["lower"]
    missing = gaps.isna().groupby(targets["row"]).any()
    return gaps.groupby(targets["row"]).mean().mask(missing)
