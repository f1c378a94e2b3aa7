"""What counts as failed: one definition, of a row, of what `status` reads of one, and of many rows as columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from bench.columns import Columns, table_of
from bench.progress import SeenRow
from bench.row import failed
from tests.bench.made_rows import verify_row

ENDS: list[tuple[dict[str, Any], bool]] = [
    ({}, False),
    ({"error": "OSError: disk", "status": ["error"], "targets": [], "lower": [], "upper": []}, True),
    ({"error": "OSError: disk", "status": []}, True),
    ({"error": ""}, False),
    ({"status": ["optimal", "error"]}, True),
    ({"status": ["error", "optimal"], "verdict": "falsified"}, False),  # another target's witness is an answer
    ({"status": ["optimal", "error"], "verdict": "verified"}, False),
    ({"status": ["time_limit", "licence"]}, False),
    ({"status": ["memory_limit"], "targets": [], "lower": [], "upper": []}, False),  # killed at a limit
    ({"status": [], "verdict": None}, False),
]


@pytest.mark.parametrize(("values", "wrong"), ENDS)
def test_a_row_failed_where_it_has_no_answer_and_no_limit_is_why(values: dict[str, Any], wrong: bool) -> None:
    row = replace(verify_row(), **values)
    assert failed(row) is wrong
    assert failed(msgspec.json.decode(row.to_json(), type=SeenRow)) is wrong


def test_columns_tell_the_same_of_many_rows() -> None:
    rows = [replace(verify_row(), **values) for values, _ in ENDS]
    assert Columns.of(table_of(rows)).failed.tolist() == [wrong for _, wrong in ENDS]
    assert Columns.of(table_of([])).failed.tolist() == []
