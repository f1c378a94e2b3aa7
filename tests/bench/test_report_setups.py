"""The table of setups against each other, and the lines on contradictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.report.tables import run_sections
from bench.row import Row
from tests.bench.made_rows import failed, made_run, printed, tables_of, verify_row

TITLE = "Setups against each other"


def lines(folder: Path, *rows: Row) -> pd.DataFrame:
    frame = tables_of(made_run(folder, *rows))[TITLE].frame
    return frame.rename(columns=lambda name: name.replace("-\n", "").replace("\n", " "))


def section_lines(folder: Path, *rows: Row) -> list[str]:
    return [line for line in run_sections(made_run(folder, *rows))[0].lines if "ontradiction" in line]


def test_setups_are_compared_on_the_instances_of_all(tmp_path: Path) -> None:
    textbook: dict[str, Any] = {"method": "milp", "formulation": "textbook"}
    rows = [
        verify_row(**textbook, image=0, total_s=60.0, verdict="verified"),
        verify_row(**textbook, image=1, total_s=90.0, verdict="falsified"),
        *(verify_row(method="staged", image=image, total_s=0.5, verdict="verified") for image in range(3)),
    ]
    frame = lines(tmp_path, *rows)
    assert frame[["method", "verified", "falsified", "unknown"]].values.tolist() == [
        ["staged", 2, 0, 0],
        ["milp", 1, 1, 0],
    ]
    assert frame[["total time", "times the first"]].values.tolist() == [[1.0, 1.0], [150.0, 150.0]]
    assert tables_of(made_run(tmp_path, *rows))[TITLE].notes == ("Over the 2 instances that every setup measured.",)


def test_the_first_is_the_fastest_of_those_that_decide_most(tmp_path: Path) -> None:
    rows = [
        verify_row(method="interval", total_s=0.01),
        verify_row(total_s=2.0, verdict="verified"),
        verify_row(method="milp", total_s=8.0, verdict="verified"),
    ]
    frame = lines(tmp_path, *rows)
    assert frame["method"].tolist() == ["lp", "milp", "interval"]
    assert frame["times the first"].tolist() == [1.0, 4.0, 0.005]


def test_times_at_the_limit_count_and_are_marked(tmp_path: Path) -> None:
    limit: dict[str, Any] = {"status": ["time_limit"] * 2, "reason": "time limit"}
    rows = [verify_row(verdict="verified"), verify_row(method="milp", total_s=30.0, **limit)]
    assert lines(tmp_path, *rows)["at limit"].tolist() == [0, 1]
    assert "at limit" not in lines(tmp_path, rows[0], verify_row(method="milp"))


def test_a_setup_that_measured_nothing_stands_in_nobodys_way(tmp_path: Path) -> None:
    licence: dict[str, Any] = {"solver": "gurobi", "status": ["licence"] * 2, "total_s": 0.001}
    rows = [verify_row(), verify_row(method="milp"), failed(verify_row(solver="cbc"), "OSError: no cbc")]
    rows.append(verify_row(**licence))
    assert lines(tmp_path, *rows)["method"].tolist() == ["lp highs", "milp"]


@pytest.mark.parametrize("other", [{"image": 1}, {"epsilon": 0.2}])
def test_setups_without_a_common_instance_are_not_compared(tmp_path: Path, other: dict[str, Any]) -> None:
    run = made_run(tmp_path, verify_row(), verify_row(method="milp", **other))
    assert TITLE not in tables_of(run)
    assert run_sections(run)[0].lines[-1] == "No instance was measured by every setup."


def test_one_setup_alone_is_not_compared(tmp_path: Path) -> None:
    assert TITLE not in tables_of(made_run(tmp_path, verify_row(), verify_row(image=1)))


def test_repeats_count_once(tmp_path: Path) -> None:
    rows = [verify_row(repeat=repeat, total_s=total_s) for repeat, total_s in enumerate((1.0, 2.0, 9.0))]
    frame = lines(tmp_path, *rows, verify_row(method="milp", total_s=4.0))
    assert frame["total time"].tolist() == [2.0, 4.0]
    assert frame["unknown"].tolist() == [1, 1]


def test_a_contradiction_is_said_with_image_epsilon_and_setups(tmp_path: Path) -> None:
    rows = [
        verify_row(method="linear", verdict="verified", image=3),
        verify_row(verdict="verified", image=3),
        verify_row(method="staged", verdict="falsified", image=3),
        verify_row(method="milp", image=3),
    ]
    assert section_lines(tmp_path, *rows) == [
        "Contradiction on image 3, epsilon 0.1: verified by linear, lp; falsified by staged."
    ]


def test_repeats_of_one_setup_can_contradict_each_other(tmp_path: Path) -> None:
    rows = [verify_row(repeat=0, verdict="verified"), verify_row(repeat=1, verdict="falsified")]
    assert section_lines(tmp_path, *rows) == ["Contradiction on image 0, epsilon 0.1: verified by lp; falsified by lp."]


def test_different_questions_do_not_contradict_each_other(tmp_path: Path) -> None:
    rows = [verify_row(verdict="verified"), verify_row(method="milp", verdict="falsified", epsilon=0.2)]
    assert section_lines(tmp_path, *rows) == []


def test_of_many_contradictions_the_first_are_shown(tmp_path: Path) -> None:
    rows = [
        verify_row(method=method, verdict=verdict, image=image)
        for image in range(8)
        for method, verdict in (("lp", "verified"), ("milp", "falsified"))
    ]
    said = section_lines(tmp_path, *rows)
    assert (len(said), said[-1]) == (6, "And 3 more contradictions.")


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_a_terminal(tmp_path: Path, width: int) -> None:
    rows = [
        verify_row(method="milp", goal=goal, bounds=bounds, total_s=12345.0, status=["time_limit"] * 2)
        for goal in ("margin", "verdict")
        for bounds in ("interval", "lp")
    ]
    text = printed(run_sections(made_run(tmp_path, *rows)), width)
    assert max(map(len, text)) <= width
    assert any("milp, bounds lp, goal verdict" in line and "12,345 s" in line for line in text[text.index(TITLE) :])
