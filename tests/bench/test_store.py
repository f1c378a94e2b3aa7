"""The files of a run: what is on disk, and what is said of a folder or a line that does not fit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench.row import Row
from bench.store import ARRAYS, LOCK, MANIFEST, ROWS, RUNNING, TORN, Store, make_folder, read_rows, save_npz
from networks.errors import InputError


def row(cell: str) -> Row:
    return Row(
        cell=cell,
        kind="verify",
        network="n",
        network_digest="d",
        dataset="mnist_test",
        epsilon=0.1,
        method="lp",
        targets=[3, 4],
        lower=[-float("inf"), 1.5],
        upper=[2.0, 2.5],
        clip=(0.0, 1.0),
    )


def test_rows_are_lines_in_the_order_of_writing_and_the_store_knows_them_again(tmp_path: Path) -> None:
    with Store(tmp_path / "a" / "run") as store:
        store.append(row("one"))
        store.append(row("two"))
    lines = (store.folder / ROWS).read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["cell"] for line in lines[:-1]] == ["one", "two"]
    assert lines[-1] == ""
    with Store(store.folder) as again:
        assert again.finished.keys() == store.finished.keys() == {"one", "two"}


def test_a_row_reads_back_as_it_was_written_with_null_for_infinity(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(row("one"))
    ((read,), notes) = read_rows(tmp_path)
    assert notes == []
    assert read.lower == [None, 1.5]
    assert read.to_json() == row("one").to_json()


def test_a_row_of_a_later_schema_reads_without_its_new_keys() -> None:
    values = json.loads(row("one").to_json()) | {"schema": 2, "new": True}
    assert Row.from_json(json.dumps(values)).schema == 2


ONE, TWO = row("one").to_json(), row("two").to_json()


@pytest.mark.parametrize(
    ("content", "number", "torn"),
    [
        (f"{ONE}\n{TWO[:40]}", 2, TWO[:40]),
        (f"{ONE}\n{TWO}", 2, TWO),  # whole but for its end: it was not on disk yet
        (f"{TWO[:40]}\n{ONE}\n", 1, TWO[:40]),
        (f"{ONE}\n{chr(0) * 200}{TWO}\n", 2, f"{chr(0) * 200}{TWO}"),  # as after a power failure
    ],
)
def test_a_torn_line_is_set_aside_with_a_note(content: str, number: int, torn: str, tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text(content, encoding="utf-8")
    rows, notes = read_rows(tmp_path)
    assert [read.cell for read in rows] == ["one"]
    assert notes == [f"{ROWS}, line {number}: torn while it was written; passed over"]
    with Store(tmp_path) as store:
        assert store.finished.keys() == {"one"}
        assert store.notes == (f"{tmp_path / ROWS}: 1 line torn by a crash, kept in {TORN}; measured again",)
        assert (tmp_path / ROWS).read_text(encoding="utf-8") == f"{ONE}\n"
        assert (tmp_path / TORN).read_text(encoding="utf-8") == f"{torn}\n"
        store.append(row("two"))
    with Store(tmp_path) as again:
        assert again.finished.keys() == {"one", "two"}
        assert again.notes == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "line 2: expected a JSON object, found list"),
        ("{}", "line 2: cell: field required"),
    ],
)
def test_a_line_that_is_no_row_is_refused_by_its_number(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text(f"{row('one').to_json()}\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=message) as refused:
        Store(tmp_path)
    assert str(tmp_path / ROWS) in str(refused.value)


def test_a_folder_without_rows_is_refused_by_readers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder that `relubench run` wrote"):
        read_rows(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written: Not a directory; name another with --out DIR"):
        make_folder(tmp_path / "file" / "run")


def test_make_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    make_folder(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_an_input_error_that_names_the_file(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        (tmp_path / ROWS).symlink_to("/dev/full")
        with pytest.raises(InputError, match=f"{ROWS} cannot be written: No space left on device"):
            store.append(row("one"))
        assert store.finished == {}


def test_arrays_read_back_and_their_name_is_relative_to_the_folder(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        name = store.save_arrays("f" * 64, {"margin": np.arange(3.0)})
    assert name.startswith(f"{ARRAYS}/")
    with np.load(tmp_path / name) as file:
        np.testing.assert_array_equal(file["margin"], np.arange(3.0))


def test_arrays_that_cannot_be_written_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out\.npz cannot be written: No such file or directory"):
        save_npz(tmp_path / "missing" / "out.npz", margin=np.zeros(1))


def test_the_manifest_keeps_every_start_and_the_last_suite(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.start({"name": "a"}, {"start": "first", "cpu": "x"})
        store.start({"name": "b"}, {"start": "second", "cpu": "y"})
    manifest = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["suite"] == {"name": "b"}
    assert manifest["starts"] == [{"start": "first", "cpu": "x"}, {"start": "second", "cpu": "y"}]
    assert {path.name for path in tmp_path.iterdir()} == {MANIFEST, LOCK}


@pytest.mark.parametrize("content", ["{", "[]", '{"starts": 3}'])
def test_a_manifest_of_something_else_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(content, encoding="utf-8")
    with Store(tmp_path) as store, pytest.raises(InputError, match=f"{MANIFEST}: not the manifest of a run"):
        store.start({}, {"start": "now"})


def test_a_folder_is_held_by_one_store_and_the_second_is_told_by_whom(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(row("one"))
        with pytest.raises(InputError, match=rf"{tmp_path} is in use by process {os.getpid()} on .* since 2\d\d\d-"):
            Store(tmp_path)
        assert (tmp_path / RUNNING).exists()  # the second one took nothing from the first
        assert [read.cell for read in read_rows(tmp_path)[0]] == ["one"]  # reports need no lock
    assert not (tmp_path / RUNNING).exists()
    with Store(tmp_path) as again:
        assert again.finished.keys() == {"one"}


def test_a_folder_whose_rows_are_refused_is_not_held(tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text("[1]\n")
    for _ in range(2):
        with pytest.raises(InputError, match="expected a JSON object"):
            Store(tmp_path)
