"""The files of a run: what is on disk, and what is said of a folder or a line that does not fit."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.limits import Limits
from bench.row import Row
from bench.store import ARRAYS, LOCK, MANIFEST, ROWS, TORN, Store, make_folder, read_rows, save_npz
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
    store = Store(tmp_path / "a" / "run")
    store.append(row("one"))
    store.append(row("two"))
    lines = (store.folder / ROWS).read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["cell"] for line in lines[:-1]] == ["one", "two"]
    assert lines[-1] == ""
    store.close()
    assert Store(store.folder).finished == store.finished == {"one", "two"}


def test_a_row_reads_back_as_it_was_written_with_null_for_infinity(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(row("one"))
    ((read,), notes) = read_rows(tmp_path)
    assert notes == []
    assert read.lower == [None, 1.5]
    assert read.to_json() == row("one").to_json()


def test_a_row_of_a_later_schema_reads_without_its_new_keys() -> None:
    values = json.loads(row("one").to_json()) | {"schema": 2, "new": True}
    assert Row.from_json(json.dumps(values)).schema == 2


def test_a_torn_last_line_is_set_aside(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(row("one"))
    whole = (tmp_path / ROWS).read_bytes()
    torn = row("two").to_json().encode()[:40]
    (tmp_path / ROWS).write_bytes(whole + torn)
    rows, notes = read_rows(tmp_path)
    assert [read.cell for read in rows] == ["one"]
    assert notes == [f"{ROWS}, line 2: torn off while it was written; passed over"]
    with Store(tmp_path) as again:
        assert again.finished == {"one"}
        assert again.notes == [f"1 line of {tmp_path / ROWS} torn by a crash: moved to {TORN}, measured again"]
        assert (tmp_path / ROWS).read_bytes() == whole
        assert (tmp_path / TORN).read_bytes() == torn + b"\n"
        again.append(row("two"))
        assert again.finished == {"one", "two"}


@pytest.mark.parametrize("torn", [b"\0" * 300, b'{"cell": "tw', b"[" * 100_000])
def test_a_line_torn_before_others_is_set_aside_too(torn: bytes, tmp_path: Path) -> None:
    lines = [row(name).to_json().encode() for name in ("one", "three")]
    (tmp_path / ROWS).write_bytes(b"\n".join([lines[0], torn, lines[1], b""]))
    with Store(tmp_path) as store:
        assert store.finished == {"one", "three"}
    assert (tmp_path / ROWS).read_bytes() == b"\n".join([*lines, b""])
    assert (tmp_path / TORN).read_bytes() == torn + b"\n"


def test_a_last_line_that_lacks_only_its_newline_runs_again(tmp_path: Path) -> None:
    (tmp_path / ROWS).write_bytes(row("one").to_json().encode())
    with Store(tmp_path) as store:
        assert store.finished == set()


def test_a_folder_is_held_by_one_and_the_other_is_told_by_whom(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(InputError, match="name another with --out DIR") as refused:
        Store(tmp_path)
    assert f"folder {tmp_path} is in use by process {os.getpid()} on " in str(refused.value)
    with Store(tmp_path) as store:
        assert store.finished == set()


def test_a_folder_that_cannot_be_read_is_not_held_on_to(tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text("{}\n")
    for _ in range(2):
        with pytest.raises(InputError, match="line 1: cell: field required"):
            Store(tmp_path)


def test_what_was_killed_runs_again_only_where_it_may_go_further(tmp_path: Path) -> None:
    known: dict[str, Any] = {"verdict": "unknown", "targets": [], "lower": [], "upper": [], "hard_limit_s": 20.0}
    with Store(tmp_path) as store:
        store.append(replace(row("slow"), **known, status=["time_limit"], time_limit_s=10.0, memory_limit_mb=500.0))
        store.append(replace(row("large"), **known, status=["memory_limit"], memory_limit_mb=500.0))
        limits = {name: Limits(hard_limit_s=20.0, memory_limit_mb=500.0) for name in ("slow", "large")}
        assert all(store.has(name, limit) for name, limit in limits.items())
        assert not store.has("slow", Limits(hard_limit_s=21.0, memory_limit_mb=500.0))
        assert store.has("large", Limits(hard_limit_s=21.0, memory_limit_mb=500.0))
        assert not store.has("large", Limits(hard_limit_s=20.0, memory_limit_mb=501.0))
        assert store.has("slow", Limits(memory_limit_mb=900.0))  # 10 s and 10 s more are the 20 s that it had


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
    store = Store(tmp_path)
    (tmp_path / ROWS).symlink_to("/dev/full")
    with pytest.raises(InputError, match=f"{ROWS} cannot be written: No space left on device"):
        store.append(row("one"))
    assert store.finished == set()


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
        store.start({"name": "a"}, {"cpu": "x"}, "first")
        store.start({"name": "b"}, {"cpu": "y"}, "second")
    manifest = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["suite"] == {"name": "b"}
    assert manifest["starts"] == [{"start": "first", "cpu": "x"}, {"start": "second", "cpu": "y"}]
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, LOCK]


@pytest.mark.parametrize("content", ["{", "[]", '{"starts": 3}'])
def test_a_manifest_of_something_else_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(content, encoding="utf-8")
    with Store(tmp_path) as store, pytest.raises(InputError, match=f"{MANIFEST}: not the manifest of a run"):
        store.start({}, {}, "now")
