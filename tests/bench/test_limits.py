"""Limits: a back-end that breaks costs its own cell, past a limit its worker is killed, and the row says so."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import runner
from bench.limits import BARE_MB, MEMORY_SHARE, Limits, in_force, shared, shared_cores, too_low
from bench.machine import cores_of, usable_cores, usable_memory_mb
from bench.plan import Plan
from bench.row import Row
from bench.store import Store
from bench.suite import AttackTable, Suite, VerifyTable
from networks.errors import InputError
from tests.bench import broken_backends
from tests.bench.made_rows import attack_row, verify_row
from tests.bench.suites import plan_of, read_rows, run_into, without_times
from tests.conftest import random_network

HARD_S, MEMORY_MB = 3.0, 1000.0  # a worker imports its first solver within the first
STALL_S = 2.0  # a cell takes a tenth of that; a polite end of such a worker 3 s, a new one from nothing as long
LATE_S = 1.0  # a look every 50 ms, and what a loaded machine adds
BROKEN = [
    *("failing", "quitting", "hanging", "holding_the_gil", "crashing", "exiting", "leaking", "leaking_in_a_child"),
]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(broken_backends.install(tmp_path_factory.mktemp("plugin") / "plugin"))
        yield


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    random_network(seed=0).save(path)
    return path


@pytest.fixture(scope="module")
def broken(plugin: None, network: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, list[Row]]:
    """One run with every broken back-end, its folder and its rows."""
    folder = tmp_path_factory.mktemp("broken")
    plan = plan_of(folder, network, methods=["milp"], solvers=[*BROKEN, "highs"], time_limit_s=2)
    return plan, folder / "run", run_into(folder / "run", plan, limits=Limits(HARD_S, MEMORY_MB))


def test_broken_back_ends_are_caught_and_the_run_finishes(broken: tuple[Plan, Path, list[Row]]) -> None:
    _, folder, rows = broken
    assert [row.solver for row in rows] == [*BROKEN, "highs"]
    assert {row["solver"]: row["status"] for row in read_rows(folder)} == {
        **{solver: ["error"] for solver in ("failing", "quitting", "crashing", "exiting")},
        **{solver: ["time_limit"] for solver in ("hanging", "holding_the_gil")},
        **{solver: ["memory_limit"] for solver in ("leaking", "leaking_in_a_child")},
        "highs": ["optimal"] * 9,
    }
    assert {row.solver: row.error for row in rows if row.error} == {
        "failing": "ArithmeticError: no integers today",
        "quitting": "SystemExit: enough",
        "crashing": "WorkerDied: it was killed by SIGSEGV",
        "exiting": "WorkerDied: it ended with exit code 0",
    }
    assert [row.verdict for row in rows if row.error] == [None] * 4
    assert leftovers() == []


def leftovers() -> list[str]:
    """The processes of back-ends that are still there, their parents dead or alive, and the workers of this process."""
    children = {broken_backends.LINGER, broken_backends.LEAK}
    everywhere = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    servers = [child for child in psutil.Process().children() if "forkserver" in " ".join(child.cmdline())]
    workers = [" ".join(worker.cmdline()) for server in servers for worker in server.children()]
    return [" ".join(words) for words in everywhere if children & set(words)] + workers


@pytest.mark.parametrize("solver", ["hanging", "holding_the_gil"])
def test_past_its_hard_limit_a_cell_is_a_row_that_says_what_was_measured(
    solver: str, broken: tuple[Plan, Path, list[Row]]
) -> None:
    row = next(row for row in broken[2] if row.solver == solver)
    assert (row.verdict, row.reason, row.error, row.targets, row.tier) == ("unknown", "time limit", None, [], None)
    assert row.evidence is not None
    assert row.total_s is not None
    assert row.evidence == f"killed after {row.total_s:.1f} s, hard limit 3.0 s"
    assert HARD_S < row.total_s < HARD_S + LATE_S
    assert (row.hard_limit_s, row.time_limit_s) == (HARD_S, 2.0)
    assert row.overshoot_s == pytest.approx(row.total_s - 2.0)
    assert row.enforced["time"] == "worker killed after 3 s, looked at every 50 ms"
    assert row.machine["others_load"] >= 0


@pytest.mark.parametrize("solver", ["leaking", "leaking_in_a_child"])
def test_past_its_memory_limit_a_cell_is_a_row_that_says_what_was_measured(
    solver: str, broken: tuple[Plan, Path, list[Row]]
) -> None:
    row = next(row for row in broken[2] if row.solver == solver)
    assert (row.verdict, row.reason, row.error, row.targets) == ("unknown", "memory limit", None, [])
    assert row.peak_memory_mb is not None
    assert MEMORY_MB < row.peak_memory_mb < 2 * MEMORY_MB
    assert row.evidence == f"killed at {row.peak_memory_mb:,.0f} MB, limit 1,000 MB"
    assert row.memory_limit_mb == MEMORY_MB
    assert "killed above 1,000 MB resident, its children counted" in row.enforced["memory"]


def test_a_cell_within_its_limits_says_what_it_took_and_what_the_machine_did(
    broken: tuple[Plan, Path, list[Row]],
) -> None:
    row = broken[2][-1]
    assert row.overshoot_s is not None
    assert row.total_s is not None
    assert row.overshoot_s == max(0.0, row.total_s - 2.0)
    assert row.peak_memory_mb is not None
    assert 50 < row.peak_memory_mb < MEMORY_MB
    assert row.machine.keys() >= {"swapped_mb"}
    assert row.enforced.keys() == {"time", "memory", "cores", "threads"}
    assert row.enforced["threads"] == "torch, BLAS and solver: 1"


def test_a_killed_cell_is_finished_until_its_limit_is_raised_and_what_failed_is_tried_again(
    broken: tuple[Plan, Path, list[Row]],
) -> None:
    plan, folder, _ = broken

    def left(limits: Limits) -> list[str | None]:
        with Store(folder) as store:
            return [planned.cell.solver for planned in runner.unfinished(plan, store, limits)]

    failed, late, large = BROKEN[:2] + BROKEN[4:6], BROKEN[2:4], BROKEN[6:]
    assert left(Limits(HARD_S, MEMORY_MB)) == failed
    assert left(Limits(HARD_S / 2, MEMORY_MB / 2)) == failed
    assert left(Limits(2 * HARD_S, MEMORY_MB)) == [*BROKEN[:2], *late, *failed[2:]]
    assert left(Limits(HARD_S, 2 * MEMORY_MB)) == [*failed, *large]


def test_replacing_a_worker_does_not_stall_the_others(plugin: None, network: Path, tmp_path: Path) -> None:
    stuck, slow = (
        plan_of(tmp_path, network, methods=[method], images=images, solvers=[solver], time_limit_s=2)
        for solver, method, images in (("holding_the_gil", "milp", 1), ("slow", "lp", 20))
    )
    ends: list[tuple[str | None, float]] = []
    with Store(tmp_path / "run") as store:
        runner.run(
            Plan(slow.suite, None, (*stuck.cells, *slow.cells), ()),
            store,
            jobs=2,
            limits=Limits(HARD_S),
            on_row=lambda row: ends.append((row.solver, time.perf_counter())),
        )
    killed = [solver for solver, _ in ends].index("holding_the_gil")
    assert 0 < killed < len(ends) - 1 == 20
    pauses = [after - before for (_, before), (_, after) in pairwise(ends)]
    assert max(pauses) < STALL_S


@pytest.mark.parametrize("threads", [1, 2])
def test_every_worker_keeps_to_its_own_cores_and_threads(
    threads: int, plugin: None, network: Path, tmp_path: Path
) -> None:
    plan = plan_of(
        tmp_path, network, f"threads = {threads}", methods=["milp"], epsilons=[0.1], images=6, solvers=["telling"]
    )
    rows = run_into(tmp_path / "run", plan, jobs=2)
    found = [json.loads(str(row.error).removeprefix("RuntimeError: ")) for row in rows]
    by_worker = {told["pid"]: told["cores"] for told in found}
    expected = [list(cores_of(slot, threads)) for slot in range(2)]
    assert sorted(by_worker.values()) == sorted(expected)
    for row, told in zip(rows, found, strict=True):
        assert row.enforced["cores"] == f"{', '.join(map(str, told['cores']))} by affinity"
        assert row.enforced["threads"] == f"torch, BLAS and solver: {threads}"
        assert (told["torch"], told["solver"], told["variable"]) == (threads, threads, str(threads))
        assert told["libraries"] == [threads]


def test_a_network_that_changes_in_mid_run_is_an_error_of_its_cells(tmp_path: Path, tiny_network: Path) -> None:
    plan = plan_of(tmp_path, tiny_network, methods=["interval"])
    random_network(seed=1).save(tiny_network)
    (row,) = run_into(tmp_path / "run", plan)
    assert row.error is not None
    assert "its file was changed since; run the suite again" in row.error


def test_a_run_with_workers_gives_what_one_worker_gives(tmp_path: Path, tiny_network: Path) -> None:
    plan = plan_of(tmp_path, tiny_network, methods=["interval", "lp", "milp"], images=3)
    for jobs in (1, 3):
        run_into(tmp_path / str(jobs), plan, jobs)
    one, three = (read_rows(tmp_path / str(jobs)) for jobs in (1, 3))
    assert [row["cell"] for row in one] == [planned.digest for planned in plan.cells]
    by_cell = {row["cell"]: without_times(row) for row in three}
    assert by_cell == {row["cell"]: without_times(row) for row in one}


VERIFY = VerifyTable(networks=("n",), images=1, epsilons=(0.1,), methods=("lp",))
ATTACK = AttackTable(networks=("n",), images=1, epsilons=(0.1,), methods=("fgsm",))


def test_limits_are_those_asked_for_then_the_suites_then_the_defaults() -> None:
    suite = Suite(name="s", verify=(VERIFY,), hard_limit_s=50.0, memory_limit_mb=70.0)
    assert in_force(suite, 1, Limits(60.0)) == Limits(60.0, 70.0)
    assert in_force(suite, 1, Limits()) == Limits(50.0, 70.0)
    default = shared(in_force(Suite(name="s", verify=(VERIFY,)), 4, Limits()), 3)
    assert default == Limits(None, MEMORY_SHARE * usable_memory_mb() / 3)
    assert shared(Limits(1.0, 70.0), 1000) == Limits(1.0, 70.0)
    assert [default.seconds(limit) for limit in (None, 4.0, 100.0)] == [None, 14.0, 125.0]


@pytest.mark.parametrize(
    ("jobs", "limits", "message"),
    [
        (0, {}, "jobs is 0; expected how many cells to measure at a time, at least 1"),
        (1, {"hard_limit_s": 4.0}, "hard limit is 4 s; expected more than the 5 s that suite s gives a solver"),
        (1, {"hard_limit_s": -1.0}, "hard_limit_s is -1.0; expected a number of seconds above 0"),
        (1, {"memory_limit_mb": float("nan")}, "memory_limit_mb is nan; expected a number of megabytes above 0"),
    ],
)
def test_limits_that_cannot_be_are_refused(jobs: int, limits: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        in_force(Suite(name="s", time_limit_s=5.0, verify=(VERIFY,), attack=(ATTACK,)), jobs, Limits(**limits))


def test_memory_is_shared_by_the_workers_that_start(tmp_path: Path, tiny_network: Path) -> None:
    plan = plan_of(tmp_path, tiny_network, methods=["interval", "linear"])
    (row, _) = run_into(tmp_path / "run", plan, jobs=64)
    assert row.memory_limit_mb == MEMORY_SHARE * usable_memory_mb() / 2
    more = plan_of(tmp_path, tiny_network, methods=["interval", "linear"], epsilons=[0.01, 0.02, 0.03])
    with Store(tmp_path / "run") as store:
        assert [runner.worker_count(more, store, jobs) for jobs in (1, 3, 64)] == [1, 3, 4]  # two are there


def test_more_workers_than_memory_holds_are_refused_and_one_never_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.limits.usable_memory_mb", lambda: 2000.0)
    assert shared(Limits(), 4).memory_limit_mb == pytest.approx(450.0)
    with pytest.raises(InputError, match=r"5 workers have 360 MB of memory each, .* expected at most 4 jobs"):
        shared(Limits(), 5)
    monkeypatch.setattr("bench.limits.usable_memory_mb", lambda: 300.0)
    assert shared(Limits(), 1).memory_limit_mb == pytest.approx(270.0)
    assert too_low(shared(Limits(), 1)) == [
        "the memory limit is 270 MB, and a worker takes up to 450 MB before its first cell"
    ]
    assert too_low(Limits(memory_limit_mb=450.0)) == too_low(Limits()) == []


def test_a_worker_takes_less_than_it_is_said_to(tmp_path: Path, tiny_network: Path) -> None:
    rows = run_into(tmp_path / "run", plan_of(tmp_path, tiny_network, methods=["lp"], solvers=["highs", "gurobi"]))
    assert all(0 < row.peak_memory_mb < BARE_MB for row in rows if row.peak_memory_mb is not None)
    assert all(row.peak_memory_mb is not None for row in rows)


def test_limits_are_no_part_of_a_cell(tmp_path: Path, tiny_network: Path) -> None:
    without = plan_of(tmp_path, tiny_network)
    limited = plan_of(tmp_path, tiny_network, "hard_limit_s = 9\nmemory_limit_mb = 900")
    assert [planned.digest for planned in limited.cells] == [planned.digest for planned in without.cells]


def test_a_row_that_its_solver_ended_in_time_was_not_killed() -> None:
    solvers_own = verify_row(reason="time limit", status=["time_limit", "time_limit"], hard_limit_s=1.0)
    assert not Limits(2.0).let_further(solvers_own)
    attack = attack_row(reason="memory limit", status=["memory_limit"], memory_limit_mb=500.0)
    assert Limits(memory_limit_mb=501.0).let_further(attack)
    assert not Limits(memory_limit_mb=500.0).let_further(attack)


def test_more_threads_than_processors_are_told() -> None:
    cores = len(usable_cores())
    assert shared_cores(1, cores) == []
    assert shared_cores(cores, 1) == []
    (note,) = shared_cores(cores, 2)
    assert note.startswith(f"{cores} jobs of 2 threads share {cores} processors")
    assert [cores_of(slot, 1) for slot in range(cores + 1)] == [
        (core,) for core in [*usable_cores(), usable_cores()[0]]
    ]


def test_memory_is_the_machines_where_there_are_no_control_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.machine._cgroup_folders", lambda controller: ())
    assert usable_memory_mb() == psutil.virtual_memory().total / 1e6
