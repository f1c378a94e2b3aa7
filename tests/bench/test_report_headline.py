"""The answer on one screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.report.cells import embedded_cells
from bench.report.frame import Run
from bench.report.headline import NO_BREAK, headline_section
from bench.report.render import Table
from bench.report.summary import summary_section
from bench.row import Row
from tests.bench.made_rows import attack_row, failed, made_run, only, printed, tables_of, verify_row
from tests.bench.test_report_cells import unpacked

FASTEST = "The fastest solver"
LIMIT: dict[str, Any] = {"status": ["time_limit"] * 2, "reason": "time limit", "time_limit_s": 30.0}


def answer(run: Run) -> dict[str, Table]:
    return {table.title.split(":")[0].split(",")[0]: table for table in headline_section(run).tables}


def decided(run: Run) -> list[list[Any]]:
    """The cells, with plain spaces."""
    cells = answer(run)["Decided at each epsilon"].cells()
    return cells.replace(NO_BREAK, " ", regex=True).values.tolist()


def verified(**values: Any) -> Row:
    return verify_row(verdict="verified", **values)


def test_methods_by_epsilon_have_counts_and_median_times(tmp_path: Path) -> None:
    rows = [verified(method="milp", image=image, epsilon=0.1, total_s=1.0 + image) for image in range(3)]
    rows += [verify_row(method="milp", image=image, epsilon=0.2, total_s=30.0) for image in range(2)]
    rows += [verify_row(method="interval", image=0, epsilon=0.1, total_s=0.001)]
    run = made_run(tmp_path, *rows)
    assert answer(run)["Decided at each epsilon"].frame.columns.tolist() == ["method", "0.1", "0.2"]
    assert decided(run) == [["interval", "0/1 1.00 ms", "-"], ["milp", "3/3 2.00 s", "0/2 30.0 s"]]


def test_each_method_is_shown_with_its_best_setup(tmp_path: Path) -> None:
    rows = [
        verify_row(method="milp", solver="cbc", total_s=0.1),
        verified(method="milp", solver="highs", total_s=3.0),
        verified(method="milp", solver="gurobi", total_s=2.0),
    ]
    assert decided(made_run(tmp_path, *rows)) == [["milp gurobi", "1/1 2.00 s"]]


def test_more_epsilons_than_fit_are_counted(tmp_path: Path) -> None:
    table = answer(made_run(tmp_path, *(verified(epsilon=k / 100) for k in range(1, 10))))["Decided at each epsilon"]
    assert table.frame.columns.tolist() == ["method", "0.01", "0.03", "0.05", "0.07", "0.09"]
    assert table.notes == ("4 more epsilons: the tables of verdicts have all.",)


def test_the_fastest_solver_stands_against_the_next(tmp_path: Path) -> None:
    rows = [
        verified(method="milp", solver=solver, image=image, total_s=total_s * (1 + image))
        for solver, total_s in (("highs", 3.0), ("gurobi", 1.0), ("cbc", 9.0))
        for image in range(4)
    ]
    (line,) = answer(made_run(tmp_path, *rows))[FASTEST].frame.to_dict("records")
    assert (line["method"], line["fastest"], line["next"], line["n"]) == ("milp", "gurobi 4/4", "highs 4/4", 4)
    assert (line["times as\nfast"], line["from"], line["to"]) == pytest.approx((3.0, 3.0, 3.0))


def test_who_solves_more_is_ahead_of_who_is_faster(tmp_path: Path) -> None:
    rows = [verified(method="milp", solver="highs", image=image, total_s=5.0, time_limit_s=30.0) for image in range(2)]
    rows += [verified(method="milp", solver="gurobi", total_s=1.0, time_limit_s=30.0)]
    rows += [verify_row(method="milp", solver="gurobi", image=1, total_s=30.0, **LIMIT)]
    (line,) = answer(made_run(tmp_path, *rows))[FASTEST].frame.to_dict("records")
    assert (line["fastest"], line["next"], line["times as\nfast"]) == ("highs 2/2", "gurobi 1/2", pytest.approx(0.2))


def test_without_two_solvers_nobody_is_fastest(tmp_path: Path) -> None:
    assert FASTEST not in answer(made_run(tmp_path, verified(), verified(method="milp")))
    limited = [verify_row(method="milp", solver=solver, **LIMIT) for solver in ("highs", "cbc")]
    assert FASTEST not in answer(made_run(tmp_path / "limited", *limited))


def test_contradictions_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    liars = [verified(method="milp", solver="liar", image=image, lower=[9.0, 9.0]) for image in range(9)]
    lines = headline_section(made_run(tmp_path, *liars)).lines
    assert lines[0].endswith("of 9 rows that count as contradicted:")
    assert "milp liar (mnist_small, image 0" in lines[1]
    assert len(lines) <= 4


def test_that_nothing_is_contradicted_is_said_with_what_was_compared(tmp_path: Path) -> None:
    run = made_run(tmp_path, verified(), failed(verify_row(image=1), "OSError: disk"))
    lines = headline_section(run).lines
    assert lines[0] == f"Nothing is contradicted in {sum(run.judgement.tested.values())} tests of 2 rows."
    assert lines[1].startswith("1 row failed")


def test_failed_means_one_thing_in_all_of_a_report(tmp_path: Path) -> None:
    """An exception, or a solver's error where nothing was decided; an empty error is none."""
    by_solver = verify_row(image=1, status=["error", "optimal"], reason="error", evidence="licence expired")
    decided = verify_row(image=2, status=["error", "optimal"], verdict="falsified")
    rows = [failed(verify_row(), "OSError: disk"), by_solver, decided, verify_row(image=3, error="")]
    run = made_run(tmp_path, *rows)
    assert headline_section(run).lines[1].startswith("2 rows failed")
    assert summary_section(run).lines[0] == "4 rows (4 verify; 2 failed)"
    tables = tables_of(run)
    assert only(tables["Verdicts"])[["n", "falsified", "unknown", "failed"]].tolist() == [4, 1, 1, 2]
    assert only(tables["Why rows are unknown or failed"], reason="error: of the solver")["example"] == "licence expired"
    cells = unpacked(embedded_cells(run, 1_000_000).index)
    assert [line[cells["columns"].index("outcome")] for line in cells["lines"]].count("failed") == 2


def test_networks_stand_below_each_other(tmp_path: Path) -> None:
    run = made_run(tmp_path, verified(), verified(network="other", network_digest="d9", epsilon=0.3))
    assert decided(run) == [["mnist_small", "lp", "1/1 100 ms", "-"], ["other", "lp", "-", "1/1 100 ms"]]


def test_a_run_of_attacks_has_an_answer_too(tmp_path: Path) -> None:
    section = headline_section(made_run(tmp_path, attack_row()))
    assert section.tables == ()
    assert section.lines[0].startswith("Nothing is contradicted")


@pytest.mark.parametrize("width", [80, 160])
def test_it_fits_one_screen(tmp_path: Path, width: int) -> None:
    rows = [
        verified(method=method, solver=solver, epsilon=epsilon, image=image, total_s=12345.0, bounds=bounds)
        for method in ("interval", "linear", "lp", "milp", "staged")
        for solver in (("highs", "gurobi", "cbc") if method in ("lp", "milp", "staged") else ("highs",))
        for epsilon in (0.01, 0.02, 0.03, 0.05, 0.1)
        for image in range(3)
        for bounds in (("linear", "lp") if method in ("lp", "milp") else ("linear",))
    ]
    text = printed([headline_section(made_run(tmp_path, *rows))], width)
    assert max(map(len, text)) <= width
    assert len(text) <= 45


def test_the_best_setup_is_one_that_was_asked_the_most(tmp_path: Path) -> None:
    rows = [verify_row(image=image, method="lp") for image in range(3)]
    easy = verify_row(image=0, method="lp", formulation="textbook", verdict="verified")
    (line,) = answer(made_run(tmp_path, *rows, easy))["Decided at each epsilon"].frame.to_dict("records")
    assert line["0.1"].startswith("0/3")


def test_an_epsilon_that_little_was_asked_at_gives_way(tmp_path: Path) -> None:
    rows = [verified(epsilon=k / 100, image=image) for k in range(1, 6) for image in range(2)]
    table = answer(made_run(tmp_path, *rows, verified(epsilon=0.005)))["Decided at each epsilon"]
    assert table.frame.columns.tolist() == ["method", "0.01", "0.02", "0.03", "0.04", "0.05"]
    assert table.notes == ("1 more epsilon: the tables of verdicts have all.",)


@pytest.mark.parametrize("other", [{"bounds": "interval"}, {"solver": "gurobi"}, {"time_limit_s": 5.0}, {"clip": None}])
def test_a_setup_that_was_not_asked_at_an_epsilon_has_an_empty_cell(tmp_path: Path, other: dict[str, Any]) -> None:
    rows = [verified(image=image, epsilon=0.01, total_s=1.0) for image in range(2)]
    assert decided(made_run(tmp_path, *rows, verified(epsilon=0.02, **other)))[0][1:] == ["2/2 1.00 s", "-"]


def staged(solver: str, image: int, total_s: float, **values: Any) -> Row:
    return verified(method="staged", solver=solver, image=image, total_s=total_s, stage_s={"linear": 0.1}, **values)


def test_no_solver_is_fastest_where_none_was_needed(tmp_path: Path) -> None:
    rows = [staged(solver, image, s) for solver, s in (("highs", 1.0), ("cbc", 2.0)) for image in range(8)]
    (line,) = answer(made_run(tmp_path, *rows))[FASTEST].frame.to_dict("records")
    assert line == {"method": "staged", "fastest": "no solver was needed (8 of 8)"}
    assert decided(made_run(tmp_path, *rows)) == [["staged", "8/8 1.00 s"]]


def test_the_fastest_solver_is_that_of_the_instances_where_one_was_called(tmp_path: Path) -> None:
    rows = [staged(solver, image, s) for solver, s in (("highs", 1.0), ("cbc", 2.0)) for image in range(8)]
    called: dict[str, Any] = {"counters": {"solves": 3}}
    rows += [staged(solver, image, s, **called) for solver, s in (("highs", 6.0), ("cbc", 2.0)) for image in (8, 9)]
    table = answer(made_run(tmp_path, *rows))[FASTEST]
    (line,) = table.frame.to_dict("records")
    assert (line["fastest"], line["next"], line["times as\nfast"]) == ("cbc 2/2", "highs 2/2", pytest.approx(3.0))
    assert table.notes == ("Instances where no solver was needed are left out: staged 8 of 10.",)


def test_where_the_interval_holds_one_there_is_no_difference(tmp_path: Path) -> None:
    times = {"highs": (1.0, 2.0, 1.0), "cbc": (2.0, 1.0, 1.1)}
    rows = [verified(solver=name, image=image, total_s=s) for name, of in times.items() for image, s in enumerate(of)]
    (line,) = answer(made_run(tmp_path, *rows))[FASTEST].frame.to_dict("records")
    assert (line["fastest"], line["next"]) == ("no difference", "highs 3/3, cbc 3/3")
