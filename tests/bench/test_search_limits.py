"""Limits on nodes, the solvers' logs and how searches went, through `verify`, suites and runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import verify
from bench.arrays import arrays_of_row
from bench.plan import make_plan
from bench.row import SCHEMA_VERSION
from bench.suite import Cell, expand, load_suite
from networks import data
from networks.errors import InputError
from tests.bench.suites import plan_of, read_rows, run_into, write_suite
from tests.conftest import RunCommand

CELL = Cell(kind="verify", network="n", image=0, epsilon=0.1, method="milp", solver="highs")


def test_a_search_that_is_limited_by_nodes_ends_there_with_a_bound() -> None:
    x, label = data.test_image(1)
    outcome = verify("mnist_small", x, label, 0.07, "milp", "gurobi", targets=3, node_limit=1)
    assert outcome.status == ("other_limit",)
    assert outcome.reason == "other limit"
    assert outcome.counters["nodes"] <= 1
    assert outcome.counters["solves"] == 1
    assert np.isfinite(outcome.lower).all()


@pytest.mark.parametrize("method", ["lp", "interval"])
def test_a_limit_on_nodes_means_nothing_without_a_milp(method: str) -> None:
    x, label = data.test_image(0)
    with pytest.raises(InputError, match=f"node limit is asked of method {method}|has no such"):
        verify("mnist_small", x, label, 0.01, method, node_limit=5)


@pytest.mark.parametrize("value", [0, -1, 2**31, 1.5])
def test_a_limit_on_nodes_is_a_whole_number_above_zero(value: float) -> None:
    x, label = data.test_image(0)
    with pytest.raises(InputError, match=f"node limit is {value!r}; expected a whole number"):
        verify("mnist_small", x, label, 0.01, "milp", node_limit=value)  # type: ignore[arg-type]


def test_a_solver_without_such_a_limit_is_refused_in_one_line() -> None:
    x, label = data.test_image(0)
    with pytest.raises(InputError, match="has no limit on nodes"):
        verify("mnist_small", x, label, 0.01, "milp", "cvxpy", node_limit=5)


def test_staged_counts_the_work_of_all_its_stages() -> None:
    x, label = data.test_image(1)
    outcome = verify("mnist_small", x, label, 0.05, "staged", "highs")
    assert set(outcome.stage_s) >= {"lp", "milp"}
    asked = outcome.counters["solves"]
    assert asked >= 2  # an LP and a MILP at least
    targets = set(outcome.trace[:, 0].astype(int))
    assert targets <= set(outcome.targets.tolist())
    assert targets


def test_a_search_for_all_targets_at_once_is_traced_as_such() -> None:
    x, label = data.test_image(0)
    outcome = verify("mnist_small", x, label, 0.02, "milp", "gurobi", query="maximum")
    assert set(outcome.trace[:, 0]) == {-1.0}


def test_the_trace_ends_with_the_bracket_of_its_target() -> None:
    x, label = data.test_image(0)
    outcome = verify("mnist_small", x, label, 0.02, "milp", "highs", targets=[2, 3])
    for target, lower, upper in zip(outcome.targets, outcome.lower, outcome.upper, strict=True):
        last = outcome.trace[outcome.trace[:, 0] == target][-1]
        assert last[2] == pytest.approx(upper, abs=1e-5)
        assert last[3] == pytest.approx(lower, abs=1e-5)


def test_a_cell_without_a_limit_on_nodes_keeps_the_digest_it_had() -> None:
    # Of the cell as it was before there were such limits: runs from then go on.
    assert CELL.digest("a") == "55aacaa747164c57d0bc922b2bf1f7027287f079401d8ad8a043d0e39690ceac"
    assert replace(CELL, node_limit=5).digest("a") != CELL.digest("a")


def test_a_suites_limit_on_nodes_is_for_cells_with_a_milp(tmp_path: Path, tiny_network: Path) -> None:
    suite = load_suite(
        write_suite(tmp_path, tiny_network, top="node_limit = 7", methods=["interval", "lp", "milp", "staged"])
    )
    assert [(cell.method, cell.node_limit) for cell in expand(suite)] == [
        ("interval", None),
        ("lp", None),
        ("milp", 7),
        ("staged", 7),
    ]


def test_a_run_keeps_logs_and_traces_and_says_where(tmp_path: Path, tiny_network: Path) -> None:
    plan = plan_of(tmp_path, tiny_network, methods=["interval", "milp"], solvers=["highs", "cbc"], epsilons=[0.1])
    rows = run_into(tmp_path / "run", plan)
    logs = {row.solver: row.log for row in rows}
    assert logs[None] is None
    for solver in ("highs", "cbc"):
        text = (tmp_path / "run" / str(logs[solver])).read_text(encoding="utf-8")
        assert text.count("\n") > 10
    milp = next(row for row in rows if row.solver == "highs")
    assert milp.schema == SCHEMA_VERSION
    (trace,) = arrays_of_row(tmp_path / "run", str(milp.arrays), ("trace",))
    assert trace.shape[1] == 4
    assert set(trace[:, 0].astype(int)) <= set(milp.targets)


def test_logs_can_be_left_out_and_a_second_measurement_begins_anew(
    tmp_path: Path, tiny_network: Path, relubench: RunCommand
) -> None:
    suite = write_suite(tmp_path, tiny_network, methods=["lp"])
    run = tmp_path / "run"
    assert relubench("run", suite, "--out", run, "--no-logs", "--no-report").code == 0
    assert read_rows(run)[0]["log"] is None
    assert not (run / "logs").exists()

    (run / "rows.jsonl").unlink()
    planned = make_plan(load_suite(suite)).cells[0]
    stale = run / "logs" / f"{planned.digest[:32]}.log"
    stale.parent.mkdir()
    stale.write_text("of another measurement", encoding="utf-8")
    assert relubench("run", suite, "--out", run, "--no-report").code == 0
    assert "another measurement" not in stale.read_text(encoding="utf-8")
    assert read_rows(run)[0]["log"] == f"logs/{stale.name}"


def test_verify_appends_the_solvers_log(tmp_path: Path, relubench: RunCommand) -> None:
    log = tmp_path / "highs.log"
    asked = ("verify", "mnist_small", "-e", "0.02", "-m", "milp", "-t", "3", "--node-limit", "1", "--json")
    ended = relubench(*asked, "--log", log)
    assert ended.code == 0
    assert "MIP" in log.read_text(encoding="utf-8")
    assert json.loads(ended.out)["counters"]["solves"] == 1

    ended = relubench(*asked, "--log", tmp_path / "no" / "such" / "folder.log")
    assert ended.code == 2
    assert "folder.log cannot be written" in ended.err
