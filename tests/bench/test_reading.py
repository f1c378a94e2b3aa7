"""Rows from their file to columns: in blocks, by one process or several, torn and malformed lines among them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import reading
from bench.columns import Columns
from bench.reading import read_table
from networks.errors import InputError
from tests.bench.made_rows import attack_row, failed, verify_row, write_run

ROWS = [verify_row(image=image, counters={"nodes": image} if image % 2 else {}) for image in range(40)]
LINES = [row.to_json().encode() + b"\n" for row in ROWS]


@pytest.fixture(params=["one process", "several processes"])
def in_pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks; by several processes a small file too."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", 4_000)
    monkeypatch.setattr(reading, "GROUP", 2)
    if request.param == "several processes":
        monkeypatch.setattr(reading, "SHARE_BYTES", 10_000)
        monkeypatch.setattr(reading, "usable_cores", lambda: [0, 1, 2])


def run_of(folder: Path, lines: list[bytes]) -> Path:
    (folder / "rows.jsonl").write_bytes(b"".join(lines))
    return folder


@pytest.mark.usefixtures("in_pieces")
def test_rows_are_the_same_in_whatever_pieces_they_are_read(tmp_path: Path) -> None:
    table, notes = read_table(run_of(tmp_path, LINES))
    assert notes == []
    assert table["image"].to_pylist() == list(range(40))
    assert table["counter.nodes"].to_pylist() == [image if image % 2 else None for image in range(40)]
    content = (tmp_path / "rows.jsonl").read_bytes()
    places = zip(table["offset"].to_pylist(), table["length"].to_pylist(), strict=True)
    assert [content[offset : offset + length] for offset, length in places] == LINES


@pytest.mark.usefixtures("in_pieces")
def test_torn_lines_are_passed_over_wherever_they_are(tmp_path: Path) -> None:
    lines = [LINES[0][:50] + b"\n", *LINES[:20], b"\0" * 30 + b"\n", *LINES[20:], LINES[0][:-1]]
    table, notes = read_table(run_of(tmp_path, lines))
    assert table["image"].to_pylist() == list(range(40))
    assert notes == [f"rows.jsonl, line {n}: torn while it was written; passed over" for n in (1, 22, 43)]


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("place", [0, 17, 39])
def test_a_line_that_is_no_row_is_refused_by_its_number(place: int, tmp_path: Path) -> None:
    lines = [*LINES[:place], LINES[0].replace(b'"epsilon": 0.1', b'"epsilon": "wide"'), *LINES[place:]]
    with pytest.raises(InputError, match=rf"rows\.jsonl, line {place + 1}: epsilon: expected `float`, got `str`"):
        read_table(run_of(tmp_path, lines))


@pytest.mark.usefixtures("in_pieces")
def test_keys_of_later_schemas_are_passed_over(tmp_path: Path) -> None:
    lines = [line.replace(b'{"schema"', b'{"later": [1], "schema"') if n % 7 else line for n, line in enumerate(LINES)]
    assert read_table(run_of(tmp_path, lines))[0]["image"].to_pylist() == list(range(40))


def test_where_no_other_process_can_read_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SHARE_BYTES", 10_000)
    monkeypatch.setattr(reading, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert read_table(run_of(tmp_path, LINES))[0].num_rows == 40


def test_what_a_row_does_not_say_for_each_target_is_missing(tmp_path: Path) -> None:
    rows = [
        verify_row(gap=[0.5], safety=[1.0, 2.0], stage=["lp", ""]),
        failed(verify_row(image=1), "E: x"),
        attack_row(),
    ]
    columns = Columns.of(read_table(write_run(tmp_path, rows))[0])
    assert columns.lengths.tolist() == [2, 0, 0]
    assert columns.lines["row"].tolist() == [0, 0]
    assert columns.lines["gap"].isna().all()
    assert columns.lines["safety"].tolist() == [1.0, 2.0]
    assert columns.lines["stage"].tolist() == ["lp", ""]
    assert columns.statuses[0].tolist() == [2, 1, 0]
    assert columns.statuses[1].tolist() == ["optimal", "optimal", "error"]
