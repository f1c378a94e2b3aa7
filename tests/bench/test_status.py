"""A run as `relubench status` sees it from outside: while it goes on, at its end, after its death."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.outline import Outline, OutlineLine
from bench.outside import Glance, State, glance
from bench.progress import words
from bench.row import Row
from bench.runlog import LOG
from bench.store import PLAN, ROWS, RUNNING, Store
from networks.errors import InputError
from tests.bench.broken_backends import install
from tests.bench.made_rows import failed, verify_row
from tests.bench.suites import write_suite
from tests.conftest import RELUBENCH, RunCommand, random_network
from tests.plugins import environment_with

START, EARLIER, LATER = (f"2026-01-0{day}T00:00:00.000+00:00" for day in (2, 1, 3))
START_S = 120.0  # until a child that imports torch has measured its first cells


def row(cell: str, started: str = LATER, **values: Any) -> Row:
    return replace(verify_row(**values), cell=cell, started=started)


def write(folder: Path, *rows: Row, there: str = "", missing: str = "", holder: dict[str, Any] | None = None) -> Path:
    """A run of `lp` by `highs`; each letter of `there` and `missing` is a cell."""
    folder.mkdir(exist_ok=True)
    (folder / ROWS).write_text("".join(each.to_json() + "\n" for each in rows))
    plan = Outline(START, "tiny", 1, [OutlineLine("verify", "lp", "highs", [*there], [*missing])])
    (folder / PLAN).write_text(json.dumps(plan.to_dict()))
    if holder is not None:
        us = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(), "command": "x"}
        (folder / RUNNING).write_text(json.dumps(us | holder))
    return folder


def counts_of(seen: Glance) -> dict[str, str]:
    (tally,) = seen.counts.tallies
    return words(tally)


def cell_now(cell: str) -> dict[str, Any]:
    asked = {"cell": cell, "kind": "verify", "method": "lp", "solver": "highs"}
    return {**asked, "what": f"cell {cell}", "since": datetime.now(UTC).isoformat()}


def test_a_run_whose_cells_all_have_rows_is_finished_failures_among_them(tmp_path: Path, relubench: RunCommand) -> None:
    write(tmp_path, row("a", EARLIER, verdict="verified"), failed(row("b"), "Oops"), there="a", missing="b")
    seen = glance(tmp_path)
    assert seen.state is State.FINISHED
    assert counts_of(seen) == {"done": "2/2", "verified": "1", "falsified": "0", "unknown": "0", "failed": "1"}
    ended = relubench("status", tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert f"{tmp_path}: finished\nsuite tiny, last row 2026-01-03T00:00:00+00:00\n" in ended.out


def test_a_run_that_ended_in_good_order_before_its_end_was_stopped(tmp_path: Path, relubench: RunCommand) -> None:
    write(tmp_path, row("a", total_s=2.0), missing="abc")
    assert glance(tmp_path).state is State.STOPPED
    ended = relubench("status", tmp_path, "--json")
    assert ended.code == 1
    found = json.loads(ended.out)
    assert (found["state"], found["process"], found["cells"], found["done"]) == ("stopped", None, 3, 1)
    assert (found["left_s"], found["suite"], found["lines"][0]["label"]) == (4.0, "tiny", "lp highs")


def test_a_run_whose_process_is_there_is_running(tmp_path: Path, relubench: RunCommand) -> None:
    write(tmp_path, row("a"), missing="abc", holder={"cells": [cell_now("a"), cell_now("b")]})
    seen = glance(tmp_path)
    assert seen.state is State.RUNNING
    assert [cell.what for cell in seen.cells] == ["cell b"]  # the other's row has come in between
    ended = relubench("status", tmp_path)
    assert ended.code == 0
    assert f"running, process {os.getpid()} on {socket.gethostname()} since" in ended.out
    assert "now 0 s: cell b" in ended.out


@pytest.mark.parametrize("holder", [{"pid": 2**22 + 1}, {"pid": -1}, {"pid": 10**12}, {"since": EARLIER}])
def test_a_run_whose_process_is_gone_died(holder: dict[str, Any], tmp_path: Path, relubench: RunCommand) -> None:
    """The last one is of a process that has its number from one that ended."""
    write(tmp_path, row("a"), missing="abc", holder={"cells": [cell_now("b")], **holder})
    assert glance(tmp_path).state is State.DIED
    ended = relubench("status", tmp_path)
    assert ended.code == 1
    assert "in the midst of: cell b" in ended.out


def test_of_another_machine_only_its_word_is_known(tmp_path: Path, relubench: RunCommand) -> None:
    write(tmp_path, row("a"), missing="abc", holder={"host": "elsewhere.example", "pid": 2**22 + 1})
    assert glance(tmp_path).state is State.ELSEWHERE
    assert relubench("status", tmp_path).code == 0


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"{", b"[]", b'{"pid": "x"}', b"[" * 100_000])
def test_where_nobody_can_be_named_the_run_died(content: bytes, tmp_path: Path) -> None:
    write(tmp_path, row("a"), missing="ab")
    (tmp_path / RUNNING).write_bytes(content)
    seen = glance(tmp_path)
    assert (seen.state, seen.holder) == (State.DIED, None)


def test_rows_of_cells_that_the_suite_no_longer_has_are_not_counted_and_said(tmp_path: Path) -> None:
    write(tmp_path, row("x"), row("y"), row("a"), missing="ab")
    seen = glance(tmp_path)
    assert counts_of(seen)["done"] == "1/2"
    assert seen.notes == (f"2 cells in {ROWS} are not of suite tiny as it was last run: not counted",)


def test_a_cell_that_failed_in_an_earlier_start_is_still_to_be_measured(tmp_path: Path) -> None:
    before = failed(row("a", EARLIER), "Oops")
    assert counts_of(glance(write(tmp_path, before, missing="a")))["done"] == "0/1"
    again = counts_of(glance(write(tmp_path, before, row("a", verdict="verified"), missing="a")))
    assert (again["done"], again["verified"], again["failed"]) == ("1/1", "1", "0")


def test_a_line_that_is_half_there_is_no_harm(tmp_path: Path) -> None:
    write(tmp_path, row("a"), row("b"), missing="ab", holder={})
    (tmp_path / ROWS).write_bytes((tmp_path / ROWS).read_bytes()[:-30])
    seen = glance(tmp_path)
    assert (counts_of(seen)["done"], seen.notes) == ("1/2", ())  # it is being written
    (tmp_path / RUNNING).unlink()
    assert glance(tmp_path).notes == (f"{ROWS}: 1 line torn by a crash, not counted",)


def test_a_run_of_an_earlier_version_has_counts_without_totals(tmp_path: Path, relubench: RunCommand) -> None:
    write(tmp_path, row("a"), row("b"))
    (tmp_path / PLAN).unlink()
    assert glance(tmp_path).state is State.ENDED
    ended = relubench("status", tmp_path)
    assert ended.code == 0
    assert "how many cells there are to be is not known" in ended.out
    assert json.loads(relubench("status", tmp_path, "--json").out)["cells"] is None


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (PLAN, b"{", "not the plan of a run"),
        (
            PLAN,
            b'{"start": "x", "suite": "s", "jobs": "two", "lines": []}',
            r"expected a file that `relubench run` wrote",
        ),
        (PLAN, b"[" * 100_000, "not the plan of a run"),
        (ROWS, b"{}\n", "line 1: .*`cell`"),
        (ROWS, b'{"cell": "a", "kind": "other", "method": "lp"}\n', "line 1"),
        (ROWS, b'{"cell": "a", "kind": "verify", "method": "lp", "total_s": 1e300}\n', "line 1"),
    ],
)
def test_a_file_that_no_run_writes_is_named(file: str, content: bytes, message: str, tmp_path: Path) -> None:
    write(tmp_path, row("a"), missing="a")
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        glance(tmp_path)
    assert file in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_run_is_refused(tmp_path: Path, relubench: RunCommand) -> None:
    (tmp_path / "empty").mkdir()
    for folder, message in (("nosuch", "is not a folder"), ("empty", "holds no run")):
        ended = relubench("status", tmp_path / folder)
        assert ended.code == 2
        assert message in ended.err
        assert ended.err.count("\n") == 1


def test_looking_takes_no_lock_and_leaves_no_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", row("a"), missing="ab")
    before = sorted(folder.iterdir())
    glance(folder)
    assert sorted(folder.iterdir()) == before
    with Store(folder):
        assert glance(folder).state is State.RUNNING
    assert glance(folder).state is State.STOPPED


def test_twenty_thousand_rows_are_seen_within_a_second(tmp_path: Path) -> None:
    line = row("a").to_json()
    (tmp_path / ROWS).write_text(
        "".join(line.replace('"cell": "a"', f'"cell": "{cell}"') + "\n" for cell in range(20_000))
    )
    began = time.process_time()
    assert glance(tmp_path).counts.tallies[0].counts["done"] == 20_000
    assert time.process_time() - began < 1.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a suite of ten cells, each of a quarter of a second or none, and the back-end that waits."""
    random_network(seed=0).save(tmp_path / "tiny.safetensors")
    install(tmp_path / "plugin")
    write_suite(tmp_path, tmp_path / "tiny.safetensors", methods=["lp", "interval"], solvers=["slow"], images=5)
    return tmp_path


def start_run(home: Path, errors: int, *options: str) -> subprocess.Popen[bytes]:
    words = ("run", str(home / "suite.toml"), "--no-report", "--out", str(home / "run"), *options)
    environment = {**environment_with(home / "plugin"), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    return subprocess.Popen([*RELUBENCH, *words], stdout=subprocess.DEVNULL, stderr=errors, env=environment)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")
def test_a_real_run_is_seen_running_dead_and_finished(home: Path, relubench: RunCommand) -> None:
    folder = home / "run"
    child = start_run(home, subprocess.PIPE, "--jobs", "2")
    try:
        seen = wait_for_rows(folder, child, 2)
    finally:
        child.send_signal(signal.SIGKILL)
    assert (seen.state, seen.holder and seen.holder.pid) == (State.RUNNING, child.pid)
    assert sum(tally.cells or 0 for tally in seen.counts.tallies) == 10
    assert len(seen.cells) <= 2
    _, said = child.communicate(timeout=30)
    assert b"0/10 cells, 0 verified" in said.splitlines()[0]
    assert b"\x1b" not in said  # a file is no terminal
    ended = relubench("status", folder)
    assert (ended.code, "died, process" in ended.out) == (1, True)

    parent, terminal = pty.openpty()
    child = start_run(home, terminal)
    os.close(terminal)
    shown = read_all(parent)
    assert child.wait(timeout=30) == 0
    assert b"\x1b" in shown
    assert b"10/10" in shown
    assert relubench("status", folder).code == 0
    log = (folder / LOG).read_text(encoding="utf-8").splitlines()
    assert sum("INFO    run: suite tiny" in line for line in log) == 2  # both starts are in it
    assert "INFO    run: ended with 10/10 cells" in log[-1]
    assert sum(" INFO    end " in line for line in log) in (9, 10)  # a row may be there and its line not


def wait_for_rows(folder: Path, child: subprocess.Popen[bytes], count: int) -> Glance:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert child.poll() is None, "it ended too soon"
        time.sleep(0.05)
        if (folder / ROWS).exists() and (folder / ROWS).read_bytes().count(b"\n") >= count:
            return glance(folder)
    raise AssertionError("no rows in time")


def read_all(descriptor: int) -> bytes:
    """What a terminal shows until the last process at its other end is gone."""
    shown = b""
    while True:
        try:
            shown += os.read(descriptor, 65_536)
        except OSError:  # Linux says so of a terminal that nobody has open
            os.close(descriptor)
            return shown
