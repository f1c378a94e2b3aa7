"""Back-ends that hang, crash and hoard: each costs its own cell and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from bench import runner
from bench.limits import Limits, machine_memory
from bench.plan import Plan, make_plan
from bench.pool import share_cores, usable_cores
from bench.row import Row
from bench.store import Store
from bench.suite import load_suite
from networks.errors import InputError
from tests.plugins import install_plugin

BROKEN = {
    "crashing": "Crashing",
    "hanging": "Hanging",
    "holding": "Holding",
    "leaking": "Leaking",
    "leaking_child": "LeakingChild",
    "leaving": "Leaving",
}
HARD_S, MEMORY_MB = 3.0, 1000.0
SOON_S = 1.5  # from a limit to the end of the cell, on a busy machine


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken back-ends, as an outside package has them."""
    entries = {name: f"tests.bench.broken_backends:{kind}" for name, kind in BROKEN.items()}
    monkeypatch.syspath_prepend(install_plugin(tmp_path / "plugin", **entries))


def plan_of(folder: Path, network: Path, solvers: list[str], *, epsilons: tuple[float, ...] = (0.01,)) -> Plan:
    path = folder / "suite.toml"
    keys = {"networks": [str(network)], "images": [0], "epsilons": epsilons, "methods": ["lp"], "solvers": solvers}
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    path.write_text("\n".join(['name = "limits"', "[[verify]]", *lines, ""]), encoding="utf-8")
    return make_plan(load_suite(path))


def run(plan: Plan, folder: Path, limits: Limits) -> list[Row]:
    rows: list[Row] = []
    with Store(folder) as store:
        runner.run(plan, store, limits, on_row=rows.append)
    return rows


@pytest.mark.slow
@pytest.mark.usefixtures("broken")
def test_what_hangs_crashes_or_hoards_ends_its_cell_alone(tmp_path: Path, tiny_network: Path) -> None:
    plan = plan_of(tmp_path, tiny_network, [*BROKEN, "highs"])
    limits = Limits(jobs=2, hard_limit_s=HARD_S, memory_limit_mb=MEMORY_MB)
    rows = {row.solver: row for row in run(plan, tmp_path / "run", limits)}
    assert rows.keys() == {*BROKEN, "highs"}
    assert rows["highs"].status == ["optimal"] * 9
    for name in ("hanging", "holding"):
        row = rows[name]
        assert (row.status, row.verdict, row.reason, row.error) == (["time_limit"], "unknown", "time limit", None)
        assert row.total_s is not None
        assert HARD_S < row.total_s < HARD_S + SOON_S
        assert row.evidence == f"killed after {row.total_s:.1f} s, hard limit 3.0 s"
        assert row.killed_for == "time limit"
    for name in ("leaking", "leaking_child"):
        row = rows[name]
        assert (row.status, row.verdict, row.reason, row.error) == (["memory_limit"], "unknown", "memory limit", None)
        assert row.peak_memory_mb is not None
        assert MEMORY_MB < row.peak_memory_mb < 2 * MEMORY_MB
        assert row.evidence == f"killed at {row.peak_memory_mb:,.0f} MB, limit 1,000 MB"
    assert rows["crashing"].error == "WorkerDied: its process was ended by SIGSEGV"
    assert rows["leaving"].error == "WorkerDied: its process ended with exit code 3"
    assert not [
        child for child in psutil.Process().children(recursive=True) if "kept.append" in " ".join(child.cmdline())
    ]

    again = run(plan, tmp_path / "run", limits)
    assert {row.solver for row in again} == {"crashing", "leaving"}  # what failed, and not what was killed


@pytest.mark.slow
@pytest.mark.usefixtures("broken")
def test_a_worker_that_is_replaced_keeps_no_other_waiting(tmp_path: Path, tiny_network: Path) -> None:
    epsilons = tuple(0.001 * (1 + i) for i in range(40))
    plan = plan_of(tmp_path, tiny_network, ["highs"], epsilons=epsilons)
    hanging = plan_of(tmp_path, tiny_network, ["hanging"])
    both = Plan(plan.suite, None, (*hanging.cells, *plan.cells), ())
    rows = run(both, tmp_path / "run", Limits(jobs=2, hard_limit_s=HARD_S))
    assert [row.solver for row in rows[:-1]] == ["highs"] * 40  # all of them while the other hung
    assert rows[-1].status == ["time_limit"]


def test_a_row_says_which_limits_were_in_force_and_what_else_went_on(tmp_path: Path, tiny_network: Path) -> None:
    (row,) = run(plan_of(tmp_path, tiny_network, ["highs"]), tmp_path / "run", Limits(hard_limit_s=60.0))
    assert row.hard_limit_s == 60.0
    assert row.memory_limit_mb == pytest.approx(0.9 * machine_memory() / 1e6)
    assert row.enforced["time"] == "killed after 60 s, looked at every 50 ms"
    assert row.enforced["memory"].startswith("killed above ")
    assert row.enforced["cores"] == str(usable_cores()[0])
    assert row.enforced["threads"].startswith("1: torch, BLAS")
    assert row.peak_memory_mb is not None
    assert row.memory_limit_mb is not None
    assert 50 < row.peak_memory_mb < row.memory_limit_mb
    assert row.machine.keys() >= {"load", "swapped_mb"}


def test_each_job_has_cores_of_its_own_as_many_as_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.pool.usable_cores", lambda: [0, 2, 3, 5])
    assert share_cores(2, 2) == [(0, 2), (3, 5)]
    assert share_cores(3, 1) == [(0,), (2,), (3,)]
    assert share_cores(3, 2) == [(), (), ()]


def test_a_cell_may_take_a_quarter_more_than_its_solver_is_told() -> None:
    assert Limits().seconds(None) is None
    assert Limits().seconds(4.0) == 14.0
    assert Limits().seconds(400.0) == 500.0
    assert Limits(hard_limit_s=3.0).seconds(400.0) == 3.0
    assert Limits(jobs=4).memory_mb == pytest.approx(Limits().memory_mb / 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"jobs": 0}, "jobs is 0; expected a whole number of at least 1"),
        ({"hard_limit_s": 0.0}, "hard_limit_s is 0.0; expected seconds above 0"),
        ({"memory_limit_mb": float("nan")}, "memory_limit_mb is nan; expected megabytes above 0"),
    ],
)
def test_a_limit_out_of_range_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Limits(**values)  # type: ignore[arg-type]
