"""The methods' lower bounds against each other, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.made_rows import failed, made_run, only, tables_of, verify_row

TIGHTNESS, COST = "How tight the bounds are", "What tighter bounds cost"


def test_rows_without_a_finite_bound_are_left_out_of_the_gap_and_counted(tmp_path: Path) -> None:
    rows = [verify_row(), verify_row(image=1, lower=[1.0, None]), failed(verify_row(image=2), "OSError: disk")]
    line = only(tables_of(made_run(tmp_path, *rows))["Bound gaps"], method="lp")
    assert (line["bound gap"], line["no bound"], line["n"]) == (3.0, 1, 2)


def test_rows_that_answer_a_sign_owe_no_bound(tmp_path: Path) -> None:
    skipped: dict[str, Any] = {"lower": [1e-6, None], "status": ["target_reached", "skipped"], "upper": [-1.0, 2.0]}
    rows = [
        verify_row(),
        verify_row(method="milp", goal="verdict", verdict="falsified", **skipped),
        verify_row(method="staged", verdict="falsified", **skipped),
    ]
    table = tables_of(made_run(tmp_path, *rows))["Bound gaps"]
    assert table.frame["method"].tolist() == ["lp"]
    assert table.frame["bound gap"].tolist() == [((-1.0 - 1.0) + (2.0 + 1.0)) / 2]  # their inputs' margins count
    assert "Bound gaps" not in tables_of(made_run(tmp_path, *rows[1:]))


def test_methods_are_compared_over_common_targets(tmp_path: Path) -> None:
    rows = [
        verify_row(method="interval", lower=[-4.0, -2.0], total_s=0.01),
        verify_row(lower=[1.0, 0.0], total_s=0.1),
        verify_row(method="milp", lower=[2.0, None], status=["optimal", "time_limit"], total_s=3.0),
    ]
    tables = tables_of(made_run(tmp_path, *rows))
    line = only(tables[TIGHTNESS], epsilon=0.1)
    assert line[["targets", "interval", "lp", "milp"]].tolist() == [1, -4.0, 1.0, 2.0]
    line = only(tables[COST], epsilon=0.1)
    assert line["lp / interval"] == pytest.approx(10)
    assert line["milp / lp"] == pytest.approx(30)


def test_a_method_with_one_solver_is_compared_with_every_solver_of_the_next(tmp_path: Path) -> None:
    rows = [verify_row(), *(verify_row(method="milp", solver=name, lower=[2.0, 1.0]) for name in ("cbc", "gurobi"))]
    frame = tables_of(made_run(tmp_path, *rows))[TIGHTNESS].frame
    assert frame["variant"].tolist() == ["cbc", "gurobi"]
    assert frame["lp"].tolist() == [0.0, 0.0]


def test_variants_of_two_methods_are_not_mixed(tmp_path: Path) -> None:
    rows = [
        verify_row(method="interval", lower=[-9.0, -9.0]),
        verify_row(lower=[1.0, 1.0]),
        verify_row(lower=[2.0, 2.0], bounds="alpha"),
        verify_row(method="milp", lower=[4.0, 4.0]),
        verify_row(method="milp", lower=[5.0, 5.0], bounds="alpha"),
    ]
    frame = tables_of(made_run(tmp_path, *rows))[TIGHTNESS].frame
    assert frame[["variant", "interval", "lp", "milp"]].values.tolist() == [
        ["usual", -9.0, 1.0, 4.0],
        ["bounds alpha", -9.0, 2.0, 5.0],
    ]


def test_bounds_that_were_only_to_show_a_sign_are_not_compared(tmp_path: Path) -> None:
    rows = [
        verify_row(method="interval", lower=[-4.0, -2.0]),
        verify_row(lower=[1.0, 0.0]),
        verify_row(goal="verdict", lower=[0.1, -0.5]),
        verify_row(method="staged", lower=[0.1, -0.5]),
    ]
    tables = tables_of(made_run(tmp_path, *rows))
    assert tables[TIGHTNESS].frame[["interval", "lp"]].values.tolist() == [[-3.0, 0.5]]
    assert "staged" not in tables[TIGHTNESS].frame
    assert "answer a sign" in tables[TIGHTNESS].definitions[-1]


def test_bounds_without_times_have_no_costs(tmp_path: Path) -> None:
    tables = tables_of(made_run(tmp_path, *(verify_row(method=method, total_s=None) for method in ("dual", "lp"))))
    assert TIGHTNESS in tables
    assert COST not in tables
