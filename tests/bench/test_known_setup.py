"""A cell's setup is known before it runs: rows of cells that were killed, failed or crashed have all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.limits import Limits
from bench.plan import Plan, make_plan
from bench.row import ASKED, Row
from bench.suite import load_suite
from networks.errors import InputError
from solvers.registry import get
from tests.bench.broken_backends import Crashing, Failing, Hanging, install
from tests.bench.suites import plan_of, run_into, write_suite
from tests.conftest import RunCommand

OF_THE_SOLVER = ("solver_version", "mip_gap", "feasibility_tolerance", "integrality_tolerance")
SETUP = (*ASKED, *OF_THE_SOLVER, "label", "device", "network", "versions")
ATTACKS = """
[[attack]]
networks = ["mnist_small"]
images = 20
epsilons = [0.05]
methods = ["fgsm", "pgd_linf"]
steps = 2
target = 7
"""


def every_kind(folder: Path, network: object) -> Plan:
    suite = write_suite(folder, network, methods=["interval", "lp", "staged"], solvers=["highs", "cbc"])
    suite.write_text(suite.read_text() + ATTACKS)
    return make_plan(load_suite(suite))


def setups(rows: list[Row]) -> list[dict[str, object]]:
    return [{name: getattr(row, name) for name in SETUP} for row in rows]


def test_a_killed_cell_has_the_setup_that_it_has_when_it_is_measured(tmp_path: Path, tiny_network: Path) -> None:
    plan = every_kind(tmp_path, tiny_network)
    stopped = run_into(tmp_path / "killed", plan, limits=Limits(memory_limit_mb=1.0))
    killed = [place for place, row in enumerate(stopped) if row.reason == "memory limit"]
    assert len(killed) >= len(stopped) // 2  # a cell that is over before the first look at its memory is not
    measured = run_into(tmp_path / "measured", plan)
    assert [row.reason for row in measured if row.kind == "attack"] == [None, None]
    assert setups(stopped) == setups(measured)
    assert all(row.solver_version and row.mip_gap for row in stopped if row.solver)
    assert all((row.label is not None) is (row.kind == "verify") for row in stopped)


def test_so_has_one_that_failed_or_crashed(tmp_path: Path, tiny_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "plugin"))
    broken = [Failing.name, Crashing.name, Hanging.name]
    plan = plan_of(tmp_path, tiny_network, methods=["milp"], solvers=["highs", *broken], time_limit_s=1)
    whole, *others = run_into(tmp_path / "run", plan, limits=Limits(2.0))
    assert [row.error is None for row in others] == [False, False, True]
    for row in others:
        assert {name: getattr(row, name) for name in SETUP if name != "solver"} == {
            name: getattr(whole, name) for name in SETUP if name != "solver"
        }
        assert row.solver_version == get("highs").version()  # which they are, but for what they do to a MILP


def test_a_run_whose_cells_all_failed_ends_with_1(
    tmp_path: Path, tiny_network: Path, relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "plugin"))
    suite = write_suite(tmp_path, tiny_network, methods=["milp"], solvers=[Failing.name])
    for _ in range(2):  # they are tried again
        ended = relubench("run", suite, "--out", tmp_path / "run", "--no-report")
        assert (ended.code, "1 cells, 0 of them were there, 1 failed" in ended.out) == (1, True)
    suite = write_suite(tmp_path, tiny_network, methods=["milp", "interval"], solvers=[Failing.name])
    assert relubench("run", suite, "--out", tmp_path / "run", "--no-report").code == 0


@pytest.mark.parametrize("clip", [[0.2, 0.8], [0.0, 0.99], [-1.0, 0.0]])
def test_a_clip_that_excludes_an_image_is_said_when_planning(
    clip: list[float], tmp_path: Path, tiny_network: Path
) -> None:
    span = rf"the input's values span \[0.0, .*\]; expected values inside the clip \[{clip[0]}, {clip[1]}\]"
    with pytest.raises(InputError, match=f"image 1: {span}"):
        plan_of(tmp_path, tiny_network, images=[1], clip=clip)
    suite = write_suite(tmp_path, tiny_network)
    suite.write_text(f'name = "a"\n{ATTACKS}clip = {clip}\n')
    with pytest.raises(InputError, match=f"the first 20 images: {span}"):
        make_plan(load_suite(suite))
