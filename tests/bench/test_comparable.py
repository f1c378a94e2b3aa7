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
    """Two setups of the MILP that differ in one thing, by two solvers; they are a hundred times apart."""
    usual: dict[str, Any] = {"method": "milp", "goal": "verdict", "mip_gap": 1e-6}
    asked = [verify_row(**usual | {name: value}, total_s=10.0**k) for k, value in enumerate(VALUES[name])]
    other = {"solver": "gurobi"} | ({"solver_version": "13"} if name != "solver_version" else {})
    asked += [verify_row(**usual | other | {name: value}) for value in VALUES[name]]
    return [*asked, MET]


@pytest.mark.parametrize("name", SETUP)
def test_rows_that_differ_in_it_are_no_repeats(tmp_path: Path, name: str) -> None:
    (network,) = networks_of(made_run(tmp_path, *rows(name)))
    setups = network.labelled.drop(index=network.labelled.index[-1])["setup"]
    assert setups.nunique() == 4


@pytest.mark.parametrize("name", [name for name in SETUP if name != "bounds"])
def test_rows_that_differ_in_it_too_show_nothing_of_a_switch(tmp_path: Path, name: str) -> None:
    one, two = ({"method": "milp", "goal": "verdict", name: value} for value in VALUES[name])
    table = tables_of(made_run(tmp_path, verify_row(**one), verify_row(**two | {"bounds": "interval"}), MET)).get(TITLE)
    assert table is None or "bounds" not in table.frame["switch"].tolist()


@pytest.mark.parametrize("name", [name for name in SETUP if name != "solver_version"])
def test_solvers_do_not_compete_where_they_differ_in_it(tmp_path: Path, name: str) -> None:
    one, two = ({"method": "milp", "goal": "verdict", name: value} for value in VALUES[name])
    run = made_run(tmp_path, verify_row(**one), verify_row(**two | {"solver": "gurobi"}), MET)
    contest = networks_of(run)[0].solvers["milp"]
    assert not contest.shared("highs", "gurobi").any()


def test_hard_limits_that_explain_nothing_make_no_setup(tmp_path: Path) -> None:
    """Each machine has another limit on memory, and a time limit comes with a hard one."""
    values = ({"hard_limit_s": 40.0, "memory_limit_mb": 1e3}, {"hard_limit_s": 50.0, "memory_limit_mb": 2e3})
    rows = [verify_row(image=image, time_limit_s=30.0, **told) for image, told in enumerate(values)]
    assert networks_of(made_run(tmp_path, *rows))[0].labelled["setup"].unique().tolist() == ["lp"]
