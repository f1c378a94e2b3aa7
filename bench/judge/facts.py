"""What the judge goes by: rows as data frames, their bounds a target, and what inputs were found to have."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arrays import arrays_of_row
from bench.choices import BY_PROPAGATION
from bench.columns import PANDAS, Columns, starts
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
    *("kind", *QUESTION, "epsilon", "norm", "method", "solver", "goal", "query", "mip_gap", "bounds", "bounds_used"),
    *("verdict", "violation", "error", "error_rate", "arrays", "target", "clip_low", "clip_high"),
]
NORMS = {"l1": 0, "l2": 1, "linf": 2}  # of one radius, each ball lies inside those behind it
SET = ["epsilon", "ball", "clip_low", "clip_high"]  # what a row's inputs lie in
NEEDED = ("margin", "predictions", "labels", "indices")  # of an attack's arrays
INPUT = ["row", "question", "target", "value"]
Mask = NDArray[np.bool_]
Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Rows as frames.

    Attributes
    ----------
    rows : DataFrame
        One line a row, at its place: its scalars, `question` (a number for each value of QUESTION), `clip_low` and
        `clip_high` (infinite without a clip), `ball` (the norm's place in NORMS; NaN for another, which lies inside
        none), `least` (the margin of ANY target), `by_solver`, `owes_margins` (whether it answers margins, not only
        their signs) and `complete` (whether it has every target).
    lines : DataFrame
        One line a row and target of the verifications: `row`, `margin`, `target`, `lower`, `upper`, `status`, `gap`,
        `safety`, `claimed` and `told` (whether the row says its safety). Missing numbers are NaN.
    margins : DataFrame
        One line, at its number, for each `question`, `target` and SET that any row has; also those of ANY target.
    inputs : DataFrame
        Margins of inputs that were run forward through the network, the least of the rows for each margin: INPUT, and
        SET for what they lie in; `target` is ANY where the value is the least of all targets.
    notes : tuple of str
        What could not be read.
    """

    rows: pd.DataFrame
    lines: pd.DataFrame
    margins: pd.DataFrame
    inputs: pd.DataFrame
    notes: tuple[str, ...]

    @classmethod
    def of(cls, columns: Columns, folder_of: Callable[[int], Path]) -> Facts:
        """The facts of rows whose arrays lie below their folders."""
        frame = _row_frame(columns)
        lines = _line_frame(columns.lines, frame)
        lines, margins = _numbered(lines, frame)
        attacked, notes = _attacked(frame, folder_of)
        inputs = pd.concat([_own(lines, frame), *attacked], ignore_index=True).astype({"target": np.int64})
        return cls(frame, lines, margins, _joined(inputs, frame, SET), (*notes, *_untold(lines, frame)))

    def where(self, rows: pd.Series[bool]) -> Mask:
        """The lines of these rows."""
        return np.asarray(rows.to_numpy(dtype=bool)[self.lines["row"].to_numpy()])

    def of_rows(self, values: Any) -> Numbers:
        """For each line its row's value."""
        return np.asarray(np.asarray(values)[self.lines["row"].to_numpy()])


def _row_frame(columns: Columns) -> pd.DataFrame:
    frame: pd.DataFrame = columns.table.select(SCALARS).to_pandas(types_mapper=PANDAS.get)
    propagated = frame["method"].isin(BY_PROPAGATION)
    frame = frame.assign(
        question=frame.groupby(QUESTION, dropna=False, observed=True).ngroup(),
        clip_low=frame["clip_low"].fillna(-np.inf),
        clip_high=frame["clip_high"].fillna(np.inf),
        ball=frame["norm"].astype(object).map(NORMS).astype(float),
        by_solver=~propagated,
        owes_margins=propagated | (frame["method"].isin(["lp", "milp"]) & frame["goal"].ne("verdict")),
        # Before schema 3 a row says which bounds were asked for; what tightening made of them has the same place.
        bounds_used=frame["bounds_used"].astype(object).fillna(frame["bounds"].astype(object)).astype("category"),
        complete=_complete(columns, frame["label"]),
    )
    return frame.assign(least=frame.groupby(["question", *SET], dropna=False).ngroup())


def _complete(columns: Columns, label: pd.Series[int]) -> Mask:
    """Which rows have all classes but their label as targets, as far as the numbers of these show."""
    lengths, row, targets = columns.lengths, columns.lines["row"].to_numpy(), columns.lines["target"].to_numpy()
    labels = label.fillna(ANY).to_numpy(dtype=np.int64)
    fits = (targets >= 0) & (targets <= lengths[row]) & (targets != labels[row])
    first = starts(lengths + 1)  # a place for each class of each row
    there = np.zeros(int(lengths.sum()) + len(lengths), dtype=bool)
    there[(first[row] + targets)[fits]] = True
    kinds = np.add.reduceat(there, first, dtype=int)
    return np.asarray((lengths > 0) & (labels >= 0) & (labels <= lengths) & (kinds == lengths))


def _line_frame(lines: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    judged = (frame["kind"].eq("verify") & frame["error"].isna()).to_numpy()[lines["row"].to_numpy()]
    if not judged.all():
        lines = lines[judged].reset_index(drop=True)
    lines = lines.assign(told=lines["safety"].notna())
    by_solver = frame["by_solver"].to_numpy()[lines["row"].to_numpy()]
    untold = AGREEMENT * np.maximum(1.0, lines["lower"].abs()) * by_solver
    return lines if lines["told"].all() else lines.assign(safety=lines["safety"].fillna(untold))


def _numbered(lines: pd.DataFrame, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lines with the number of their margin, and the margins; first those of ANY target, by `least`."""
    firsts = frame.drop_duplicates("least").set_index("least").sort_index()[["question", *SET]]
    kinds, targets = pd.factorize(lines["target"])
    codes = frame["least"].to_numpy()[lines["row"].to_numpy()] * max(1, len(targets)) + kinds
    numbers, known = pd.factorize(codes)
    least, kind = np.divmod(known, max(1, len(targets)))
    margins = firsts.take(least).assign(target=np.asarray(targets, dtype=np.int64)[kind])
    both = pd.concat([firsts.assign(target=ANY), margins], ignore_index=True)
    return lines.assign(margin=(numbers + len(firsts)).astype(np.int32)), both


def _own(lines: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The least margin of the inputs that rows found themselves, for each margin, and the first row that has it."""
    known = lines[["row", "margin", "target", "upper"]].dropna(subset="upper")
    least = known.groupby("margin")["upper"].transform("min")
    firsts = known[known["upper"] == least].drop_duplicates("margin").rename(columns={"upper": "value"})
    return firsts.assign(question=frame["question"].to_numpy()[firsts["row"].to_numpy()])[INPUT]


def _untold(lines: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    by_solver = frame["by_solver"].to_numpy()[lines["row"].to_numpy()]
    rows = lines.loc[by_solver & ~lines["told"], "row"].nunique()
    stands = f"{AGREEMENT:g} of the margin, or of one, stands for it"
    return [f"{rows:,} rows do not say how safe their solver's bounds are: {stands}"] if rows else []


def _joined(lines: pd.DataFrame, rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return lines.assign(**{name: rows[name].to_numpy()[lines["row"].to_numpy(dtype=int)] for name in names})


def _attacked(frame: pd.DataFrame, folder_of: Callable[[int], Path]) -> tuple[list[pd.DataFrame], tuple[str, ...]]:
    """What attacks found at the images that a verification asks about, and a note where that cannot be read."""
    network = ["network_digest", "dataset"]
    ended = frame[frame["kind"].eq("attack") & frame["error_rate"].notna()]
    if ended.empty:
        return [], ()
    verified = frame[frame["kind"] == "verify"].drop_duplicates("question")
    asked = dict(iter(verified.groupby(network, observed=True)))
    told = [line for line in lines_of(ended) if (line.network_digest, line.dataset) in asked]
    found = {
        line.Index: _attack_frame(line, folder_of(line.Index), asked[line.network_digest, line.dataset])
        for line in told
    }
    missing = sum(part is None for part in found.values())
    notes = (f"{missing} attacks have no readable arrays: what they found is held against nothing",) if missing else ()
    return [part.assign(row=index)[INPUT] for index, part in found.items() if part is not None], notes


def _attack_frame(row: Any, folder: Path, about: pd.DataFrame) -> pd.DataFrame | None:
    """`question`, `target` and `value` of an attack's images that are asked about; None without its arrays."""
    arrays = _load(folder, row.arrays) if pd.notna(row.arrays) and row.arrays else None
    if arrays is None:
        return None
    images = _image_indices(row, arrays)
    if images is None:
        return None
    margin, predictions, labels = arrays["margin"], arrays["predictions"], arrays["labels"]
    # Below zero the margin is that to the class predicted; above, the least of all others, whichever has it.
    untargeted = np.where((margin < 0) & (predictions != labels), predictions, ANY)
    target = untargeted if pd.isna(row.target) else np.full(len(margin), int(row.target))
    found = pd.DataFrame({"image": images, "label": labels, "target": target, "value": margin})
    return found.merge(about[["image", "label", "question"]].dropna().astype(int), on=["image", "label"])[
        ["question", "target", "value"]
    ]


def _image_indices(row: Any, arrays: dict[str, NDArray[Any]]) -> NDArray[Any] | None:
    """Which images the arrays are about: all from the first on, but that a target's own class was left out."""
    count = len(arrays["margin"])
    if "indices" in arrays:
        return arrays["indices"]
    return np.arange(count) if pd.isna(row.target) else None


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


def rounding(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the replay of an input with that margin may be off by."""
    return np.asarray(REPLAY_ROUNDING * np.maximum(1.0, np.abs(value)))
