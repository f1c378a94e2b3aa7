"""Which rows of a folder count after its suite was edited: those of its present plan, for every command alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.compare.lanes import RunFiles
from bench.outside import glance
from bench.report.frame import load_run
from bench.store import PLAN, ROWS, read_manifest
from networks.errors import InputError
from tests.bench.suites import plan_of, read_rows, run_into
from tests.conftest import RunCommand


def ran(home: Path, network: Path, *methods: str, epsilons: tuple[float, ...] = (0.01,)) -> Path:
    run_into(home / "run", plan_of(home, network, methods=[*methods], epsilons=[*epsilons]))
    return home / "run"


def test_rows_of_a_suite_as_it_was_count_for_no_command(
    tmp_path: Path, tiny_network: Path, relubench: RunCommand
) -> None:
    ran(tmp_path, tiny_network, "interval", "linear", "lp")
    folder = ran(tmp_path, tiny_network, "interval", "linear")  # nothing is left to measure
    assert len(read_rows(folder)) == 3
    run, seen, compared = load_run(folder), glance(folder), RunFiles.read(folder)
    note = f"1 cells in {ROWS} are not of suite tiny as it was last run: not counted"
    assert sorted(run.rows["method"]) == sorted(row.method for row in compared.rows) == ["interval", "linear"]
    assert sum(tally.counts["done"] for tally in seen.counts.tallies) == 2
    assert run.notes == seen.notes == compared.notes == (note,)
    assert read_manifest(folder)["suite"]["verify"][0]["methods"] == ["interval", "linear"]
    assert len(read_manifest(folder)["starts"]) == 1  # the second measured nothing
    for command in ("check", "report"):
        assert note in relubench(command, folder).err


def test_a_cell_that_comes_back_counts_again_and_is_not_measured_again(tmp_path: Path, tiny_network: Path) -> None:
    ran(tmp_path, tiny_network, "interval", "linear")
    ran(tmp_path, tiny_network, "interval")
    folder = ran(tmp_path, tiny_network, "interval", "linear")
    assert len(read_rows(folder)) == len(load_run(folder).rows) == 2


def test_where_no_plan_is_kept_every_row_counts(tmp_path: Path, tiny_network: Path) -> None:
    folder = ran(tmp_path, tiny_network, "interval")
    ran(tmp_path, tiny_network, "linear")
    (folder / PLAN).unlink()
    assert len(load_run(folder).rows) == len(RunFiles.read(folder).rows) == 2


def test_a_plan_without_a_row_has_nothing_to_report(tmp_path: Path, tiny_network: Path) -> None:
    folder = ran(tmp_path, tiny_network, "interval")
    plan = json.loads((folder / PLAN).read_text())
    plan["lines"][0] |= {"there": [], "missing": ["another"]}
    (folder / PLAN).write_text(json.dumps(plan))
    with pytest.raises(InputError, match="no row of suite tiny as it was last run"):
        load_run(folder)
