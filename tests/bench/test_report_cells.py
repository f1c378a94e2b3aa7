"""Which cells a page has, and what it knows of each."""

from __future__ import annotations

import base64
import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.report import cells
from bench.report.cells import Cells, embedded_cells, log_of
from bench.report.frame import load_run, load_runs
from bench.row import Row
from tests.bench.made_rows import attack_row, failed, verify_row, write_run

PLENTY = 10_000_000


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def lines_of(found: Cells) -> list[dict[str, Any]]:
    index = unpacked(found.index)
    return [dict(zip(index["columns"], line, strict=True)) for line in index["lines"]]


def cells_of(found: Cells) -> list[dict[str, Any]]:
    return [cell for block in found.blocks for cell in unpacked(block)]


def many(count: int) -> list[Row]:
    return [verify_row(image=image, verdict="verified", cell=f"{image:012x}{image:052x}") for image in range(count)]


def test_every_cell_of_a_small_run_is_there_with_its_row_and_its_command(tmp_path: Path) -> None:
    rows = [verify_row(image=3, verdict="verified"), attack_row()]
    found = embedded_cells(load_run(write_run(tmp_path, rows)), PLENTY)
    assert found.notes == ()
    assert [line["setup"] for line in lines_of(found)] == ["lp", "pgd_linf, 40 steps of 0.01, 1 restarts, no clip"]
    assert [line["outcome"] for line in lines_of(found)] == ["verified", "attack"]
    assert [cell["row"] for cell in cells_of(found)] == [json.loads(row.to_json()) for row in rows]
    assert [cell["command"].split()[1] for cell in cells_of(found)] == ["verify", "attack"]


def test_what_went_wrong_comes_first_then_what_figures_name_then_what_stayed_open(tmp_path: Path) -> None:
    rows = [
        *many(3),
        verify_row(image=7),
        failed(attack_row(), "Crash: x"),
        verify_row(image=8, method="milp", verdict="verified", lower=[3.0, 3.0], upper=[2.0, 2.0]),
    ]
    found = embedded_cells(load_run(write_run(tmp_path, rows)), PLENTY, {rows[2].cell[:12]})
    outcomes = [(line["outcome"], line["image"]) for line in lines_of(found)]
    assert outcomes[:3] == [("failed", None), ("contradicted", 8), ("verified", 2)]
    assert outcomes[3:] == [("unknown", 7), ("verified", 0), ("verified", 1)]


def test_beyond_the_most_cells_there_is_an_even_sample_and_a_word_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "MOST_CELLS", 5)
    found = embedded_cells(load_run(write_run(tmp_path, [*many(101), verify_row(image=500)])), PLENTY)
    assert [line["image"] for line in lines_of(found)] == [500, 0, 33, 66, 100]
    assert found.notes[0].startswith("5 of 102 cells are here")
    assert "97 are only in rows.csv" in found.notes[0]


def test_the_cells_keep_to_their_budget(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, many(400)))
    budget = 12_000
    found = embedded_cells(run, budget)
    assert sum(map(len, found.blocks)) + len(found.index) <= budget
    assert 0 < len(lines_of(found)) < 400
    assert len(cells_of(found)) == len(lines_of(found))
    assert embedded_cells(run, 0).blocks == ()


def test_cells_of_several_runs_say_of_which(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, many(1)) for name in ("a", "b")]
    assert [line["run"] for line in lines_of(embedded_cells(load_runs(folders), PLENTY))] == ["a", "b"]


def test_a_targeted_attack_is_asked_again_of_as_many_images_as_it_chose_from(tmp_path: Path) -> None:
    row = attack_row(target=3, images=88, arrays="a.npz")
    write_run(tmp_path, [row])
    np.savez(tmp_path / "a.npz", indices=np.array([0, 4, 98]))
    (cell,) = cells_of(embedded_cells(load_run(tmp_path), PLENTY))
    assert "--images 99" in cell["command"]
    (tmp_path / "a.npz").unlink()
    (cell,) = cells_of(embedded_cells(load_run(tmp_path), PLENTY))
    assert "--images 88" in cell["command"]
    assert "may have to be larger" in cell["notes"][0]


def test_of_a_long_log_there_is_its_end_in_whole_lines(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(5000)]
    (tmp_path / "a.log").write_text("\n".join(lines))
    text, note = log_of(tmp_path, "a.log")
    assert text.splitlines() == lines[-len(text.splitlines()) :]
    assert 7_900 < len(text) <= 8_000
    assert note == f"The last 8,000 of {len(chr(10).join(lines)):,} bytes of a.log in the run's folder."


def test_a_log_that_is_no_text_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"good \xff\x00 line")
    assert log_of(tmp_path, "a.log")[0] == "good \ufffd\x00 line"


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "nosuch", "folder", "pipe", "n\0l", "x" * 300, "link"])
def test_a_log_elsewhere_or_that_cannot_be_read_is_said_to_be(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")
    text, note = log_of(folder, name)
    assert text == ""
    assert "lies outside the run's folder" in note or "cannot be read" in note


def test_a_row_without_a_log_says_so(tmp_path: Path) -> None:
    assert log_of(tmp_path, None) == ("", "This row has no log of its own: no solver wrote one.")


def test_of_a_row_that_lacks_fields_they_are_as_they_mostly_are(tmp_path: Path) -> None:
    """As in a baseline, which keeps of a row what is not at its default."""
    kept = {name: value for name, value in json.loads(verify_row().to_json()).items() if value not in (None, [], {}, 1)}
    write_run(tmp_path, [])
    (tmp_path / "rows.jsonl").write_text(json.dumps(kept) + "\n")
    (cell,) = cells_of(embedded_cells(load_run(tmp_path), PLENTY))
    assert "images" not in kept
    assert cell["command"].startswith("relubench verify mnist_small --image 0 --epsilon 0.1")
    assert (cell["row"]["images"], cell["row"]["threads"], cell["row"]["error_rate"]) == (None, 1, None)


def test_the_best_bound_is_shown_and_of_one_that_was_to_show_a_sign_the_sign(tmp_path: Path) -> None:
    rows = [
        verify_row(lower=[1.0, -3.0], certified=[0.5, 0.25], status=["time_limit"] * 2),
        verify_row(image=1, goal="verdict", verdict="verified", lower=[2.3e-5, 2.3e-5]),
        verify_row(image=2, goal="verdict", lower=[2.3e-5, -4.0]),
    ]
    found = lines_of(embedded_cells(load_run(write_run(tmp_path, rows)), PLENTY))
    assert {line["image"]: line["lower"] for line in found} == {0: 0.25, 1: "> 0", 2: -4.0}
