"""What the judge goes by: rows as data frames, their bounds a target, and what inputs were found to have."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arrays import arrays_of_row
from bench.choices import BY_PROPAGATION
from bench.row import Row
from bench.verdict import REPLAY_ROUNDING
from networks.errors import InputError

# Stands in a target's place for "whichever target has the least margin".
ANY = -1
# By how much, relative to the margin and to one, two solvers' own words on one optimum may differ: a hundred times the
# feasibility tolerance asked of them (see `solvers.backend`). It also stands for the safety that rows before schema 3
# do not tell.
AGREEMENT = 1e-5
# The same margin: of one network, at one image, for one label.
QUESTION = ["network_digest", "dataset", "image", "label"]
SCALARS = [
    *("cell", "kind", "network", *QUESTION, "epsilon", "norm", "method", "solver", "goal", "query"),
    *("mip_gap", "bounds", "bounds_used", "verdict", "violation", "error"),
]
NORMS = {"l1": 0, "l2": 1, "linf": 2}  # of one radius, each ball lies inside those behind it
SET = ["epsilon", "ball", "clip_low", "clip_high"]  # what a row's inputs lie in
NEEDED = ("margin", "predictions", "labels", "indices")  # of an attack's arrays
INPUT = ["row", "question", "target", "value"]
LINE = ["row", "target", "lower", "upper", "status", "gap", "safety", "claimed"]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Rows as frames.

    Attributes
    ----------
    rows : DataFrame
        One line a row, at its place: its scalars, `question` (a number for each value of QUESTION), `clip_low` and
        `clip_high` (infinite without a clip), `ball` (the norm's place in NORMS; NaN for another, which lies inside
        none), `by_solver`, `owes_margins` (whether it answers margins, not only their signs) and `complete` (whether
        it has every target).
    lines : DataFrame
        One line a row and target of the verifications: `row`, `target`, `lower`, `upper`, `status`, `gap`, `safety`,
        `claimed`, `told` (whether the row says its safety), and what `rows` has of the row. Missing numbers are NaN.
    inputs : DataFrame
        Margins of inputs that were run forward through the network: INPUT, and SET for what they lie in; `target` is
        ANY where the value is the least of all targets.
    notes : tuple of str
        What could not be read.
    """

    rows: pd.DataFrame
    lines: pd.DataFrame
    inputs: pd.DataFrame
    notes: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], folders: Sequence[Path]) -> Facts:
        """The facts of rows whose arrays lie below `folders`, one folder a row."""
        frame = _row_frame(rows)
        lines = _line_frame(rows, frame)
        attacked, notes = _attacked(rows, folders, frame)
        own = lines.loc[lines["upper"].notna(), [*INPUT[:-1], "upper"]].rename(columns={"upper": "value"})
        inputs = pd.concat([own, *attacked], ignore_index=True)
        return cls(frame, lines, _joined(inputs, frame, SET), (*notes, *_untold(lines)))

    @property
    def owed(self) -> pd.DataFrame:
        """The lines of rows that answer margins."""
        return self.lines[self.lines["owes_margins"]]


def _row_frame(rows: Sequence[Row]) -> pd.DataFrame:
    frame = pd.DataFrame({name: [getattr(row, name) for row in rows] for name in SCALARS})
    clips = [row.clip or (-math.inf, math.inf) for row in rows]
    propagated = frame["method"].isin(BY_PROPAGATION)
    return frame.assign(
        question=frame.groupby(QUESTION, dropna=False).ngroup(),
        clip_low=[low for low, _ in clips],
        clip_high=[high for _, high in clips],
        ball=frame["norm"].map(NORMS),
        image=frame["image"].astype("Int64"),
        violation=frame["violation"].astype(float),
        mip_gap=frame["mip_gap"].astype(float),
        by_solver=~propagated,
        owes_margins=propagated | (frame["method"].isin(["lp", "milp"]) & frame["goal"].ne("verdict")),
        # Before schema 3 a row says which bounds were asked for; what tightening made of them has the same place.
        bounds_used=frame["bounds_used"].fillna(frame["bounds"]),
        complete=[_is_complete(row) for row in rows],
    )


def _is_complete(row: Row) -> bool:
    """Whether the targets are all classes but the label, as far as their numbers show."""
    return bool(row.targets) and row.label is not None and {*row.targets, row.label} == set(range(len(row.targets) + 1))


def _line_frame(rows: Sequence[Row], frame: pd.DataFrame) -> pd.DataFrame:
    judged = [index for index, row in enumerate(rows) if row.kind == "verify" and row.error is None and row.targets]
    counts = np.array([len(rows[index].targets) for index in judged], dtype=int)
    columns: dict[str, Any] = {"row": np.repeat(np.array(judged, dtype=int), counts)}
    columns["target"] = np.fromiter(chain.from_iterable(rows[index].targets for index in judged), int)
    for name in ("lower", "upper", "gap", "safety", "claimed"):
        columns[name] = np.array(_entries(rows, judged, name), dtype=float)
    columns["status"] = _entries(rows, judged, "status")
    lines = pd.DataFrame(columns)[LINE]
    told = ["question", *SET, "method", "solver", "bounds_used", "query"]
    lines = _joined(lines, frame, [*told, "goal", "mip_gap", "by_solver", "owes_margins", "complete"])
    untold = AGREEMENT * np.maximum(1.0, lines["lower"].abs()) * lines["by_solver"]
    return lines.assign(told=lines["safety"].notna(), safety=lines["safety"].fillna(untold))


def _untold(lines: pd.DataFrame) -> list[str]:
    rows = lines.loc[lines["by_solver"] & ~lines["told"], "row"].nunique()
    stands = f"{AGREEMENT:g} of the margin, or of one, stands for it"
    return [f"{rows:,} rows do not say how safe their solver's bounds are: {stands}"] if rows else []


def _entries(rows: Sequence[Row], judged: Sequence[int], name: str) -> list[Any]:
    """A list's entries, one a target, of every row; None throughout where a row's list has another length."""
    lists = ((getattr(rows[index], name), len(rows[index].targets)) for index in judged)
    return list(chain.from_iterable(values if len(values) == count else [None] * count for values, count in lists))


def _joined(lines: pd.DataFrame, rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return lines.assign(**{name: rows[name].to_numpy()[lines["row"].to_numpy(dtype=int)] for name in names})


def _attacked(
    rows: Sequence[Row], folders: Sequence[Path], frame: pd.DataFrame
) -> tuple[list[pd.DataFrame], tuple[str, ...]]:
    """What attacks found at the images that a verification asks about, and a note where that cannot be read."""
    verified = frame[frame["kind"] == "verify"].drop_duplicates("question")
    asked = dict(iter(verified.groupby(["network_digest", "dataset"])))
    ended = [index for index, row in enumerate(rows) if row.kind == "attack" and row.error_rate is not None]
    told = [index for index in ended if (rows[index].network_digest, rows[index].dataset) in asked]
    found = {
        index: _attack_frame(rows[index], folders[index], asked[rows[index].network_digest, rows[index].dataset])
        for index in told
    }
    missing = sum(part is None for part in found.values())
    notes = (f"{missing} attacks have no readable arrays: what they found is held against nothing",) if missing else ()
    return [part.assign(row=index)[INPUT] for index, part in found.items() if part is not None], notes


def _attack_frame(row: Row, folder: Path, about: pd.DataFrame) -> pd.DataFrame | None:
    """`question`, `target` and `value` of an attack's images that are asked about; None without its arrays."""
    arrays = _load(folder, row.arrays) if row.arrays else None
    if arrays is None:
        return None
    images = _image_indices(row, arrays)
    if images is None:
        return None
    margin, predictions, labels = arrays["margin"], arrays["predictions"], arrays["labels"]
    # Below zero the margin is that to the class predicted; above, the least of all others, whichever has it.
    untargeted = np.where((margin < 0) & (predictions != labels), predictions, ANY)
    target = untargeted if row.target is None else np.full(len(margin), row.target)
    found = pd.DataFrame({"image": images, "label": labels, "target": target, "value": margin})
    return found.merge(about[["image", "label", "question"]].astype(int), on=["image", "label"])[
        ["question", "target", "value"]
    ]


def _image_indices(row: Row, arrays: dict[str, NDArray[Any]]) -> NDArray[Any] | None:
    """Which images the arrays are about: all from the first on, but that a target's own class was left out."""
    count = len(arrays["margin"])
    if "indices" in arrays:
        return arrays["indices"]
    return np.arange(count) if row.target is None else None


def _load(folder: Path, name: str) -> dict[str, NDArray[Any]] | None:
    """The arrays of an attack that the judge needs; None where they are not there or do not fit each other."""
    for names in (NEEDED, NEEDED[:-1]):  # rows before schema 3 have no indices
        with contextlib.suppress(InputError):
            arrays = dict(zip(names, arrays_of_row(folder, name, names), strict=True))
            one_each = all(array.ndim == 1 for array in arrays.values())
            return arrays if one_each and len({len(array) for array in arrays.values()}) == 1 else None
    return None


def lines_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The lines of a frame, with its columns as attributes and the index as `Index`."""
    return frame.itertuples()


def rounding(value: pd.Series[float]) -> pd.Series[float]:
    """What the replay of an input with that margin may be off by."""
    return REPLAY_ROUNDING * value.abs().clip(lower=1.0)
