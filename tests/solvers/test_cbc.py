"""The CBC back-end: its child process, its files, and what it makes of CBC's words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from networks.errors import SolverError
from solvers.backend import Limits, SolverOptions
from solvers.backends import cbc_, cbc_process
from solvers.backends.cbc_ import Cbc, arguments, read_result
from solvers.backends.cbc_process import Run
from solvers.conformance.models import market_split, random_mip
from solvers.linear_model import LinearModel
from solvers.result import Status

INF = np.inf
OPTIMUM_OF_KNAPSACKS = -1002.12849309716  # as HiGHS and Gurobi have it
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def knapsacks() -> LinearModel:
    """Twenty knapsacks over forty binaries: a third of a second for CBC."""
    rng = np.random.default_rng(0)
    A = rng.integers(1, 100, (20, 40)) + rng.random((20, 40)) * 0.1
    c = -rng.integers(20, 100, 40) - rng.random(40)
    ones = np.ones(40)
    return LinearModel(c, sparse.csr_array(A), np.full(20, -INF), A.sum(axis=1) / 3, 0 * ones, ones, ones, 0.25)


def slow_relaxation() -> LinearModel:
    """A MILP whose relaxation takes CBC seconds, in which it does not look at its clock."""
    rng = np.random.default_rng(7)
    A = rng.normal(size=(500, 700)) * (rng.random((500, 700)) < 0.3)
    activity = A @ rng.random(700)
    box = np.zeros(700), np.ones(700)
    return LinearModel(
        rng.normal(size=700), sparse.csr_array(A), activity - 0.1, activity + 0.1, *box, np.arange(700) < 3
    )


def tiny(c: list[float], integer: bool, upper: float = 10) -> LinearModel:
    """A free row, `x0 + 2 x1 >= 3` and `x0 - x1 <= 1`."""
    A = sparse.csr_array([[1.0, 1], [1, 2], [1, -1]])
    return LinearModel(c, A, [-INF, 3, -INF], [INF, INF, 1], [0, 0], [upper, upper], [integer] * 2, 0.5)


def test_a_mip_is_solved_to_the_last_digits() -> None:
    model = knapsacks()
    with Cbc().load(model) as session:
        result = session.solve()
    assert result.status is Status.OPTIMAL
    assert result.x is not None
    assert result.objective == model.objective(result.x) == pytest.approx(OPTIMUM_OF_KNAPSACKS, abs=1e-9)
    assert OPTIMUM_OF_KNAPSACKS - 2e-3 < result.dual_bound <= OPTIMUM_OF_KNAPSACKS
    assert result.nodes
    assert result.simplex_iterations


def test_row_duals_of_an_lp_skip_free_rows_and_have_our_sign() -> None:
    with Cbc().load(tiny([1, 1], integer=False)) as session:
        result = session.solve()
    assert result.objective == result.dual_bound == 2.0
    assert result.row_duals is not None
    assert result.row_duals.tolist() == [0, 0.5, 0]


@pytest.mark.parametrize("integer", [False, True])
def test_another_objective_gives_what_a_fresh_session_gives(integer: bool) -> None:
    costs: list[list[float]] = [[1, 1], [-1, 3.3], [2, -0.1]]
    with Cbc().load(tiny([0, 0], integer)) as session:
        for c in costs:
            session.set_objective(c, offset=0.5)
            with Cbc().load(tiny(c, integer)) as fresh:
                assert session.solve().objective == fresh.solve().objective


@pytest.mark.parametrize("limit", np.geomspace(1e-3, 0.2, 6))
def test_a_feasible_model_is_never_infeasible_however_short_the_time(limit: float) -> None:
    model = knapsacks()
    with Cbc().load(model) as session:
        result = session.solve(time_limit_s=limit)
    assert result.status in (Status.TIME_LIMIT, Status.OPTIMAL)
    assert result.dual_bound <= OPTIMUM_OF_KNAPSACKS
    if result.x is not None:
        assert result.objective >= OPTIMUM_OF_KNAPSACKS - 1e-9
        assert model.violation(result.x) < 1e-6


def test_the_bound_of_a_stopped_search_is_rounded_down() -> None:
    log = "Cbc0010I After 9 nodes, 2 on tree, 1e+50 best solution, best possible 4.1043754 (0.14 seconds)\n"
    run = Run(
        0, 1.0, False, False, "Stopped on time (no integer solution - continuous used) - objective value 3.8", log
    )
    result = read_result(knapsacks(), SolverOptions(), Limits(1.0), run, Path())
    assert result.status is Status.TIME_LIMIT
    assert 4.1043751 < result.dual_bound < 4.10437535  # half a unit of the last digit below
    assert result.x is None


@pytest.mark.parametrize(
    ("header", "log", "model", "expected"),
    [
        ("Integer infeasible", "", tiny([1, 1], True), Status.INFEASIBLE),
        ("Stopped on iterations", "Result - Stopped on time limit", tiny([1, 1], False), Status.TIME_LIMIT),
        ("Stopped on iterations", "", tiny([1, 1], False), Status.OTHER_LIMIT),
        ("Unbounded", "", tiny([1, 1], False), Status.UNBOUNDED),
        ("Unbounded", "", tiny([1, 1], True), Status.INFEASIBLE_OR_UNBOUNDED),
        ("Status unknown", "", tiny([1, 1], False), Status.UNKNOWN),
        ("", "", tiny([1, 1], False), Status.ERROR),
    ],
)
def test_words_become_the_status_that_they_prove(header: str, log: str, model: LinearModel, expected: Status) -> None:
    run = Run(0, 0.5, False, False, f"{header} - objective value 1" if header else "", log)
    assert read_result(model, SolverOptions(), Limits(1.0), run, Path()).status is expected


def test_infeasible_after_the_time_limit_is_no_proof() -> None:
    run = Run(0, 1.1, False, False, "Integer infeasible - objective value 1", "")
    result = read_result(tiny([1, 1], True), SolverOptions(), Limits(1.0), run, Path())
    assert result.status is Status.TIME_LIMIT
    assert "preprocessing" in result.message


def test_infeasible_without_the_coefficients_that_cbc_drops_is_no_proof() -> None:
    model = LinearModel([1], sparse.csr_array([[1e-14]]), [1e-14], [INF], [0], [2])
    with Cbc().load(model) as session:
        result = session.solve()
    assert result.status is Status.UNKNOWN
    assert "1e-14" in result.message


def test_a_search_that_ignores_its_time_limit_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cbc_process, "GRACE_S", 0.2)
    with Cbc().load(slow_relaxation()) as session:
        start = time.perf_counter()
        result = session.solve(time_limit_s=0.1)
    assert time.perf_counter() - start < 10  # half a second on an idle machine
    assert result.status is Status.TIME_LIMIT
    assert "killed" in result.message
    assert result.x is None


def test_a_binary_that_does_not_work_is_an_error_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cbc_process, "binary", lambda: sys.executable)
    with Cbc().load(tiny([1, 1], True)) as session:
        result = session.solve()
    assert result.status is Status.ERROR
    assert "code 1" in result.message
    assert "SyntaxError" in result.message  # Python's view of a model file


def test_a_binary_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cbc_, "binary", lambda: "/nosuch/cbc")
    with pytest.raises(SolverError, match=r"CBC cannot be run: /nosuch/cbc: No such file"):
        Cbc().version()


@pytest.mark.parametrize(
    ("header", "stopped", "expected"),
    [
        ("Integer infeasible", False, Status.TARGET_REACHED),  # as far as the cutoff lets it see
        ("Stopped on ctrl-c (no integer solution - continuous used)", False, Status.INTERRUPTED),
        ("Stopped on time (no integer solution - continuous used)", False, Status.TIME_LIMIT),
    ],
)
def test_below_a_cutoff_no_bound_is_above_it(header: str, stopped: bool, expected: Status) -> None:
    log = "Cbc0005I Partial search - best objective 1e+50 (best possible 12.5), took 0 iterations and 0 nodes\n"
    run = Run(0, 0.5, False, stopped, f"{header} - objective value 1", log)
    result = read_result(knapsacks(), SolverOptions(), Limits(stop_above=3.5), run, Path())
    assert (result.status, result.dual_bound) == (expected, 3.5)


def test_infeasible_below_the_cutoff_after_the_time_limit_is_no_proof() -> None:
    run = Run(0, 1.1, False, False, "Integer infeasible - objective value 1", "")
    result = read_result(tiny([1, 1], True), SolverOptions(), Limits(1.0, stop_above=3.5), run, Path())
    assert (result.status, result.dual_bound) == (Status.TIME_LIMIT, -INF)


def test_a_solution_below_the_cutoff_does_not_get_lost_in_preprocessing() -> None:
    model = random_mip(147)  # CBC 2.10.3 calls it infeasible below 0.01 above its optimum if it may preprocess
    with Cbc().load(model) as session:
        optimum = session.solve().objective
        result = session.solve(stop_above=optimum + 0.01)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(optimum, abs=1e-6)


def test_a_solution_that_is_good_enough_interrupts_cbc() -> None:
    with Cbc().load(market_split()) as session:
        result = session.solve(30, stop_below=2000.0)
        log = (session._folder / "log.txt").read_text()
    assert result.status is Status.TARGET_REACHED
    assert result.objective <= 2000
    assert "Exiting on user event" in log
    assert "\r" not in log


def test_an_error_has_cbc_s_words() -> None:
    run = Run(0, 0.5, False, False, "Stopped on difficulties - objective value 1", "")
    result = read_result(tiny([1, 1], False), SolverOptions(), Limits(1.0), run, Path())
    assert (result.status, result.message) == (Status.ERROR, "CBC said 'Stopped on difficulties'")


def test_the_options_reach_cbc() -> None:
    options = SolverOptions(threads=2, seed=4, mip_gap=1e-5, feasibility_tolerance=1e-8, integrality_tolerance=0)
    words = arguments(options, Limits(7.5))
    given = dict(zip(words[1::2], words[2::2], strict=False))
    assert given["-allowableGap"] == given["-ratioGap"] == "1e-05"
    assert given["-primalTolerance"] == "1e-08"
    assert given["-integerTolerance"] == "1e-12"
    assert given["-increment"] == "1e-09"
    assert (given["-threads"], given["-randomCbcSeed"], given["-seconds"]) == ("2", "5", "7.5")
    assert "-threads" not in arguments(SolverOptions(), Limits())
    assert "-seconds" not in arguments(SolverOptions(), Limits())


def test_a_stop_above_is_a_cutoff_further_up_without_preprocessing() -> None:
    words = arguments(SolverOptions(mip_gap=1e-5), Limits(stop_above=100.0))
    assert float(words[words.index("-cutoff") + 1]) == pytest.approx(100.001 + 1e-9, abs=1e-12)
    assert words[words.index("-preprocess") + 1] == "off"
    assert "-cutoff" not in arguments(SolverOptions(), Limits(stop_below=100.0))


def test_cbc_takes_every_option() -> None:
    with Cbc().load(knapsacks(), SolverOptions(threads=2, time_limit_s=30)) as session:
        assert session.solve().status is Status.OPTIMAL
        log = (session._folder / "log.txt").read_text()
    for name in ("increment", "allowableGap", "ratioGap", "integerTolerance", "threads", "randomCbcSeed", "seconds"):
        assert f"{name} was changed from" in log
    assert "valid range" not in log
    assert "No match for" not in log


def test_no_files_are_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Cbc().load(tiny([1, 1], True)) as session:
        session.solve()
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
    forgotten = Cbc().load(tiny([1, 1], True))
    assert list(tmp_path.iterdir())
    del forgotten
    assert not list(tmp_path.iterdir())


def test_looking_whether_it_is_installed_imports_nothing() -> None:
    code = "import sys; from solvers.backends.cbc_ import Cbc; assert Cbc.installed(); assert 'pulp' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def processes_in(folder: Path) -> Iterator[Path]:
    """The `/proc` entries of the processes that work below the folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve().is_relative_to(folder) and b"cbc" in (entry / "cmdline").read_bytes():
                yield entry
        except OSError:
            continue  # it ended meanwhile, or is not ours


def wait_for(folder: Path, running: bool, seconds: float = 2) -> None:
    """`slow_relaxation` takes CBC longer than two seconds: what has gone by then was ended."""
    end = time.perf_counter() + seconds
    while bool(list(processes_in(folder))) != running:
        assert time.perf_counter() < end, f"a cbc process is running: {not running}; expected {running}"
        time.sleep(0.02)


LONG_SOLVE = """
from tests.solvers.test_cbc import Cbc, slow_relaxation
with Cbc().load(slow_relaxation()) as session:
    session.solve()
"""


@contextmanager
def long_solve(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process in the middle of a solve of seconds, its temporary files in the folder."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen([sys.executable, "-c", LONG_SOLVE], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(folder, running=True, seconds=20)
        yield process
    finally:
        process.kill()
        process.wait()


@linux
@pytest.mark.parametrize("with_setpriv", [True, False])
def test_cbc_dies_with_its_killed_parent(with_setpriv: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_setpriv:
        monkeypatch.setenv("PATH", "")
    with long_solve(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    wait_for(tmp_path, running=False)


@linux
def test_an_interrupt_ends_cbc_and_removes_its_files(tmp_path: Path) -> None:
    with long_solve(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5)
    wait_for(tmp_path, running=False)
    assert not list(tmp_path.iterdir())
