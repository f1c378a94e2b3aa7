"""Several runs reported together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.report.frame import load_runs
from bench.report.labels import with_setup
from bench.report.summary import summary_section
from bench.row import Row
from networks.errors import InputError
from tests.bench.made_rows import tables_of, verify_row, write_run


def suite(name: str) -> dict[str, Any]:
    return {"suite": {"name": name, "description": f"the suite {name}"}, "starts": [{"cpu": f"CPU of {name}"}]}


def test_each_row_knows_its_run_its_folder_and_its_line(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [verify_row(), verify_row(image=1)], **suite("quick"))
    two = write_run(tmp_path / "two", [verify_row(method="interval", error="caf\u00e9: gone")], **suite("other"))
    run = load_runs([one, two])
    assert run.names == ["one", "two"]
    assert run.rows["run"].tolist() == ["one", "one", "two"]
    assert run.rows["suite"].tolist() == ["quick", "quick", "other"]
    assert [run.folder_of(index) for index in run.rows.index] == [one, one, two]
    for index in run.rows.index:
        assert json.loads(run.raw(index))["image"] == run.rows["image"][index]
        assert Row.from_json(run.raw(index)).cell == run.rows["cell"][index]
    assert run.rows["instance"][0] == run.rows["instance"][2] != run.rows["instance"][1]
    assert run.rows["bound_gap"].tolist() == [3.0, 3.0, 3.0]
    assert run.suite_name == "quick, other"
    assert "Runs: one (2 rows), two (1 rows)." in summary_section(run).lines


def test_a_row_measured_again_is_the_line_that_counts(tmp_path: Path) -> None:
    first, last = verify_row(cell="a", total_s=1.0), verify_row(cell="a", total_s=2.0)
    run = load_runs([write_run(tmp_path / "run", [first, verify_row(cell="b"), last])])
    assert [json.loads(run.raw(index))["cell"] for index in run.rows.index] == run.rows["cell"].tolist()
    assert json.loads(run.raw(run.rows.index[run.rows["cell"] == "a"][0]))["total_s"] == 2.0


def test_runs_of_one_suite_are_setups_of_their_own_and_those_of_others_add_up(tmp_path: Path) -> None:
    same = [write_run(tmp_path / name, [verify_row()], **suite("quick")) for name in ("base", "head")]
    other = write_run(tmp_path / "other", [verify_row()], **suite("other"))
    assert with_setup(load_runs(same).rows)["setup"].tolist() == ["lp, run base", "lp, run head"]
    assert with_setup(load_runs([same[0], other]).rows)["setup"].tolist() == ["lp", "lp"]
    verdicts = tables_of(load_runs(same))["Verdicts"].frame
    assert verdicts["method"].tolist() == ["lp, run base", "lp, run head"]


def test_runs_of_the_same_name_are_named_by_the_folders_above(tmp_path: Path) -> None:
    folders = [tmp_path / parent / "run" for parent in ("a", "b")]
    for folder in folders:
        folder.parent.mkdir()
        write_run(folder, [verify_row()])
    assert load_runs(folders).names == [str(Path("a", "run")), str(Path("b", "run"))]


def test_a_folder_named_twice_counts_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [verify_row()])
    run = load_runs([folder, tmp_path / "run" / ".." / "run"])
    assert len(run.rows) == 1
    assert run.folders == (folder,)


def test_runs_contradict_each_other(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [verify_row(lower=[5.0, 1.0], upper=[6.0, 6.0], claimed=[5.0, 1.0])])
    two = write_run(tmp_path / "two", [verify_row(method="milp", lower=[1.0, 1.0], upper=[1.0, 1.0])])
    assert load_runs([one]).judgement.findings == ()
    run = load_runs([one, two])
    assert run.rows["outcome"].tolist() == ["contradicted", "unknown"]


def test_notes_say_of_which_run_they_are(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, [verify_row(), verify_row()]) for name in ("one", "two")]
    told = "1 rows were measured again later: the last of each cell counts"
    assert load_runs(folders[:1]).notes == (told,)
    assert load_runs(folders).notes == (f"{folders[0]}: {told}", f"{folders[1]}: {told}")


def test_a_file_that_went_away_is_told(tmp_path: Path) -> None:
    run = load_runs([write_run(tmp_path / "run", [verify_row()])])
    (tmp_path / "run" / "rows.jsonl").unlink()
    with pytest.raises(InputError, match=r"rows\.jsonl cannot be read: No such file"):
        run.raw(0)
