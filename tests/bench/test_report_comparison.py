"""Comparisons of solvers and of setups: who is compared on what, and that the numbers are those of these instances."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.report.comparison import comparisons
from bench.report.frame import Run
from bench.report.networks import networks_of
from bench.report.render import Section, Table
from bench.row import Row
from tests.bench.made_rows import failed, made_run, printed, verify_row

LIMIT: dict[str, Any] = {"status": ["optimal", "time_limit"], "reason": "time limit", "time_limit_s": 30.0}
SOLVERS, SETUPS = "Solvers on the MILP", "Setups against each other"
FULL, COMMON, TOTALS, PAIRS = (
    ": all instances, with penalties",
    ": what all solved",
    ": total times",
    ": pairs",
)


def milp(solver: str, image: int = 0, total_s: float = 1.0, **values: Any) -> Row:
    """A row that gurobi, highs or cbc solved in some seconds, out of 30."""
    return verify_row(**{"method": "milp", "time_limit_s": 30.0} | values, solver=solver, image=image, total_s=total_s)


def comparison_sections(run: Run) -> list[Section]:
    return [section for network in networks_of(run) for section in comparisons(network)]


def compared(folder: Path, *rows: Row) -> dict[str, Table]:
    return {table.title: table for section in comparison_sections(made_run(folder, *rows)) for table in section.tables}


def lines(table: Table) -> Any:
    """The table by competitor or pair, with its headers in one line."""
    frame = table.frame.rename(columns=lambda name: name.replace("-\n", "").replace("\n", " "))
    return frame.set_index(frame.columns[0])


@pytest.fixture
def three(tmp_path: Path) -> dict[str, Table]:
    """Gurobi solves both images, HiGHS the easy one, CBC fails on both."""
    return compared(
        tmp_path,
        milp("highs", 0, 2.0),
        milp("highs", 1, 30.5, **LIMIT),
        milp("gurobi", 0, 1.0),
        milp("gurobi", 1, 20.0),
        failed(milp("cbc", 0), "OSError: no cbc"),
        failed(milp("cbc", 1), "OSError: no cbc"),
    )


def test_how_the_instances_ended_comes_before_any_mean(three: dict[str, Table]) -> None:
    assert next(iter(three)) == SOLVERS
    frame = lines(three[SOLVERS])
    assert frame.index.tolist() == ["gurobi", "highs", "cbc"]
    assert frame.to_dict("list") == {"n": [2, 2, 2], "solved": [2, 1, 0], "error": [0, 0, 2], "time limit": [0, 1, 0]}


def test_par2_counts_two_limits_for_what_was_not_solved(three: dict[str, Table]) -> None:
    frame = lines(three[SOLVERS + FULL])
    assert frame["PAR2"].to_dict() == {"gurobi": 10.5, "highs": 31.0, "cbc": 60.0, "virtual best": 10.5}
    assert three[SOLVERS + FULL].notes[0] == "Over all 2 instances that all were asked. 3 unsolved ones count 60.0 s."


def test_shifted_means_state_their_shift(three: dict[str, Table]) -> None:
    frame = lines(three[SOLVERS + FULL])
    assert frame.loc["highs", "shifted 10 s"] == pytest.approx(math.sqrt(12.0 * 70.0) - 10.0)
    assert frame.loc["highs", "shifted 1 s"] == pytest.approx(math.sqrt(3.0 * 61.0) - 1.0)


def test_each_ones_share_of_the_virtual_best(tmp_path: Path) -> None:
    rows = [milp("highs", image, total_s) for image, total_s in enumerate((1.0, 2.0, 3.0, 5.0))]
    rows += [milp("gurobi", image, total_s) for image, total_s in enumerate((2.0, 1.0, 1.0, 5.01))]
    table = compared(tmp_path, *rows)[SOLVERS + FULL]
    frame = lines(table)
    assert frame.loc[["highs", "gurobi"], "share of the best"].tolist() == [0.375, 0.625]
    assert frame.loc["virtual best", "PAR2"] == 2.0
    assert table.notes[-1] == "Ties for the best: 1."


def test_what_all_solved_is_a_table_of_its_own_and_names_who_solved_none(three: dict[str, Table]) -> None:
    table = three[SOLVERS + COMMON]
    assert lines(table)["mean"].to_dict() == {"gurobi": 1.0, "highs": 2.0}
    assert table.notes == ("Over the 1 instance that all solved without cbc, which solved none.",)


def test_where_all_is_solved_by_all_nothing_is_said_twice(tmp_path: Path) -> None:
    tables = compared(tmp_path, milp("highs"), milp("gurobi"))
    assert SOLVERS + COMMON not in tables
    assert "All of them solved all: there is no penalty in it." in tables[SOLVERS + FULL].notes[0]


def test_bounds_build_and_solve_times_stay_apart(tmp_path: Path) -> None:
    times = {"bounds_s": 1.0, "build_s": 0.25, "solve_s": 0.5}
    rows = [milp(solver, image, 2.0, **times) for solver in ("highs", "cbc") for image in range(3)]
    frame = lines(compared(tmp_path, *rows)[SOLVERS + TOTALS])
    assert frame.loc["cbc"].to_dict() == {
        "bounds": 3.0,
        "build": 0.75,
        "solve": 1.5,
        "total": 6.0,
        "times the first": 1.0,
    }


def test_pairs_have_ratio_interval_and_sign_test(tmp_path: Path) -> None:
    rows = [milp("highs", image, 2.0 + image) for image in range(10)]
    rows += [milp("gurobi", image, (2.0 + image) / 2) for image in range(10)]
    pair = lines(compared(tmp_path, *rows)[SOLVERS + PAIRS]).loc["gurobi : highs"]
    assert pair[["n", "won:lost :tied", "of"]].tolist() == [10, "10:0:0", 10]
    assert pair[["times", "from", "to", "with penalty"]].tolist() == pytest.approx([2.0] * 4)
    assert pair["p"] == pytest.approx(2 / 2**10)


def test_a_pair_of_one_instance_has_no_interval(three: dict[str, Table]) -> None:
    pair = lines(three[SOLVERS + PAIRS]).loc["gurobi : highs"]
    assert (pair["n"], pair["times"], pair["won:lost :tied"]) == (1, 2.0, "2:0:0")
    assert pair[["from", "to"]].isna().all()
    assert pair["with penalty"] == pytest.approx(math.sqrt(2.0 * 3.0))


def test_a_failure_without_a_time_limit_is_left_out_for_all_and_counted(tmp_path: Path) -> None:
    free = {"time_limit_s": None}
    rows = [milp(solver, image, 4.0, **free) for solver in ("highs", "gurobi") for image in range(3)]
    rows[0] = failed(rows[0], "MemoryError: too large")
    table = compared(tmp_path, *rows)[SOLVERS + FULL]
    assert lines(table)["PAR2"].tolist() == [4.0, 4.0, 4.0]
    assert table.notes[0].startswith("Over all 2 instances that all were asked.")
    assert table.notes[0].endswith("1 instance that somebody did not solve had no time limit: left out for all.")


def test_solvers_are_compared_at_equal_settings(tmp_path: Path) -> None:
    rows = [
        milp(solver, image, total_s * (1 + image), formulation=formulation)
        for solver, total_s in (("highs", 2.0), ("gurobi", 1.0))
        for formulation in ("compact", "textbook")
        for image in range(4)
    ]
    tables = compared(tmp_path, *rows)
    assert lines(tables[SOLVERS])["n"].to_dict() == {"gurobi": 8, "highs": 8}
    assert tables[SOLVERS].notes == ("Each instance counts once for each of the 2 settings that it was asked with.",)
    assert lines(tables[SOLVERS + PAIRS]).loc["gurobi : highs", "times"] == pytest.approx(2.0)


def test_two_settings_of_an_instance_are_not_two_instances_for_an_interval(tmp_path: Path) -> None:
    once = [milp(solver, image, 1.0 + 3 * image * (solver == "cbc")) for solver in ("cbc", "highs") for image in (0, 1)]
    twice = [*once, *(milp(row.solver or "", row.image or 0, row.total_s or 0.0, goal="verdict") for row in once)]
    first = lines(compared(tmp_path / "a", *once)[SOLVERS + PAIRS])
    second = lines(compared(tmp_path / "b", *twice)[SOLVERS + PAIRS])
    assert first[["times", "from", "to"]].values.tolist() == second[["times", "from", "to"]].values.tolist()


def test_who_was_asked_too_little_is_only_compared_in_pairs(tmp_path: Path) -> None:
    rows = [milp(solver, image) for solver in ("highs", "gurobi") for image in range(6)]
    tables = compared(tmp_path, *rows, milp("cbc", 0, 3.0), milp("cbc", 9, 3.0))
    assert lines(tables[SOLVERS + FULL]).index.tolist() == ["gurobi", "highs", "virtual best"]
    assert tables[SOLVERS].notes[0].startswith("cbc: asked too few")
    assert tables[SOLVERS].notes[1].startswith("1 of 7 instances not asked of all of these")
    assert lines(tables[SOLVERS + PAIRS]).loc["gurobi : cbc", ["n", "times"]].tolist() == pytest.approx([1, 3.0])


def test_setups_are_compared_by_what_they_decide(tmp_path: Path) -> None:
    rows = [
        *(milp("highs", image, 60.0, verdict="verified", formulation="textbook") for image in range(2)),
        *(verify_row(method="staged", image=image, total_s=0.5, verdict="verified") for image in range(2)),
        *(verify_row(method="interval", image=image, total_s=0.01, reason="not decided") for image in range(2)),
    ]
    tables = compared(tmp_path, *rows)
    frame = lines(tables[SETUPS])
    assert frame.index.tolist() == ["staged", "milp", "interval"]
    assert frame["not decided"].tolist() == [0, 0, 2]
    assert lines(tables[SETUPS + FULL])["PAR2"].to_dict() == {
        "staged": 0.5,
        "milp": 60.0,
        "interval": 60.0,  # two of the time limits that the MILP had
        "virtual best": 0.5,
    }
    assert lines(tables[SETUPS + TOTALS])["times the first"].to_dict() == {"staged": 1.0, "milp": 120.0}


def test_what_is_contradicted_counts_as_solved_for_nobody(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {"lower": [5.0, 5.0], "upper": [6.0, 6.0], "verdict": "verified"}
    rows = [milp("highs", 0, **wrong), milp("gurobi", 0), milp("cbc", 0)]
    frame = lines(compared(tmp_path, *rows)[SOLVERS])
    assert frame.loc["highs", ["solved", "contradicted"]].tolist() == [0, 1]


def test_repeats_count_once_by_their_median_and_are_solved_where_all_are(tmp_path: Path) -> None:
    rows = [milp("highs", 0, total_s, repeat=repeat) for repeat, total_s in enumerate((1.0, 2.0, 9.0))]
    rows += [milp("gurobi", 0, 3.0), milp("cbc", 0, 1.0), milp("cbc", 0, 30.0, repeat=1, **LIMIT)]
    tables = compared(tmp_path, *rows)
    assert lines(tables[SOLVERS])["solved"].to_dict() == {"highs": 1, "gurobi": 1, "cbc": 0}
    assert lines(tables[SOLVERS + COMMON])["mean"].to_dict() == {"highs": 2.0, "gurobi": 3.0}


def test_versions_of_one_solver_are_competitors(tmp_path: Path) -> None:
    rows = [milp("highs", solver_version=version) for version in ("1.14", "1.15")] + [milp("cbc")]
    assert set(lines(compared(tmp_path, *rows)[SOLVERS]).index) == {"highs 1.14", "highs 1.15", "cbc 1.15.1"}


def test_where_nobody_solved_anything_there_are_no_times(tmp_path: Path) -> None:
    assert list(compared(tmp_path, *(milp(solver, 0, 30.0, **LIMIT) for solver in ("highs", "cbc")))) == [
        SOLVERS,
        SETUPS,
    ]


def test_one_setup_alone_is_compared_with_nothing(tmp_path: Path) -> None:
    assert compared(tmp_path, milp("highs"), milp("highs", 1)) == {}


def test_without_a_common_instance_only_the_ends_are_shown(tmp_path: Path) -> None:
    tables = compared(tmp_path, milp("highs", 0), milp("cbc", 1))
    assert [title for title in tables if title.startswith(SOLVERS)] == [SOLVERS]


@pytest.mark.parametrize("width", [80, 160])
def test_the_tables_fit_a_terminal(tmp_path: Path, width: int) -> None:
    rows = [
        milp(solver, image, 12345.0, goal=goal, bounds=bounds, verdict="verified")
        for solver in ("highs", "gurobi", "cbc")
        for image in range(2)
        for goal in ("margin", "verdict")
        for bounds in ("interval", "lp")
    ]
    rows += [milp("highs", 0, 0.001, formulation="textbook"), milp("highs", 1, 30.0, formulation="textbook", **LIMIT)]
    text = printed(comparison_sections(made_run(tmp_path, *rows)), width)
    assert max(map(len, text)) <= width
    assert sum(line.count("12,345 s") for line in text) > 20


def test_solvers_compare_where_one_of_them_was_called(tmp_path: Path) -> None:
    """Of eight instances the stages before the solver decide six, by whichever solver was never called."""
    quick: dict[str, Any] = {"method": "staged", "stage_s": {"interval": 0.01}, "verdict": "verified"}
    rows = [milp(solver, image, 1.0, **quick) for solver in ("highs", "gurobi") for image in range(6)]
    hard: dict[str, Any] = quick | {"stage_s": {"interval": 0.01, "lp": 1.0}, "counters": {"solves": 2}}
    rows += [milp(solver, image, s, **hard) for solver, s in (("highs", 9.0), ("gurobi", 3.0)) for image in (6, 7)]
    tables = compared(tmp_path, *rows)
    title = "Solvers on staged verification"
    assert lines(tables[title])["n"].tolist() == [2, 2]
    assert tables[title].notes == ("6 of 8 instances called no solver: left out.",)
    assert lines(tables[title + PAIRS]).loc["gurobi : highs", ["n", "times", "of"]].tolist() == pytest.approx([2, 3, 2])
    setups = lines(tables[SETUPS + PAIRS])
    assert setups.loc["staged gurobi : staged highs", ["n", "times"]].tolist() == pytest.approx([2, 3])


def test_where_no_solver_was_called_none_is_compared(tmp_path: Path) -> None:
    rows = [
        milp(name, image, method="staged", stage_s={"linear": 0.1}) for name in ("highs", "cbc") for image in (0, 1)
    ]
    assert not [title for title in compared(tmp_path, *rows) if "Solvers" in title or PAIRS in title]


def test_a_count_of_no_solves_is_no_call_and_no_count_may_be_one(tmp_path: Path) -> None:
    rows = [milp(name, 0, counters={"solves": 0}) for name in ("highs", "cbc")]
    rows += [milp(name, 1, counters={"bound_solves": 3}) for name in ("highs", "cbc")]
    rows += [milp(name, 2) for name in ("highs", "cbc")]
    assert lines(compared(tmp_path, *rows)[SOLVERS])["n"].tolist() == [2, 2]


def killed(row: Row) -> Row:
    """A cell as older runs have it whose process was killed: it does not say of which version its solver was."""
    nothing: dict[str, Any] = {"targets": [], "lower": [], "upper": [], "solver_version": None}
    nothing["feasibility_tolerance"] = None
    return replace(row, **nothing, status=["time_limit"], reason="time limit", total_s=8.01)


def test_killed_cells_are_of_their_setup_and_count_everywhere(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"time_limit_s": None, "hard_limit_s": 8.0, "feasibility_tolerance": 1e-7}
    rows = [milp("highs", 0, 2.0, **asked), milp("gurobi", 0, 1.0, **asked)]
    rows += [killed(milp(solver, 1, **asked)) for solver in ("highs", "gurobi")]
    rows += [killed(milp("highs", 2, **asked)), milp("gurobi", 2, 4.0, **asked)]
    run = made_run(tmp_path, *rows)
    assert run.rows["solver_version"].tolist() == ["1.15.1"] * 6
    assert networks_of(run)[0].labelled["setup"].unique().tolist() == ["milp highs", "milp gurobi"]
    tables = {table.title: table for section in comparison_sections(run) for table in section.tables}
    assert lines(tables[SOLVERS])[["n", "solved", "time limit"]].values.tolist() == [[3, 2, 1], [3, 1, 2]]
    assert lines(tables[SOLVERS + FULL])["PAR2"].tolist()[:2] == pytest.approx([(1 + 16 + 4) / 3, (2 + 16 + 16) / 3])
    assert lines(tables[SOLVERS + PAIRS]).loc["gurobi : highs", ["won:lost :tied", "of"]].tolist() == ["2:0:0", 3]
