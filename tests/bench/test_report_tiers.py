"""What verdicts rest on, cells that were killed and rows that are contradicted, in every table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.report.summary import contradiction_sections, summary_section
from bench.report.tables import run_sections
from bench.report.tiers import TITLE
from bench.row import Row
from tests.bench.made_rows import attack_row, made_run, only, printed, tables_of, verify_row


def killed(row: Row, status: str) -> Row:
    """The cell, had the harness ended it."""
    nothing: dict[str, Any] = {"targets": [], "lower": [], "upper": [], "error_rate": None, "images_per_s": None}
    return replace(row, **nothing, status=[status], reason=status.replace("_", " "), evidence="killed after 12.5 s")


def test_verdicts_are_counted_by_what_they_rest_on(tmp_path: Path) -> None:
    tiers = [("verified", "certified"), ("verified", "solver"), ("falsified", "float32"), ("falsified", "float64")]
    rows = [verify_row(image=image, verdict=verdict, tier=tier) for image, (verdict, tier) in enumerate(tiers)]
    rows += [verify_row(image=4, verdict="verified", tier="certified"), verify_row(image=5)]
    line = only(tables_of(made_run(tmp_path, *rows))[TITLE], method="lp")
    assert line[["certified", "solver", "float32", "float64 only"]].tolist() == [2, 1, 1, 1]
    assert "not said" not in line


def test_what_floats_make_of_a_verified_instance_is_said_beside_it(tmp_path: Path) -> None:
    rows = [verify_row(image=image, verdict="verified", tier="certified") for image in range(3)]
    assert "float64 wrong" not in only(tables_of(made_run(tmp_path / "none", *rows))[TITLE])
    rows[0] = replace(rows[0], witness_double=True, witness_single=True)
    rows[1] = replace(rows[1], witness_double=False, witness_single=True)
    rows.append(verify_row(image=3, verdict="falsified", tier="float32", witness_double=True, witness_single=True))
    table = tables_of(made_run(tmp_path / "some", *rows))[TITLE]
    assert only(table)[["certified", "float32", "float64 wrong", "float32 wrong"]].tolist() == [3, 1, 1, 2]
    assert table.definitions[-1].startswith("float64 wrong, float32 wrong: verified in real arithmetic")


def test_of_repeats_the_weakest_tier_counts(tmp_path: Path) -> None:
    rows = [
        verify_row(repeat=index, verdict="verified", tier=tier) for index, tier in enumerate(("certified", "solver"))
    ]
    assert only(tables_of(made_run(tmp_path, *rows))[TITLE], method="lp")[["certified", "solver"]].tolist() == [0, 1]


def test_tiers_of_earlier_rows_are_told_where_they_are_plain(tmp_path: Path) -> None:
    rows = [
        verify_row(method="linear", verdict="verified"),
        verify_row(verdict="verified"),
        verify_row(image=1, verdict="falsified", witness_single=True),
        verify_row(image=2, verdict="falsified", witness_single=False),
    ]
    table = tables_of(made_run(tmp_path, *rows))[TITLE]
    assert only(table, method="linear")[["certified", "not said"]].tolist() == [1, 0]
    assert only(table, method="lp")[["certified", "float32", "float64 only", "not said"]].tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("status", ["time_limit", "memory_limit"])
def test_a_cell_that_was_killed_is_unknown_with_its_reason_everywhere(tmp_path: Path, status: str) -> None:
    rows = [
        verify_row(method="milp"),
        killed(verify_row(method="milp", solver="cbc"), status),
        killed(attack_row(network="mnist_small", network_digest="d1"), status),
    ]
    tables = tables_of(made_run(tmp_path, *rows))
    reason = status.replace("_", " ")
    assert only(tables["Verdicts"], method="milp cbc")[["n", "unknown"]].tolist() == [1, 1]
    assert only(tables["Solvers on the MILP"], solver="cbc")[["solved", reason]].tolist() == [0, 1]
    assert only(tables["Why rows are unknown or failed"], method="milp cbc")["reason"] == reason
    assert only(tables["Bound gaps"], method="milp cbc")["no bound"] == 1
    assert "Error under attack" not in tables
    assert only(tables["Attacks without a result"], rows=1)["why"] == reason


def contradicted(**values: Any) -> Row:
    """A row whose bound lies above the margins of its own inputs."""
    return verify_row(method="milp", solver="liar", verdict="verified", lower=[9.0, 9.0], **values)


def test_a_contradicted_row_counts_as_nothing(tmp_path: Path) -> None:
    run = made_run(tmp_path, verify_row(method="milp", verdict="verified", lower=[4.0, 2.0]), contradicted())
    assert run.rows["outcome"].tolist() == ["verified", "contradicted"]
    assert run.rows["solved"].tolist() == [True, False]
    tables = tables_of(run)
    line = only(tables["Verdicts"], method="milp liar")
    assert line[["n", "verified", "contradicted"]].tolist() == [1, 0, 1]
    assert line[["median time", "total time"]].isna().all()
    assert only(tables["Solvers on the MILP"], solver="liar")[["solved", "contradicted"]].tolist() == [0, 1]
    assert tables[TITLE].frame["method"].tolist() == ["milp highs"]
    assert tables["Bound gaps"].frame["method"].tolist() == ["milp highs"]
    assert "1 contradicted" in summary_section(run).lines[0]


def test_contradictions_come_with_who_where_and_by_how_much(tmp_path: Path) -> None:
    assert contradiction_sections(made_run(tmp_path, verify_row())) == []
    (section,) = contradiction_sections(made_run(tmp_path, contradicted()))
    assert any("milp liar (mnist_small, image 0, epsilon 0.1, target 1)" in line for line in section.lines)


@pytest.mark.parametrize("width", [80, 140])
def test_tables_with_contradictions_fit_a_terminal(tmp_path: Path, width: int) -> None:
    run = made_run(tmp_path, verify_row(method="milp", verdict="verified"), contradicted(bounds="lp", total_s=12345.0))
    assert max(map(len, printed([*contradiction_sections(run), *run_sections(run)], width))) <= width
