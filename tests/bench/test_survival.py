"""What a run survives: kills, signals, a full disk, a second run; resumed, it has the rows of an undisturbed one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bench.plan import Plan, Planned
from bench.row import Row
from bench.runlog import LOG
from bench.runner import run
from bench.store import ARRAYS, ROWS, RUNNING, Store
from networks.errors import InputError
from tests.bench.broken_backends import install
from tests.bench.suites import facts, plan_of, read_rows, run_into, without_times
from tests.conftest import RELUBENCH, random_network
from tests.plugins import environment_with

START_S = 60.0  # until a child that imports torch has measured its first cells
PROMPT_S = 20.0  # from a signal to the end of the process: a second or so on an idle machine
CELLS = 10
FILE_LIMIT = 10_000  # bytes: room for some rows, each of 3 kB or so, and for no more

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a network, a suite, and back-ends that workers find."""
    folder = tmp_path_factory.mktemp("survival")
    random_network(seed=0).save(folder / "tiny.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(install(folder / "plugin"))
        yield folder


@pytest.fixture(scope="module")
def plan(home: Path) -> Plan:
    """Cells in turn of a quarter of a second and of none."""
    return plan_of(home, home / "tiny.safetensors", methods=["lp", "interval"], solvers=["slow"], images=CELLS // 2)


@pytest.fixture(scope="module")
def undisturbed(home: Path, plan: Plan) -> dict[str, dict[str, Any]]:
    assert len(plan.cells) == CELLS
    run_into(home / "undisturbed", plan)
    rows = facts(home / "undisturbed")
    assert len(rows) == CELLS
    assert {row["error"] for row in rows.values()} == {None}
    return rows


class Runner:
    """`relubench run` in a process of its own."""

    def __init__(self, home: Path, folder: Path, *options: str, file_limit: int = 0) -> None:
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({file_limit},) * 2)\n"
        code = (limit if file_limit else "") + RELUBENCH[2]
        words = ("run", str(home / "suite.toml"), "--no-report", "--out", str(folder), *options)
        self.folder = folder
        self.child = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment_with(home / "plugin"),
            start_new_session=True,  # its own group, as a terminal gives a command
        )

    def wait_for_rows(self, count: int) -> None:
        deadline = time.monotonic() + START_S
        while self.rows() < count:
            assert self.child.poll() is None, "it ended too soon"
            assert time.monotonic() < deadline, "no rows in time"
            time.sleep(0.02)

    def rows(self) -> int:
        path = self.folder / ROWS
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def end(self, send: Callable[[], None]) -> tuple[int, str]:
        """Send the signal; the exit code and stderr. Nothing that it started may be left."""
        below = psutil.Process(self.child.pid).children(recursive=True)
        asked = time.perf_counter()
        send()
        try:
            _, errors = self.child.communicate(timeout=30)
        finally:
            self.child.kill()
        assert time.perf_counter() - asked < PROMPT_S
        _, alive = psutil.wait_procs(below, timeout=PROMPT_S)
        assert alive == []
        return self.child.returncode, errors


def resume(folder: Path, plan: Plan, expected: dict[str, dict[str, Any]], least: int = 0) -> None:
    """Run it to its end: `least` rows at least are taken as they are, and all are those of an undisturbed run."""
    kept = (folder / ROWS).read_bytes() if (folder / ROWS).exists() else b""
    measured = run_into(folder, plan)
    assert len(measured) <= len(plan.cells) - least
    assert (folder / ROWS).read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert facts(folder) == expected
    assert not (folder / RUNNING).exists()
    for row in read_rows(folder):
        with np.load(folder / row["arrays"]) as arrays:
            assert arrays["worst_input"].shape == (1, 28, 28)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_run_that_is_ended_goes_on_later(
    number: signal.Signals, code: int, home: Path, plan: Plan, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    runner = Runner(home, tmp_path / "run", "--jobs", "2")
    runner.wait_for_rows(2)
    with pytest.raises(InputError, match=f"in use by process {runner.child.pid} on"):
        Store(tmp_path / "run")
    whole_group = number is signal.SIGINT  # as Ctrl-C in a terminal
    send = os.killpg if whole_group else os.kill
    ended, errors = runner.end(lambda: send(runner.child.pid, number))
    assert ended == code
    assert "Traceback" not in errors
    assert "leaked" not in errors or number is signal.SIGKILL  # Python's tracker says so where it cleans up itself
    assert ("cells are in" in errors) == (number is not signal.SIGKILL)
    log = (tmp_path / "run" / LOG).read_text(encoding="utf-8")
    assert (f"ERROR   run: stopped by Stop: {number.name}\n" in log) == (number is not signal.SIGKILL)
    resume(tmp_path / "run", plan, undisturbed, least=2)


@pytest.mark.slow
def test_a_second_run_is_refused_in_one_line_that_names_the_first(
    home: Path, plan: Plan, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    with Store(tmp_path / "run"):
        second = Runner(home, tmp_path / "run")
        _, errors = second.child.communicate(timeout=60)
    assert second.child.returncode == 2
    assert errors.count("\n") == 1
    assert f"is in use by process {os.getpid()} on " in errors
    resume(tmp_path / "run", plan, undisturbed)


@pytest.mark.slow
def test_a_file_system_without_room_ends_a_run_in_one_line_and_loses_nothing(
    home: Path, plan: Plan, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    full = Runner(home, tmp_path / "run", file_limit=FILE_LIMIT)
    _, errors = full.child.communicate(timeout=60)
    assert full.child.returncode == 2
    assert f"relubench: error: {tmp_path / 'run' / ROWS} cannot be written: File too large" in errors
    assert "Traceback" not in errors
    content = (tmp_path / "run" / ROWS).read_bytes()
    assert content.endswith(b"\n")  # no half of a line is left
    assert 1 <= content.count(b"\n") < CELLS
    resume(tmp_path / "run", plan, undisturbed, least=content.count(b"\n"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for some rows only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_a_run_in_one_line_and_loses_nothing(
    home: Path, plan: Plan, undisturbed: dict[str, Any], small_disk: Path
) -> None:
    folder = small_disk / "run"
    with pytest.raises(InputError, match=r"cannot be written: No space left on device") as refused:
        run_into(folder, plan)
    assert str(refused.value).count("\n") == 0
    kept = (folder / ROWS).read_bytes()
    assert 1 <= kept.count(b"\n") < CELLS
    assert kept.endswith(b"\n")
    assert not list((folder / ARRAYS).glob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    resume(folder, plan, undisturbed, least=kept.count(b"\n"))


def kill_in_mid_run(folder: Path, plan: Plan, find: Callable[[], list[psutil.Process]], at: int) -> list[Row]:
    """Run the plan, and kill -9 what `find` finds once it has worked on the cell number `at` for a moment."""
    rows: list[Row] = []
    started: list[Planned] = []
    killer = threading.Thread(target=kill_soon, args=(find,))

    def on_start(planned: Planned) -> None:
        started.append(planned)
        if len(started) == at:
            killer.start()

    with Store(folder) as store:
        run(plan, store, on_start=on_start, on_row=rows.append)
    killer.join()
    return rows


def kill_soon(find: Callable[[], list[psutil.Process]]) -> None:
    deadline = time.monotonic() + START_S
    while not find() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    for process in find():
        process.kill()


def workers() -> list[psutil.Process]:
    """Those of the run in this process."""
    servers = [child for child in psutil.Process().children() if "forkserver" in words_of(child)]
    return [worker for server in servers for worker in server.children()]


def cbc_processes() -> list[psutil.Process]:
    return [child for worker in workers() for child in worker.children() if "cbc" in words_of(child).split(" ")[0]]


def words_of(process: psutil.Process) -> str:
    """The command of a process, empty once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers by the fork server")
def test_a_worker_that_is_killed_costs_its_cell_and_the_cell_runs_again(
    home: Path, plan: Plan, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    slow = Plan(plan.suite, None, tuple(planned for planned in plan.cells if planned.cell.method == "lp"), ())
    rows = kill_in_mid_run(folder, slow, workers, at=3)
    assert len(rows) == len(slow.cells)
    (died,) = [row for row in rows if row.error]
    assert str(died.error).startswith("WorkerDied: it was killed by SIGKILL")
    assert [row.cell for row in run_into(folder, slow)] == [died.cell]  # and no other
    last = {row["cell"]: without_times(row) for row in read_rows(folder)}  # the last row of a cell counts
    assert last == {digest: row for digest, row in undisturbed.items() if row["method"] == "lp"}


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers by the fork server")
def test_a_solver_process_that_is_killed_costs_its_cell_and_the_cell_runs_again(tmp_path: Path) -> None:
    table: dict[str, Any] = {"images": [1], "epsilons": [0.05], "methods": ["milp", "interval"], "solvers": ["cbc"]}
    plan, folder = plan_of(tmp_path, "mnist_small", **table, time_limit_s=3), tmp_path / "run"
    milp, interval = kill_in_mid_run(folder, plan, cbc_processes, at=1)
    assert milp.error is None  # the back-end says of its target that the solver failed
    assert "error" in milp.status
    assert interval.error is None
    (again,) = run_into(folder, plan)
    assert again.cell == milp.cell
    assert "error" not in again.status
    with contextlib.closing(Store(folder)) as store:
        assert store.finished.keys() == {planned.digest for planned in plan.cells}
