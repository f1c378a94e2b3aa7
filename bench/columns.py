"""Rows as columns of an Arrow table: what reports and the judge go by, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any, get_type_hints

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from numpy.typing import NDArray

from bench.choices import SWITCHES
from bench.row import DECIDED, Row
from solvers.result import Status

# Text of which nearly every row has another; all other text is told by a few words.
FREE = frozenset({"cell", "evidence", "error", "started", "arrays", "log"})
LISTS = ("targets", "lower", "upper", "status", "gap", "stage", "safety", "claimed", "certified")
NUMBERS = tuple(name for name in LISTS if name not in ("targets", "status", "stage"))  # one a target
SPREAD = {"counters": "counter.", "stage_s": "stage_s."}  # one column a key, of that key behind this
# Words that are compared and grouped by, and not written on: as text they are as long as all else of a row.
CODED = frozenset({*SWITCHES, "goal", "network_digest", "dataset", "norm"})
APART = ("clip_low", "clip_high", "offset", "length")  # which are no fields of `Row`
LEFT_OUT = ("enforced", "machine", "versions", "clip")  # `clip` is `clip_low` and `clip_high`
WORD = pa.dictionary(pa.int32(), pa.string())


def table_of(rows: Sequence[Any], **more: NDArray[np.int64]) -> pa.Table:
    """Rows, or records with their attributes, as columns.

    A column for each scalar field of `Row`, words as dictionaries; a list column for each of LISTS; `clip_low` and
    `clip_high`, null without a clip; every counter and the seconds of every stage as `counter.NAME` and `stage_s.NAME`;
    and what `more` has. What is missing is null.
    """
    values = _transposed(rows)
    columns = {name: pa.array(values[name], kind) for name, kind in _scalars().items()}
    columns |= {name: _list_column(values[name], _entry(name)) for name in LISTS}
    clips = [clip or (None, None) for clip in values["clip"]]
    columns |= {"clip_low": pa.array([low for low, _ in clips], pa.float64())}
    columns |= {"clip_high": pa.array([high for _, high in clips], pa.float64())}
    for name, prefix in SPREAD.items():
        columns |= _spread(values[name], prefix)
    return pa.table(columns | {name: pa.array(values) for name, values in more.items()})


def _transposed(rows: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """The values of each field."""
    names = [item.name for item in fields(Row)]
    if not rows:
        return dict.fromkeys(names, ())
    # A record of `bench.row.decoder` has the same fields in the same order, and a faster way to all of them.
    told = msgspec.structs.astuple if isinstance(rows[0], msgspec.Struct) else attrgetter(*names)
    return dict(zip(names, zip(*map(told, rows), strict=True), strict=True))


@cache
def _scalars() -> dict[str, pa.DataType]:
    """The type of each column of single values."""
    hints = get_type_hints(Row)
    names = [item.name for item in fields(Row) if item.name not in {*LISTS, *SPREAD, *LEFT_OUT}]
    return {name: _scalar_type(name, str(hints[name])) for name in names}


def _scalar_type(name: str, hint: str) -> pa.DataType:
    if "str" in hint:
        return pa.large_string() if name in FREE else WORD
    if "float" in hint:
        return pa.float64()
    return pa.bool_() if "bool" in hint else pa.int64()


def _entry(name: str) -> pa.DataType:
    return {"targets": pa.int64(), "status": pa.string(), "stage": pa.string()}.get(name, pa.float64())


def _list_column(lists: Sequence[list[Any]], kind: pa.DataType) -> pa.Array:
    offsets = np.zeros(len(lists) + 1, dtype=np.int32)
    np.cumsum(list(map(len, lists)), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(list(chain.from_iterable(lists)), kind))


def _spread(dicts: Sequence[dict[str, float]], prefix: str) -> dict[str, pa.Array]:
    names = dict.fromkeys(chain.from_iterable(dicts))
    return {prefix + name: pa.array([values.get(name) for values in dicts], pa.float64()) for name in names}


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables one behind the other; a column that one of them lacks is null there."""
    plain = [table.replace_schema_metadata(None) for table in tables]
    return pa.concat_tables(plain, promote_options="default").unify_dictionaries()


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Rows, and their targets.

    Attributes
    ----------
    table : Table
        As `table_of` makes it, without LISTS.
    lengths : ndarray, shape (rows,), int
        How many targets each row has.
    lines : DataFrame
        One line a row and target: `row`, `target`, `status`, `stage` and NUMBERS.
        What is missing is NaN; so is what a row does not say for each of its targets.
    statuses : (ndarray, Categorical)
        How many statuses each row has, and all of them: a row that failed has one and no target.
    """

    table: pa.Table
    lengths: NDArray[np.int64]
    lines: pd.DataFrame
    statuses: tuple[NDArray[np.int64], pd.Categorical]

    @classmethod
    def of(cls, table: pa.Table) -> Columns:
        """The columns of a table as `table_of` makes it."""
        lengths, targets = _flat(table, "targets")
        lines: dict[str, Any] = {"row": repeated(lengths), "target": _narrow(targets)}
        lines |= {name: _aligned(table, name, lengths) for name in NUMBERS}
        own, words = statuses = _flat_words(table, "status")
        lines["status"] = words if np.array_equal(own, lengths) else _aligned_words(own, words, lengths)
        lines["stage"] = _aligned_words(*_flat_words(table, "stage"), lengths)
        return cls(table.drop_columns([*LISTS]), lengths, pd.DataFrame(lines, copy=False), statuses)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Which rows failed, as `bench.row.failed` says."""
        error = self.table["error"].to_pandas()
        lengths, words = self.statuses
        by_solver = np.zeros(len(lengths), dtype=bool)
        by_solver[repeated(lengths)[words == Status.ERROR]] = True
        decided = self.table["verdict"].to_pandas().isin(DECIDED).to_numpy()
        return np.asarray((error.notna() & error.ne("")).to_numpy() | (by_solver & ~decided))


def rows_at(table: pa.Table, places: Collection[int]) -> dict[int, Row]:
    """Some rows again as rows, with their single values alone."""
    kept = sorted(places)
    lines = table.select([*_scalars()]).take(pa.array(kept, pa.int64())).to_pylist()
    return {place: Row(**line) for place, line in zip(kept, lines, strict=True)}


def scalars(table: pa.Table) -> pd.DataFrame:
    """The columns of single values that `Row` has, words as text, those of CODED as categories.

    Whole numbers and truth values may be missing.
    """
    names = [name for name in table.column_names if name not in {*LISTS, *APART}]
    words = [name for name in names if table[name].type == WORD and name not in CODED]
    texts = {name: table[name].cast(pa.large_string()) for name in words}
    # In memory of its own: a text as it was received would keep all that came with it.
    texts |= {name: pa.chunked_array([table[name].combine_chunks()]) for name in FREE & {*names}}
    columns = [texts.get(name, table[name]) for name in names]
    frame: pd.DataFrame = pa.table(columns, names=names).to_pandas(types_mapper=PANDAS.get, split_blocks=True)
    coded = {name: frame[name].cat.reorder_categories(sorted(frame[name].cat.categories)) for name in CODED}
    return frame.assign(**coded)  # they sort as text does


PANDAS = {
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.large_string(): pd.StringDtype(na_value=np.nan),
}


def repeated(lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """Each row's place, once for each of its entries."""
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


def starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each row's entries begin."""
    return np.cumsum(lengths) - lengths


def _flat(table: pa.Table, name: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """How many entries a list column has in each row, and all entries one behind the other; missing ones are NaN."""
    column = table[name]
    return pc.list_value_length(column).to_numpy().astype(np.int64), pc.list_flatten(column).to_numpy()


def _flat_words(table: pa.Table, name: str) -> tuple[NDArray[np.int64], pd.Categorical]:
    """As `_flat`, of a column of words."""
    column = table[name]
    words = pc.list_flatten(column).dictionary_encode().to_pandas()
    return pc.list_value_length(column).to_numpy().astype(np.int64), pd.Categorical(words)


def _aligned(table: pa.Table, name: str, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """A list column's numbers, one a target; NaN throughout a row whose list has another length than `lengths`."""
    own, values = _flat(table, name)
    if np.array_equal(own, lengths):
        return np.asarray(values, dtype=np.float64)
    fits = own == lengths
    filled = np.full(int(lengths.sum()), np.nan)
    filled[np.repeat(fits, lengths)] = values[np.repeat(fits, own)]
    return filled


def _aligned_words(own: NDArray[np.int64], words: pd.Categorical, lengths: NDArray[np.int64]) -> pd.Categorical:
    """As `_aligned`, of a column of words."""
    fits = own == lengths
    codes = np.full(int(lengths.sum()), -1, dtype=words.codes.dtype)
    codes[np.repeat(fits, lengths)] = words.codes[np.repeat(fits, own)]
    return pd.Categorical.from_codes(codes, words.categories)


def _narrow(values: NDArray[np.int64]) -> NDArray[np.signedinteger[Any]]:
    """The same numbers in 32 bits where these suffice."""
    fits = not len(values) or (values.min() >= -(2**31) and values.max() < 2**31)
    return values.astype(np.int32) if fits else values
