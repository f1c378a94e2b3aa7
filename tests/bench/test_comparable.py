"""What makes rows comparable is declared once, whole, and every part of a report keeps to it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bench.choices import SWITCHES
from bench.report.labels import PATTERNS
from bench.report.networks import networks_of
from bench.report.rerun import OF_ATTACK, OF_SOLVER, OF_VERIFY
from bench.report.switches import TITLE
from bench.row import ASKED, DRAWN, QUESTION, SETUP, Row
from bench.suite import Cell
from tests.bench.made_rows import made_run, tables_of, verify_row

OF_THE_ROW = {"schema", "cell", "network", "label"}  # what it is, and what follows from the question
# Two values of everything that may explain another answer or time; of the limits the second is one that was met.
VALUES: dict[str, tuple[Any, Any]] = {
    "solver_version": ("1.15.1", "1.16.0"),
    "threads": (1, 2),
    "time_limit_s": (30.0, 60.0),
    "node_limit": (None, 100),
    "mip_gap": (1e-6, 1e-2),
    "feasibility_tolerance": (1e-7, 1e-5),
    "integrality_tolerance": (1e-9, 1e-5),
    "hard_limit_s": (8.0, 80.0),
    "memory_limit_mb": (1000.0, 2000.0),
    "device": ("cpu", "NVIDIA H100"),
} | {name: (values[0], values[-1]) for name, values in SWITCHES.items() if len(values) > 1}
MET = verify_row(method="milp", image=9, targets=[], lower=[], upper=[], status=["memory_limit"], reason="memory limit")


def test_whatever_a_cell_is_asked_is_declared() -> None:
    told_by_row = {"network", "device", "keep_images"}  # by its digest; by the device's name; not at all
    assert {item.name for item in fields(Cell)} - told_by_row == {*ASKED} - {"network_digest", "dataset"}


def test_every_field_of_a_row_that_is_no_answer_is_declared() -> None:
    names = [item.name for item in fields(Row)]
    assert {*names[: names.index("verdict")]} - OF_THE_ROW <= {*ASKED, *SETUP}
    assert {*ASKED, *SETUP} <= {*names}
    assert {*ASKED} - {*SETUP} == {"kind", *QUESTION, "method", "solver", *DRAWN, "images"} | {
        *("target", "steps", "step", "restarts")
    }


def test_there_is_a_value_to_test_and_a_word_for_everything() -> None:
    assert {*VALUES} == {*SETUP} == {*PATTERNS}


def test_a_cell_is_asked_again_with_everything_that_it_was_asked() -> None:
    told_otherwise = {"kind", "network_digest", "dataset", "norm", "repeat"}
    assert {*ASKED} - told_otherwise == {*OF_VERIFY, *OF_SOLVER, *OF_ATTACK} - {"device"}


def rows(name: str) -> list[Row]:
    """Rows that differ in one thing, a hundred times apart in time: of two solvers, and in a switch or a solver too."""
    version: dict[str, Any] = {"solver_version": "13"} if name != "solver_version" else {}
    gurobi = version | {"solver": "gurobi"}
    one, two = ({"method": "milp", "goal": "verdict", name: value} for value in VALUES[name])
    by_two_solvers = [verify_row(**asked | other) for asked in (one, two) for other in ({}, gurobi)]
    in_a_switch_too = [verify_row(image=1, **one), verify_row(image=1, **two | {"bounds": "interval"}, total_s=10.0)]
    by_another_solver = [verify_row(image=2, **one), verify_row(image=2, **two | gurobi, total_s=10.0)]
    return [*by_two_solvers, *in_a_switch_too, *by_another_solver, MET]


@pytest.mark.parametrize("name", SETUP)
def test_rows_that_differ_in_it_are_no_repeats_and_no_pair(tmp_path: Path, name: str) -> None:
    run = made_run(tmp_path, *rows(name))
    (network,) = networks_of(run)
    labelled = network.labelled
    assert labelled.loc[labelled["image"] == 0, "setup"].nunique() == 4
    table = tables_of(run).get(TITLE)
    assert name == "bounds" or table is None or "bounds" not in table.frame["switch"].tolist()
    if name != "solver_version":  # which makes each version a competitor of its own
        contest = network.solvers["milp"]
        shared = contest.shared("highs", "gurobi").groupby(contest.instance_of).any()
        instances = labelled.drop_duplicates("image").set_index("image")["instance"]
        assert shared[instances[[0, 2]]].tolist() == [True, False]


def test_hard_limits_that_explain_nothing_make_no_setup(tmp_path: Path) -> None:
    """Each machine has another limit on memory, and a time limit comes with a hard one."""
    values = ({"hard_limit_s": 40.0, "memory_limit_mb": 1e3}, {"hard_limit_s": 50.0, "memory_limit_mb": 2e3})
    rows = [verify_row(image=image, time_limit_s=30.0, **told) for image, told in enumerate(values)]
    assert networks_of(made_run(tmp_path, *rows))[0].labelled["setup"].unique().tolist() == ["lp"]
