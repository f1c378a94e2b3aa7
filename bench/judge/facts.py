"""What the judge goes by: rows as data frames, their bounds a target, and what inputs were found to have."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arrays import arrays_of_row
from bench.choices import BY_PROPAGATION, METHODS
from bench.columns import PANDAS, Columns, starts
from bench.judge.conflict import Claim, Conflict, Trust
from networks.errors import InputError

# Stands in a target's place for "whichever target has the least margin".
ANY = -1
# By how much, relative to the margin and to the question's scale, two solvers' own words on one optimum may differ: a
# hundred times the feasibility tolerance asked of them (see `solvers.backend`). It also stands for the safety that rows
# before schema 3 do not tell.
AGREEMENT = 1e-5
# Rows from this schema on have margins of inputs in exact arithmetic, rounded to the nearest double: a proven bound is
# above none of them, not by a bit. And what has no safety there is proven.
EXACT_SCHEMA = 5
# What the float64 margins of earlier rows, and of attacks, may be off by, relative to the margin and to the scale.
REPLAY_ROUNDING = 1e-9
# The same margin: of one network, at one image, for one label.
QUESTION = ["network_digest", "dataset", "image", "label"]
SCALARS = [
    *("kind", *QUESTION, "epsilon", "norm", "method", "solver", "goal", "query", "mip_gap", "bounds", "bounds_used"),
    *("verdict", "violation", "error", "error_rate", "arrays", "target", "clip_low", "clip_high"),
    *("schema", "tier", "witness_double", "witness_single"),
]
NORMS = {"l1": 0, "l2": 1, "linf": 2}  # of one radius, each ball lies inside those behind it
SET = ["epsilon", "ball", "clip_low", "clip_high"]  # what a row's inputs lie in
NEEDED = ("margin", "predictions", "labels", "indices")  # of an attack's arrays
INPUT = ["row", "question", "target", "value", "most", "trust"]
SHARE = 0.1  # of a model's largest term: so an ordinary network, of terms about ten, has a scale of one
MAGNITUDE = "counter.magnitude"  # the largest term that a model's objectives may have
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
        their signs), `complete` (whether it has every target), `exact` (whether its inputs' margins are exact), `scale`
        (the size that its errors are relative to) and `voice` (its solver, or its method without one).
    lines : DataFrame
        One line a row and target of the verifications: `row`, `margin`, `target`, `lower`, `upper`, `status`, `gap`,
        `safety`, `claimed`, `certified`, `told` (whether the row says its safety), `proved` (whether `lower` is proven)
        and `most` (what the margin is at most, by its own input). Missing numbers are NaN.
    margins : DataFrame
        One line, at its number, for each `question`, `target` and SET that any row has; also those of ANY target.
    found : DataFrame
        Margins of inputs that were run forward through the network: `margin` and INPUT. `most` is the `value` and what
        it may be off by; `target` is ANY where it is the least of all targets. Of attacks `margin` is -1.
    doubted : set of int
        Rows whose inputs are not believed, but for those that were replayed.
    inputs : DataFrame
        The least that is believed of `found` for each margin, and SET for what it lies in.
    notes : tuple of str
        What could not be read.
    """

    rows: pd.DataFrame
    lines: pd.DataFrame
    margins: pd.DataFrame
    found: pd.DataFrame
    doubted: frozenset[int]
    inputs: pd.DataFrame
    notes: tuple[str, ...]

    @classmethod
    def of(cls, columns: Columns, folder_of: Callable[[int], Path]) -> Facts:
        """The facts of rows whose arrays lie below their folders."""
        frame = _row_frame(columns)
        lines = _line_frame(columns.lines, frame)
        lines, margins = _numbered(lines, frame)
        attacked, notes = _attacked(frame, folder_of)
        found = pd.concat([_own(lines, frame), *attacked], ignore_index=True)
        found = found.astype({"target": np.int64, "row": np.int64, "question": np.int64})
        doubted = frozenset(lines.loc[torn(lines) | _unfalsified(lines, frame), "row"])
        notes = (*notes, *_untold(lines, frame), *_unknown(frame))
        return cls(frame, lines, margins, found, doubted, _least(found, frame, doubted), notes)

    def alone(self, proof: Claim, conflict: Conflict) -> bool:
        """Whether nobody else's input contradicts what a row proves than the one that it is in conflict with."""
        own, found = self.rows.loc[proof.row], self.found
        near = found[(found["question"] == own["question"]) & (found["most"] < (proof.value or 0.0))]
        near = near[near["target"].eq(conflict.target) if conflict.target is not None else near["target"].ge(ANY)]
        rows = self.rows.loc[near.loc[~near["row"].isin(self.doubted), "row"].unique()]
        inside = rows["ball"].le(own["ball"]) & rows["epsilon"].le(own["epsilon"])
        inside &= rows["clip_low"].ge(own["clip_low"]) & rows["clip_high"].le(own["clip_high"])
        return {*rows.loc[inside, "voice"]} <= {self.rows["voice"][conflict.claims[-1].row]}

    def without(self, rows: Collection[int]) -> Facts:
        """The facts without what these rows say that they found."""
        doubted = self.doubted | {*rows}
        return replace(self, doubted=doubted, inputs=_least(self.found, self.rows, doubted))

    def replayed(self, confirmed: Collection[tuple[int, int]], refuted: Collection[int]) -> Facts:
        """The facts once inputs were run forward again: the rows and targets whose margin it is, and false rows."""
        pairs = pd.MultiIndex.from_frame(self.found[["row", "target"]])
        trust = np.where(pairs.isin([*confirmed]), int(Trust.INPUT), self.found["trust"])
        return replace(self, found=self.found.assign(trust=trust)).without(refuted)

    def where(self, rows: pd.Series[bool]) -> Mask:
        """The lines of these rows."""
        return np.asarray(rows.to_numpy(dtype=bool)[self.lines["row"].to_numpy()])

    def of_rows(self, values: Any) -> Numbers:
        """For each line its row's value."""
        return np.asarray(np.asarray(values)[self.lines["row"].to_numpy()])

    def slack(self, lines: pd.DataFrame, share: float | Numbers, name: str = "lower") -> Numbers:
        """For each of the lines a share of its value, or of its row's scale where that is larger."""
        scale = self.rows["scale"].to_numpy()[lines["row"].to_numpy()]
        return np.asarray(share * np.fmax(lines[name].abs().to_numpy(), scale))


def _row_frame(columns: Columns) -> pd.DataFrame:
    told = [MAGNITUDE] if MAGNITUDE in columns.table.column_names else []
    frame: pd.DataFrame = columns.table.select([*SCALARS, *told]).to_pandas(types_mapper=PANDAS.get)
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
        exact=(frame["schema"] >= EXACT_SCHEMA).to_numpy(dtype=bool) & frame["kind"].eq("verify").to_numpy(),
        voice=frame["solver"].astype(object).fillna(frame["method"].astype(object)),
    )
    frame = frame.assign(least=frame.groupby(["question", *SET], dropna=False).ngroup())
    return frame.assign(scale=_scales(columns, frame))


def _scales(columns: Columns, frame: pd.DataFrame) -> Numbers:
    """What each row's errors are relative to: a share of the largest term of its model, where it says that.

    Else of the usual one of the rows that ask the same; else of the usual size of the margins at this image. One before
    schema 5: the tolerances of solvers were not scaled then.
    """
    upper = columns.lines["upper"].abs().groupby(columns.lines["row"]).max().reindex(frame.index)
    told = frame[MAGNITUDE].astype(float) if MAGNITUDE in frame else upper * np.nan
    usual = [values.groupby(frame["question"]).transform("median") for values in (told, upper)]
    sizes = told.fillna(usual[0]).fillna(usual[1]).fillna(1.0)
    return np.where(frame["schema"] < EXACT_SCHEMA, 1.0, SHARE * sizes)


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
    row = lines["row"].to_numpy()
    by_solver, scale, exact = (frame[name].to_numpy()[row] for name in ("by_solver", "scale", "exact"))
    if not lines["told"].all():
        untold = AGREEMENT * np.fmax(scale, lines["lower"].abs()) * by_solver
        lines = lines.assign(safety=lines["safety"].fillna(untold))
    plain = lines["safety"].eq(0) & lines["certified"].isna() & ~exact  # before there were certified bounds
    off = np.where(exact, 0.0, REPLAY_ROUNDING * np.fmax(scale, lines["upper"].abs()))
    return lines.assign(proved=plain | (lines["lower"] <= lines["certified"]), most=lines["upper"] + off)


def _unfalsified(lines: pd.DataFrame, frame: pd.DataFrame) -> Mask:
    """Which lines have an input below zero in a row that is verified or unknown."""
    decided = frame["verdict"].isin(["verified", "unknown"]).to_numpy()
    return np.asarray(decided[lines["row"].to_numpy()] & (lines["most"] < 0))


def torn(lines: pd.DataFrame) -> Mask:
    """Which lines have a bound above the margin of an input of their own row."""
    most = lines["most"]
    return np.asarray((lines["certified"] > most) | (lines["lower"] > most + lines["safety"]))


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
    """The margins of the inputs that rows found themselves."""
    known = lines[["row", "margin", "target", "upper", "most"]].dropna(subset="upper")
    question = frame["question"].to_numpy()[known["row"].to_numpy()]
    return known.assign(question=question, value=known["upper"], trust=int(Trust.SEEN))[["margin", *INPUT]]


def _least(found: pd.DataFrame, frame: pd.DataFrame, doubted: Collection[int]) -> pd.DataFrame:
    """The least input that is believed, for each margin, and the first row that has it; of attacks every one."""
    if doubted:
        found = found[~found["row"].isin(doubted) | found["trust"].eq(Trust.INPUT)]
    own = found[found["margin"] >= 0]
    firsts = own[own["most"] == own.groupby("margin")["most"].transform("min")].drop_duplicates("margin")
    return _joined(pd.concat([firsts, found[found["margin"] < 0]], ignore_index=True)[INPUT], frame, SET)


def _untold(lines: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    by_solver = frame["by_solver"].to_numpy()[lines["row"].to_numpy()]
    rows = lines.loc[by_solver & ~lines["told"], "row"].nunique()
    stands = f"{AGREEMENT:g} of the margin, or of one, stands for it"
    return [f"{rows:,} rows do not say how safe their solver's bounds are: {stands}"] if rows else []


def _unknown(frame: pd.DataFrame) -> list[str]:
    of_others = frame["kind"].eq("verify") & frame["error"].isna() & ~frame["method"].isin(METHODS)
    names = ", ".join(sorted({*frame.loc[of_others, "method"].astype(str)}))
    what = "their verdicts, bounds and inputs are held against all others, and nothing that a method owes of itself"
    return [f"{of_others.sum():,} rows are of methods that are not known here ({names}): {what}"] if names else []


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
    scale = frame["scale"].groupby(frame["question"]).median()
    parts = [part.assign(row=index) for index, part in found.items() if part is not None]
    off = [REPLAY_ROUNDING * np.fmax(part["question"].map(scale), part["value"].abs()) for part in parts]
    parts = [part.assign(margin=-1, most=part["value"] + most) for part, most in zip(parts, off, strict=True)]
    return [part.assign(trust=int(Trust.SEEN))[["margin", *INPUT]] for part in parts], notes


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
