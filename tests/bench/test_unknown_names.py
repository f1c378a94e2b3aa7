"""Rows of methods, solvers, statuses and tiers that this version does not know crash no command that reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.row import Row
from tests.bench.made_rows import attack_row, failed, verify_row, write_run
from tests.conftest import RunCommand

FOREIGN = [
    replace(
        verify_row(image=0, verdict="verified"),
        method="abcrown",
        solver="their_own",
        status=["split", "split"],
        tier="sworn",
    ),
    replace(verify_row(image=1), method="abcrown", solver=None, solver_version=None, goal=None, reason="out of ideas"),
    replace(verify_row(image=2, method="staged"), stage=["dreamt", ""], bounds="zonotopes", bounds_used="zonotopes"),
    replace(verify_row(image=3, method="lp"), formulation="extended", relu="spline", stop="whim", start="cold"),
    replace(failed(verify_row(image=4), "Oops"), method="abcrown", solver="their_own"),
    replace(
        verify_row(image=5),
        method="abcrown",
        reason="time limit",
        status=["time_limit"],
        targets=[],
        lower=[],
        upper=[],
    ),
    replace(attack_row(), method="cw", norm="l7", device="TPU v9"),
]


def cells(rows: list[Row]) -> list[Row]:
    return [replace(row, cell=f"cell {index}", counters={"splits": 3, "nodes": 7}) for index, row in enumerate(rows)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "foreign", cells(FOREIGN), suite={"name": "theirs"})


def test_status_counts_them(folder: Path, relubench: RunCommand) -> None:
    ended = relubench("status", folder, "--json")
    assert ended.code == 0
    labels = {line["label"]: line["done"] for line in json.loads(ended.out)["lines"]}
    assert labels["abcrown their_own"] == 2
    assert labels["cw"] == 1
    assert "abcrown their_own" in relubench("status", folder).out


def test_compare_joins_them_and_sees_what_changed(folder: Path, tmp_path: Path, relubench: RunCommand) -> None:
    same = relubench("compare", folder, folder)
    assert (same.code, same.err) == (0, "")
    changed = cells([replace(FOREIGN[0], lower=[1.0, 0.25]), *FOREIGN[1:]])
    other = write_run(tmp_path / "other", changed, suite={"name": "theirs"})
    ended = relubench("compare", folder, other)
    assert (ended.code, "abcrown" in ended.out) == (0, True)  # no word says that its search must repeat


def test_check_tests_them(folder: Path, relubench: RunCommand) -> None:
    ended = relubench("check", folder, "--json")
    assert ended.code in (0, 3)
    assert sum(json.loads(ended.out)["tested"].values()) > 0
