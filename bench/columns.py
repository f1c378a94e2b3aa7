"""Rows as columns of an Arrow table: what reports and the judge go by, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.row import Row

# Text of which nearly every row has another; all other text is told by a few words.
FREE = frozenset({"cell", "evidence", "error", "started", "arrays", "log"})
LISTS = ("targets", "lower", "upper", "status", "gap", "stage", "safety", "claimed")
SPREAD = {"counters": "counter.", "stage_s": "stage_s."}  # one column a key, of that key behind this
LEFT_OUT = ("enforced", "machine", "versions", "certified", "clip")  # `clip` is `clip_low` and `clip_high`
WORD = pa.dictionary(pa.int32(), pa.string())


def table_of(rows: Sequence[Any], **more: NDArray[np.int64]) -> pa.Table:
    """Rows, or records with their attributes, as columns.

    A column for each scalar field of `Row`, words as dictionaries; a list column for each of LISTS; `clip_low` and
    `clip_high`, null without a clip; every counter and the seconds of every stage as `counter.NAME` and `stage_s.NAME`;
    and what `more` has. What is missing is null.
    """
    columns = {name: pa.array(list(map(attrgetter(name), rows)), kind) for name, kind in _scalars().items()}
    columns |= {name: _list_column(list(map(attrgetter(name), rows)), _entry(name)) for name in LISTS}
    clips = [row.clip or (None, None) for row in rows]
    columns |= {"clip_low": pa.array([low for low, _ in clips], pa.float64())}
    columns |= {"clip_high": pa.array([high for _, high in clips], pa.float64())}
    for name, prefix in SPREAD.items():
        columns |= _spread(list(map(attrgetter(name), rows)), prefix)
    return pa.table(columns | {name: pa.array(values) for name, values in more.items()})


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


def _list_column(lists: list[list[Any]], kind: pa.DataType) -> pa.Array:
    offsets = np.zeros(len(lists) + 1, dtype=np.int32)
    np.cumsum(list(map(len, lists)), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(list(chain.from_iterable(lists)), kind))


def _spread(dicts: list[dict[str, float]], prefix: str) -> dict[str, pa.Array]:
    names = dict.fromkeys(chain.from_iterable(dicts))
    return {prefix + name: pa.array([values.get(name) for values in dicts], pa.float64()) for name in names}


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables one behind the other; a column that one of them lacks is null there."""
    plain = [table.replace_schema_metadata(None) for table in tables]
    return pa.concat_tables(plain, promote_options="default").unify_dictionaries()
