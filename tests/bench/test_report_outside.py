"""Rows with words that this version does not know go through every form of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.choices import REPORT_FILES
from bench.report.content import content_of
from bench.report.figures.theme import COLOURS, METHOD_COLOURS, MOST, by_method
from bench.report.files import write_report
from bench.report.frame import Run, load_run
from bench.report.headline import headline_section
from bench.store import save_npz
from tests.bench.made_rows import attack_row, failed, made_run, only, tables_of, verify_row, write_run

METHODS = ("interval", "lp", "alpha/beta", "lp relaxed", "crown")  # the last three are of no table of ours


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Methods, solvers, a switch's value, statuses, stages, reasons, tiers and counters that nobody declared."""
    rows = [
        verify_row(
            method=method,
            solver=solver,
            image=image,
            total_s=1.0 + image + len(method),
            time_limit_s=30.0,
            lower=[1.0, -float(len(method))],
            counters={"beams": 3},
        )
        for method in METHODS
        for solver in ("highs", "abc")
        for image in range(3)
    ]
    rows += [verify_row(method="crown", solver=None, solver_version=None, image=image) for image in range(3)]
    rows += [
        verify_row(method="crown", bounds="zonotope", image=image, verdict="verified", tier="lean") for image in (5, 6)
    ]
    rows += [
        verify_row(
            method="crown",
            image=7,
            status=["overheated"] * 2,
            reason="overheated",
            stage=["cut", ""],
            stage_s={"cut": 1.0},
        ),
        verify_row(method="crown", image=8, arrays="arrays/a.npz"),
        failed(verify_row(method="crown", image=9), "Crash: no"),
        attack_row(method="square"),
    ]
    run = write_run(tmp_path / "run", rows)
    (run / "arrays").mkdir()
    save_npz(run / "arrays" / "a.npz", trace=np.array([[1.0, 0.0, 3.0, -1.0], [1.0, 1.0, 2.0, 0.0]]))
    return run


def test_every_form_is_written(folder: Path, tmp_path: Path) -> None:
    run = load_run(folder)
    written = write_report(run, content_of(run), tmp_path / "out", REPORT_FILES)
    assert {"report.html", "report.md", "report.tex", "rows.csv", "rows.parquet"} < {*written}
    for name in ("report.html", "report.md", "report.tex", "rows.csv"):
        text = (tmp_path / "out" / name).read_text()
        assert "crown" in text
        assert "overheated" in text


def test_a_tier_of_another_version_is_not_dropped(folder: Path) -> None:
    table = tables_of(load_run(folder))["What the verdicts rest on"]
    assert table.frame["lean"].sum() == 2


def test_a_switchs_value_of_another_version_is_compared(tmp_path: Path) -> None:
    rows = [verify_row(image=image, bounds=bounds) for image in range(2) for bounds in ("linear", "zonotope")]
    assert only(tables_of(made_run(tmp_path, *rows))["What the switches do"])["value"] == "zonotope / linear"


def test_a_method_with_a_stroke_in_its_name_is_no_ratio(tmp_path: Path) -> None:
    run = made_run(tmp_path, verify_row(), verify_row(method="alpha/beta"))
    table = tables_of(run)["How tight the bounds are"]
    assert {"lp", "alpha/beta"} <= {*table.frame}


def test_known_methods_have_their_colours_and_others_what_is_left() -> None:
    names = ["crown", "lp, bounds interval", "lp highs", "square", "milp"]
    colours = by_method(names, METHOD_COLOURS)
    assert colours[1] == METHOD_COLOURS["lp"]
    assert colours[4] == METHOD_COLOURS["milp"]
    assert len({*colours}) == len(names)
    many = [f"method{k}" for k in range(MOST)]
    assert {*by_method(many, METHOD_COLOURS)} == {*COLOURS}


def unsafe(**values: Any) -> Any:
    return verify_row(reason="numerically unsafe", evidence="numerically unsafe: safety 3.2", **values)


def test_numerically_unsafe_is_a_reason_as_any(tmp_path: Path) -> None:
    run: Run = made_run(tmp_path, unsafe(method="milp"), unsafe(method="milp", solver="scip"))
    reasons = tables_of(run)["Why rows are unknown or failed"].frame
    assert reasons["reason"].tolist() == ["numerically unsafe"] * 2
    ended = tables_of(run)["Setups against each other"].frame
    assert ended["numerically unsafe"].tolist() == [1, 1]
    text = pd.concat([table.cells() for table in headline_section(run).tables]).to_string()
    assert "0/1" in text
