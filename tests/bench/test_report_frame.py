"""From the files of a run to its data frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.report.frame import load_run
from networks.errors import InputError
from tests.bench.made_rows import made_run, verify_row, write_run


def test_bound_gap_is_against_the_best_upper_bound_of_any_method(tmp_path: Path) -> None:
    rows = [
        verify_row(lower=[1.0, -1.0], upper=[4.0, 2.0]),
        verify_row(method="milp", lower=[2.0, 0.5], upper=[2.5, 3.0]),
        verify_row(method="interval", image=1, lower=[-5.0, -5.0], upper=[0.0, 0.0]),  # another image: another margin
    ]
    gaps = made_run(tmp_path, *rows).rows["bound_gap"]
    assert gaps.tolist() == [((2.5 - 1.0) + (2.0 + 1.0)) / 2, ((2.5 - 2.0) + (2.0 - 0.5)) / 2, 5.0]


@pytest.mark.parametrize("other", [{"epsilon": 0.2}, {"clip": None}, {"network_digest": "d9"}])
def test_upper_bounds_of_other_questions_do_not_count(tmp_path: Path, other: dict[str, Any]) -> None:
    run = made_run(tmp_path, verify_row(), verify_row(upper=[-9.0, -9.0], **other))
    assert run.rows["bound_gap"][0] == 3.0


@pytest.mark.parametrize(
    ("values", "status", "solved"),
    [
        ({"status": ["optimal", "optimal"]}, "optimal", True),
        ({"status": ["optimal", "time_limit"]}, "time_limit", False),
        ({"status": ["optimal", "time_limit"], "verdict": "falsified"}, "time_limit", False),  # a margin stays open
        ({"status": ["skipped", "target_reached"], "verdict": "falsified"}, "target_reached", True),
        ({"status": ["skipped", "skipped"], "verdict": "falsified"}, "skipped", True),
        ({"status": ["skipped", "optimal"]}, "skipped", False),
        ({"status": ["time_limit", "target_reached"], "verdict": "falsified", "goal": "verdict"}, "time_limit", True),
        ({"status": []}, "unknown", False),
    ],
)
def test_a_row_is_solved_where_nothing_is_left_of_its_question(
    tmp_path: Path, values: dict[str, Any], status: str, solved: bool
) -> None:
    rows = made_run(tmp_path, verify_row(method="milp", **values)).rows
    assert (rows["status"][0], rows["solved"][0]) == (status, solved)


def test_the_rows_own_reason_comes_before_its_status(tmp_path: Path) -> None:
    limit: dict[str, Any] = {"status": ["time_limit", "bounded"]}
    rows = [verify_row(reason="contradicted", **limit), verify_row(image=1, **limit), verify_row(image=2)]
    assert made_run(tmp_path, *rows).rows["reason"].tolist() == ["contradicted", "time limit", "not decided"]


def test_tidy_rows_have_switches_and_stages(tmp_path: Path) -> None:
    stages: dict[str, Any] = {"stage": ["interval", ""], "stage_s": {"interval": 0.1, "lp": 0.2}}
    run = made_run(tmp_path, verify_row(method="staged", **stages), verify_row(method="linear"))
    assert run.rows[["bounds", "start", "stage_s.lp"]].iloc[0].tolist() == ["linear", "none", 0.2]
    assert run.rows[["bounds", "start", "stage_s.lp"]].iloc[1].isna().all()
    assert run.targets["stage"].tolist() == ["interval", "", "", ""]


def test_a_torn_last_line_is_passed_over_with_a_note(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [verify_row(), verify_row(image=1)])
    path = folder / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    run = load_run(folder)
    assert len(run.rows) == 1
    assert run.notes == ("rows.jsonl, line 2: torn while it was written; passed over",)
    path.write_bytes(b"\0" * 40 + b"\n" + verify_row().to_json().encode() + b"\n")
    assert load_run(folder).notes == ("rows.jsonl, line 1: torn while it was written; passed over",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[]", "line 2: expected a JSON object, found list"),
        ("{}", "line 2: cell: field required"),
        (verify_row().to_json().replace('"epsilon": 0.1', '"epsilon": "wide"'), "line 2: epsilon: "),
        (verify_row(targets=[1]).to_json(), "line 2: targets, lower and upper have 1, 2 and 2 entries"),
    ],
)
def test_a_malformed_line_is_refused_with_file_and_number(tmp_path: Path, line: str, said: str) -> None:
    folder = write_run(tmp_path, [verify_row()])
    with (folder / "rows.jsonl").open("a") as file:
        file.write(line + "\n" + verify_row(image=1).to_json() + "\n")
    with pytest.raises(InputError) as caught:
        load_run(folder)
    assert str(folder / "rows.jsonl") in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"rows\.jsonl cannot be read: No such file"):
        load_run(tmp_path)
    with pytest.raises(InputError, match="no complete row"):
        load_run(write_run(tmp_path, []))


def test_a_malformed_manifest_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [verify_row()])
    (folder / "manifest.json").write_text("[1]")
    with pytest.raises(InputError, match=r"manifest\.json: not the manifest of a run; expected a JSON object"):
        load_run(folder)
