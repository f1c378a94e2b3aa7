"""Runs that are killed, in part or as a whole, and go on later as if nothing had been."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.store import ROWS, RUNNING
from tests.conftest import RELUBENCH

START_S = 90.0  # until a run has its first row, where the cores are shared
PROMPT_S = 10.0
PAGE = 4096
SMALL_DISK = 256 * PAGE
# What two runs of one cell need not share.
OF_THE_MOMENT = {
    *("started", "bounds_s", "build_s", "solve_s", "total_s", "stage_s", "overshoot_s", "peak_memory_mb", "machine"),
    *("enforced", "memory_limit_mb"),
}
SUITE = """name = "survival"
[[verify]]
networks = ["{network}"]
images = 1
epsilons = [0.01, 0.02]
methods = ["interval", "lp", "milp"]
solvers = ["highs", "cbc"]
[[verify]]
networks = ["mnist_small"]
images = [2]
epsilons = [0.05]
methods = ["milp"]
solvers = ["{solver}"]
time_limit_s = 2
"""


class Running:
    """A run as a process of its own, in a session of its own, as a terminal has it."""

    def __init__(self, folder: Path, *options: str, **settings: Any) -> None:
        command = [*RELUBENCH, "run", str(folder / "suite.toml"), "--no-report", "--out", str(folder / "run"), *options]
        self.rows = folder / "run" / ROWS
        self.process = subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True, **settings
        )

    def wait_for_rows(self, count: int) -> None:
        deadline = time.monotonic() + START_S
        while not self.rows.exists() or self.rows.read_bytes().count(b"\n") < count:
            assert self.process.poll() is None, "it ended before its rows"
            assert time.monotonic() < deadline, "no rows in time"
            time.sleep(0.02)

    def find(self, *words: str) -> psutil.Process:
        """The process below this one whose command line has all these words."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if all(word in " ".join(child.cmdline()) for word in words):
                        return child
            time.sleep(0.02)
        raise AssertionError(f"no process of {words}")

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=START_S)
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The rows of the tiny network's cells in a run that nothing disturbs."""
    folder = prepare(tmp_path_factory.mktemp("undisturbed"))
    code, errors = Running(folder).end()
    assert code == 0, errors
    return rows_of(folder)


def prepare(folder: Path, solver: str = "cbc") -> Path:
    from tests.conftest import random_network

    random_network(seed=0).save(folder / "tiny.safetensors")
    (folder / "suite.toml").write_text(SUITE.format(network="tiny.safetensors", solver=solver), encoding="utf-8")
    return folder


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of the tiny network by cell, without what is of the moment; no cell has two."""
    lines = [json.loads(line) for line in (folder / "run" / ROWS).read_text(encoding="utf-8").splitlines()]
    finished = [row for row in lines if row["error"] is None]
    assert len({row["cell"] for row in finished}) == len(finished)
    return {
        row["cell"]: {name: value for name, value in row.items() if name not in OF_THE_MOMENT}
        for row in finished
        if row["network"] == "tiny.safetensors"
    }


def assert_goes_on(folder: Path, undisturbed: dict[str, dict[str, Any]]) -> str:
    """The same command again ends well, with the rows of a run that nothing disturbed."""
    before = (folder / "run" / ROWS).read_bytes()
    code, errors = Running(folder).end()
    assert code == 0, errors
    assert rows_of(folder) == undisturbed
    assert (folder / "run" / ROWS).read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    return errors


def is_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=PROMPT_S)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A run in the midst of a MILP that takes CBC to its time limit."""
    run = Running(prepare(tmp_path))
    run.wait_for_rows(10)
    run.find("cbc", "-seconds")
    yield run
    with suppress(ProcessLookupError):
        os.killpg(run.process.pid, signal.SIGKILL)
    run.process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_run_that_is_ended_leaves_no_process_and_goes_on_later(
    number: signal.Signals, code: int, running: Running, tmp_path: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    family = psutil.Process(running.process.pid).children(recursive=True)
    asked = time.monotonic()
    running.process.send_signal(number)
    ended, errors = running.end()
    assert ended == code
    assert time.monotonic() - asked < PROMPT_S
    assert is_gone(family)
    assert "Traceback" not in errors
    if code > 0:
        assert "stopped: 10 of 11 cells are in" in errors
        assert not (tmp_path / "run" / RUNNING).exists()
    assert_goes_on(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="CBC dies with its worker on Linux only")
def test_a_worker_that_is_killed_costs_its_cell_alone(running: Running, tmp_path: Path) -> None:
    cbc = running.find("cbc", "-seconds")
    worker = cbc.parent()
    assert worker is not None
    worker.kill()
    code, errors = running.end()
    assert code == 0
    assert is_gone([cbc])
    assert "failed: mnist_small milp cbc: WorkerDied: it was killed by SIGKILL" in errors
    last = json.loads((tmp_path / "run" / ROWS).read_text(encoding="utf-8").splitlines()[-1])
    assert last["status"] == ["error"]


@pytest.mark.slow
def test_a_cbc_that_is_killed_is_an_error_of_that_cell(running: Running, tmp_path: Path) -> None:
    running.find("cbc", "-seconds").kill()
    code, errors = running.end()
    assert code == 0, errors
    last = json.loads((tmp_path / "run" / ROWS).read_text(encoding="utf-8").splitlines()[-1])
    assert "error" in last["status"]
    assert last["verdict"] == "unknown"


@pytest.mark.slow
def test_a_second_run_on_the_folder_is_refused_and_told_of_the_first(running: Running, tmp_path: Path) -> None:
    code, errors = Running(tmp_path).end()
    assert code == 2
    (line,) = errors.splitlines()
    assert line.startswith(
        f"relubench: error: run folder {tmp_path}/run is in use by process {running.process.pid} on "
    )
    assert "name another with --out DIR" in line


@pytest.mark.slow
def test_a_file_that_cannot_grow_ends_the_run_with_its_rows_whole(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    folder = prepare(tmp_path)
    # The system lets no file grow beyond this: a write fails in the midst of a line.
    room = 10_000
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))}
    assert_stopped_for_want_of_room(Running(folder, **limit), "File too large", undisturbed)
    assert_goes_on(folder, undisturbed)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_its_rows_whole(
    small_disk: Path, tmp_path: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    folder = prepare(tmp_path)
    (folder / "run").symlink_to(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(SMALL_DISK - 14 * PAGE))
    assert_stopped_for_want_of_room(Running(folder), "No space left on device", undisturbed)
    filler.unlink()
    assert_goes_on(folder, undisturbed)


def assert_stopped_for_want_of_room(run: Running, reason: str, undisturbed: dict[str, dict[str, Any]]) -> None:
    code, errors = run.end()
    assert code == 2
    assert errors.splitlines()[-1].startswith("relubench: error: ")
    assert f" cannot be written: {reason}" in errors
    assert run.rows.read_bytes().endswith(b"\n")
    assert 0 < len(rows_of(run.rows.parents[1])) < len(undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"mounts a small disk: {error}")
    if mounted.returncode:
        pytest.skip(f"mounts a small disk, which takes root: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_line_torn_by_a_crash_is_set_aside_and_its_cell_runs_again(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    folder = prepare(tmp_path)
    run = Running(folder)
    run.wait_for_rows(5)
    run.process.kill()
    run.end()
    with (folder / "run" / ROWS).open("r+b") as file:
        file.truncate(os.path.getsize(file.name) - 100)
    assert "torn by a crash, kept in rows.torn; measured again" in assert_goes_on(folder, undisturbed)
