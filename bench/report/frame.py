"""From a run's folder to data frames: one with a line a row, one with a line a row and target."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from bench.columns import Columns, joined, scalars, starts
from bench.judge import Judgement, Replay, Replayed, judge_columns
from bench.reading import read_table
from bench.report.endings import CONTRADICTED, DECIDED, OUTCOMES, SKIPPED, SOLVED, UNMEASURED, ends, row_status
from bench.row import QUESTION, TOLERANCES, Row
from bench.store import read_line, read_manifest

__all__ = ["CONTRADICTED", "DECIDED", "OUTCOMES", "SKIPPED", "SOLVED", "UNMEASURED", "Run", "load_run", "load_runs"]

INSTANCE = ["instance"]  # a number that stands for all of `bench.row.QUESTION`
OF_TARGET = ["target", "lower", "upper", "status", "stage"]
ReplayRows = Callable[[Iterable[tuple[int, Row, Path]]], Replayed]  # of each row its place, itself, its run's folder
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
    places : ndarray, shape (rows, 3), int
        Where each row's line is: the place of its run's folder, the byte where it begins in the file, and its length.
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
        return self.folders[int(self.places[index, 0])]

    def raw(self, index: int) -> str:
        """The JSON text of a row, as it stands in its run's file.

        Raises
        ------
        InputError
            The file cannot be read any more.
        """
        return _raw(self.folders, self.places[index])


def _raw(folders: Sequence[Path], place: NDArray[np.int64]) -> str:
    """The JSON text of the row at a place."""
    folder, start, length = place.tolist()
    return read_line(folders[folder], (start, length))


def _replaying(folders: Sequence[Path], places: NDArray[np.int64], replay: ReplayRows | None) -> Replay | None:
    """What replays rows, given their numbers alone."""
    if replay is None:
        return None

    def told(row: int) -> tuple[int, Row, Path]:
        return row, Row.from_json(_raw(folders, places[row])), folders[int(places[row, 0])]

    return lambda rows: replay(map(told, rows))


def load_run(folder: Path) -> Run:
    """Read one run's folder, as `load_runs` does."""
    return load_runs([folder])


def load_runs(folders: Iterable[Path], replay: ReplayRows | None = None) -> Run:
    """Read runs' folders, and judge all their rows together. A folder that is named twice counts once.

    Parameters
    ----------
    folders : iterable of Path
    replay : callable, optional
        Runs rows' inputs forward again, as `bench.witnesses.replay_inputs` does, before they count against others.

    Raises
    ------
    InputError
        No such folder, no rows in it, or a line that is no row; the message has the file and the line's number.
    """
    kept = _distinct(folders)
    manifests = tuple(map(read_manifest, kept))
    read = [read_table(folder) for folder in kept]
    counts = [table.num_rows for table, _ in read]
    notes = tuple(note for folder, (_, notes) in zip(kept, read, strict=True) for note in _notes(kept, folder, notes))
    columns = Columns.of(joined(table for table, _ in read))
    del read  # a million rows are a gigabyte
    pa.default_memory_pool().release_unused()
    of_run = np.repeat(np.arange(len(kept)), counts)
    places = np.column_stack([of_run, *(columns.table[name].to_numpy() for name in ("offset", "length"))])
    judgement = judge_columns(columns, lambda row: kept[int(of_run[row])], _replaying(kept, places, replay))
    frame = without_belief(tidy(columns), judgement.guilty).assign(**_origins(kept, manifests, counts))
    frame = frame.assign(**_known_setups(frame))
    targets = by_target(columns, frame)
    gaps = bound_gaps(targets, len(frame)).where(answers_margins(frame))
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


def _known_setups(frame: pd.DataFrame) -> dict[str, Any]:
    """What a killed or failed cell does not say of its solver, as the run's other cells by that solver have it."""
    ended = frame["target_count"].gt(0)
    found = {}
    for name in ("solver_version", *TOLERANCES):
        unknown = frame["solver"].notna() & frame[name].isna() & ~ended
        if unknown.any():
            groups = frame[name].where(ended).groupby([frame["run"], frame["solver"]], observed=True)
            found[name] = frame[name].mask(unknown, groups.ffill().fillna(groups.bfill()))  # the last one before it
    return found


def run_names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names; where two are the same, as many of the folders above as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    depth = next(n for n in itertools.count(1) if len({part[-n:] for part in parts}) == len(parts))
    return [_writable(str(PurePath(*part[-depth:]))) for part in parts]


def _suite_name(folder: Path, manifest: dict[str, Any]) -> str:
    return _writable(str((manifest.get("suite") or {}).get("name") or folder.resolve().name))


def _writable(name: str) -> str:
    """A folder's name, which need not be text of any encoding, with escapes where it is none."""
    return name.encode("utf-8", errors="backslashreplace").decode()


def without_belief(frame: pd.DataFrame, guilty: Collection[int]) -> pd.DataFrame:
    """The frame of `tidy` with the rows that are wrong neither verified, falsified nor solved."""
    wrong = frame.index.isin(list(guilty))
    return frame.assign(outcome=frame["outcome"].mask(wrong, CONTRADICTED), solved=frame["solved"].to_numpy() & ~wrong)


def tidy(columns: Columns) -> pd.DataFrame:
    """One line a row, scalars only.

    Beside the fields of `bench.row.Row`: `instance`, a number for each of `bench.row.QUESTION`, `clip` as text,
    `target_count`, `lower_min` and `upper_min` over the targets, `failed`, `status` (how the row ended), `solved`
    (whether nothing was left to solve), `outcome` (one of OUTCOMES; None for an attack), `tier` (what the verdict rests
    on), `reason` (why a row is unknown or failed), `called` (whether a solver was), every counter as `counter.NAME` and
    the seconds of every stage as `stage_s.NAME`.
    """
    frame = scalars(columns.table)
    frame["clip"] = _clips(columns.table)
    frame["instance"] = frame.groupby([*QUESTION], dropna=False, sort=False).ngroup().astype("int32")
    frame["target_count"] = columns.lengths
    for name, values in (("lower", _best_lower(columns)), ("upper", columns.lines["upper"].to_numpy())):
        frame[f"{name}_min"] = _minima(columns.lengths, values)
    return frame.assign(**ends(columns, frame), called=_called(frame))


def _called(frame: pd.DataFrame) -> pd.Series[bool]:
    """Which rows called a solver: all that have one, but those whose counts or stages say that nothing came to it."""
    solves = frame.reindex(columns=["counter.solves", "counter.bound_solves"])
    staged = frame[[name for name in frame if str(name).startswith(BY_STAGE)]].notna().any(axis=1)
    called = solves.gt(0).any(axis=1) | (solves.isna().all(axis=1) & ~staged)
    return frame["solver"].notna() & called


def _clips(table: pa.Table) -> pd.Series[str]:
    """`none`, or `[0, 1]`."""
    limits = table.select(["clip_low", "clip_high"]).to_pandas()
    codes = limits.groupby(["clip_low", "clip_high"], dropna=False, sort=False).ngroup()
    texts = [f"[{low:g}, {high:g}]" if low == low else "none" for low, high in limits.drop_duplicates().to_numpy()]
    return pd.Series(texts, dtype=str).take(codes).reset_index(drop=True)


def _best_lower(columns: Columns) -> NDArray[np.float64]:
    """Of every target the best lower bound that was proven: the solver's, or the certified one."""
    best: NDArray[np.float64] = np.fmax(columns.lines["lower"].to_numpy(), columns.lines["certified"].to_numpy())
    return best


def _minima(lengths: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least of each row's values; NaN where one of them is missing, or all."""
    minima = np.full(len(lengths), np.nan)
    if len(values):
        minima[lengths > 0] = np.minimum.reduceat(values, starts(lengths)[lengths > 0])
    return minima


def answers_margins(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows bound margins: with goal `verdict` as well as the sign needs, and none that is contradicted."""
    return rows["goal"].ne("verdict").fillna(True) & rows["outcome"].ne(CONTRADICTED)


def by_target(columns: Columns, rows: pd.DataFrame) -> pd.DataFrame:
    """One line a row and target.

    Columns: `row` (the line in `tidy`), `instance` as there, `target`, `lower` (the best that is proven), `upper`,
    `status` and `stage`; where a row does not say them for each target, `status` is the row's own and `stage` empty.
    """
    lines = columns.lines[["row", *OF_TARGET]].assign(lower=_best_lower(columns))
    row = lines["row"].to_numpy()
    return lines.assign(
        instance=rows["instance"].to_numpy()[row],
        status=_filled(lines["status"].array, row_status(columns)[row]),
        stage=_filled(lines["stage"].array, pd.Categorical([""])[np.zeros(len(row), dtype=np.int8)]),
    )[["row", *INSTANCE, *OF_TARGET]]


def _filled(words: Any, others: Any) -> pd.Categorical:
    """Words, those of `others` where they are missing."""
    categories = words.categories.union(others.categories, sort=False)
    codes, other_codes = (part.set_categories(categories).codes for part in (words, others))
    return pd.Categorical.from_codes(np.where(codes < 0, other_codes, codes), categories)


def bound_gaps(targets: pd.DataFrame, count: int) -> pd.Series[float]:
    """For each of `count` rows the mean over its targets of (best upper bound of any row on that margin) - lower.

    NaN for rows with a target that has no finite bound.
    """
    best = targets.groupby([*INSTANCE, "target"])["upper"].transform("min")
    gaps = pd.Series(np.nan, index=range(count))
    row = targets["row"].to_numpy()
    rows, first = np.unique(row, return_index=True)
    if len(rows):
        gaps[rows] = np.add.reduceat((best - targets["lower"]).to_numpy(), first) / np.diff([*first, len(row)])
    return gaps
