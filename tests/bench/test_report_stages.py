"""The table of the stages of staged verification."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.report.tables import run_sections
from bench.row import Row
from tests.bench.made_rows import failed, made_run, printed, tables_of, verify_row

COLUMNS = ["stage", "n", "targets", "verified", "falsified", "median time", "total time", "share"]


def staged_row(stage: list[str], **values: Any) -> Row:
    return verify_row(method="staged", **{"verdict": "verified", "stage": stage} | values)


def lines(folder: Path, *rows: Row) -> pd.DataFrame:
    frame = tables_of(made_run(folder, *rows))["Stages"].frame
    return frame.rename(columns=lambda name: name.replace("-\n", "").replace("\n", " "))


def test_stages_show_what_they_decide_end_and_cost(tmp_path: Path) -> None:
    rows = [
        staged_row(["interval", "milp"], stage_s={"attack": 1.0, "interval": 1.0, "milp": 6.0}, total_s=10.0),
        staged_row(["interval", "interval"], image=1, stage_s={"attack": 2.0, "interval": 2.0}, total_s=5.0),
        staged_row(["", "attack"], image=2, verdict="falsified", stage_s={"attack": 5.0}, total_s=5.0),
    ]
    frame = lines(tmp_path, *rows)
    assert frame[COLUMNS].values.tolist() == [
        ["attack", 3, 1, 0, 1, 2.0, 8.0, 0.4],
        ["interval", 2, 3, 1, 0, 1.5, 3.0, 0.15],
        ["milp", 1, 1, 1, 0, 6.0, 6.0, pytest.approx(0.3)],
    ]
    assert "method" not in frame  # one setup alone needs no name


def test_an_unknown_instance_is_ended_by_no_stage(tmp_path: Path) -> None:
    row = staged_row(["linear", ""], verdict="unknown", stage_s={"linear": 1.0, "milp": 9.0})
    assert lines(tmp_path, row)[COLUMNS[:5]].values.tolist() == [["linear", 1, 1, 0, 0], ["milp", 1, 0, 0, 0]]


def test_rows_in_which_no_stage_decided_anything_still_cost(tmp_path: Path) -> None:
    frame = lines(tmp_path, staged_row(["", ""], verdict="unknown", stage_s={"attack": 1.0}, total_s=2.0))
    assert frame[COLUMNS].values.tolist() == [["attack", 1, 0, 0, 0, 1.0, 1.0, 0.5]]


def test_repeats_count_once_with_median_seconds_and_the_latest_stage(tmp_path: Path) -> None:
    rows = [
        staged_row(["lp", "lp"], repeat=0, stage_s={"lp": 1.0}, total_s=2.0),
        staged_row(["lp", "milp"], repeat=1, stage_s={"lp": 3.0, "milp": 4.0}, total_s=10.0),
    ]
    frame = lines(tmp_path, *rows)
    assert frame[COLUMNS[:7]].values.tolist() == [["lp", 1, 1, 0, 0, 2.0, 2.0], ["milp", 1, 1, 1, 0, 4.0, 4.0]]
    assert frame["share"].tolist() == [pytest.approx(2 / 6), pytest.approx(4 / 6)]


def test_epsilons_and_setups_have_lines_of_their_own(tmp_path: Path) -> None:
    rows = [
        staged_row(["lp", "lp"], epsilon=epsilon, solver=solver, stage_s={"lp": 1.0})
        for epsilon in (0.2, 0.1)
        for solver in ("highs", "gurobi")
    ]
    frame = lines(tmp_path, *rows)
    assert frame[["epsilon", "method"]].values.tolist() == [
        [0.1, "staged gurobi"],
        [0.1, "staged highs"],
        [0.2, "staged gurobi"],
        [0.2, "staged highs"],
    ]
    assert frame["share"].tolist() == [10.0] * 4


def test_a_stage_of_another_name_comes_last(tmp_path: Path) -> None:
    row = staged_row(["guess", "milp"], stage_s={"guess": 1.0, "milp": 1.0})
    assert lines(tmp_path, row)["stage"].tolist() == ["milp", "guess"]


def test_without_staged_rows_or_where_all_failed_there_is_no_table(tmp_path: Path) -> None:
    assert "Stages" not in tables_of(made_run(tmp_path, verify_row()))
    assert "Stages" not in tables_of(made_run(tmp_path, failed(staged_row([]), "OSError: gone")))


def test_rows_without_the_time_of_the_whole_have_no_share(tmp_path: Path) -> None:
    share = lines(tmp_path, staged_row(["lp", "lp"], stage_s={"lp": 1.0}, total_s=None))["share"]
    assert math.isnan(share[0])


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_a_terminal(tmp_path: Path, width: int) -> None:
    stage_s = dict.fromkeys(("attack", "interval", "linear", "alpha", "lp", "tighten", "milp"), 123.4)
    rows = [
        staged_row(["tighten", "milp"], image=image, bounds=bounds, stage_s=stage_s, total_s=7 * 123.4)
        for image in range(20)
        for bounds in ("interval", "milp")
    ]
    text = printed(run_sections(made_run(tmp_path, *rows)), width)
    assert max(map(len, text)) <= width
    assert sum("123 s" in line and "14 %" in line for line in text) == 14
