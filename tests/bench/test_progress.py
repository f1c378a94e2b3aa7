"""The counts of a run, what a terminal shows of them, and the log."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from bench.commands.display import table
from bench.progress import Counts, Left, Line, Running, clock, fold, one_line, to_dict, together, words
from bench.row import Row
from tests.bench.made_rows import attack_row, failed, verify_row

LP, MILP, PGD = Line("verify", "lp", "highs"), Line("verify", "milp", "highs"), Line("attack", "pgd_linf")
NOW = 1_000_000.0


def counted(*rows: Row, jobs: int = 1, **cells: int) -> Counts:
    """The counts of a plan of `lp`, `milp` and `pgd` cells after these rows."""
    lines = {"lp": LP, "milp": MILP, "pgd": PGD}
    counts = Counts({lines[name]: number for name, number in cells.items()}, jobs)
    for row in rows:
        counts.add(row)
    return counts


def text_of(counts: Counts, width: int = 80, most: int | None = None) -> list[str]:
    out = StringIO()
    Console(file=out, width=width).print(table(counts, NOW, width, most))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_each_cell_counts_once_by_what_came_of_it() -> None:
    rows = [verify_row(image=image, verdict=verdict) for image, verdict in enumerate(["verified", "falsified"] * 2)]
    counts = counted(*rows, verify_row(image=9), failed(verify_row(image=8), "Oops"), lp=10)
    (tally,) = counts.tallies
    assert (tally.label, tally.cells, tally.left) == ("lp highs", 10, 4)
    assert tally.counts == {"done": 6, "verified": 2, "falsified": 2, "unknown": 1, "failed": 1}
    assert words(tally) == {"done": "6/10", "verified": "2", "falsified": "2", "unknown": "1", "failed": "1"}


def test_a_row_that_comes_again_takes_the_place_of_the_first() -> None:
    first = failed(verify_row(), "Oops")
    counts = counted(first, replace(verify_row(verdict="verified"), cell=first.cell, total_s=3.0), lp=2)
    (tally,) = counts.tallies
    assert +tally.counts == {"done": 1, "verified": 1}
    assert tally.mean_s == 3.0


def test_a_target_that_the_solver_failed_at_makes_its_cell_one_that_failed_unless_it_is_decided() -> None:
    rows = [verify_row(verdict=verdict, status=["optimal", "error"]) for verdict in ("unknown", "falsified")]
    (tally,) = counted(*rows, lp=2).tallies
    assert (tally.counts["failed"], tally.counts["falsified"], tally.counts["unknown"]) == (1, 1, 0)


def test_of_attacks_the_images_are_counted() -> None:
    counts = counted(attack_row(falsified=1_075, unknown=25), verify_row(verdict="verified"), lp=1, pgd=2)
    lp, pgd = counts.tallies
    assert words(pgd) == {"done": "1/2", "verified": "-", "falsified": "1,075 img", "unknown": "25 img", "failed": "0"}
    assert words(together([lp, pgd], "all"))["falsified"] == "0"  # cells and images are not added up


def test_the_time_left_is_the_mean_of_what_is_done_times_what_is_left() -> None:
    rows = [verify_row(image=0, total_s=1.0), verify_row(image=1, total_s=3.0)]
    (tally,) = (counts := counted(*rows, lp=7)).tallies
    assert counts.left([tally], NOW) == Left(10.0)
    assert counted(*rows, lp=7, jobs=2).left([tally], NOW) == Left(5.0)
    counts.begin("c", Running(LP, "", NOW - 1.5))
    assert counts.left([tally], NOW) == Left(8.5)
    counts.begin("d", Running(LP, "", NOW - 1000))  # it took longer than the others already
    assert counts.left([tally], NOW) == Left(6.5)
    assert counts.left([tally], NOW - 2000) == Left(10.0)  # a clock that was set back


def test_the_time_left_is_not_known_before_anything_is() -> None:
    assert counted(lp=7).left(counted(lp=7).tallies, NOW) is None
    assert counted(failed(verify_row(), "Oops"), lp=7).left(counted(lp=7).tallies, NOW) is None


def test_the_time_left_of_all_is_the_least_while_some_is_not_known() -> None:
    counts = counted(verify_row(total_s=2.0), lp=3, milp=1)
    assert counts.left(counts.tallies, NOW) == Left(4.0, least=True)
    assert clock(counts.left(counts.tallies, NOW)) == ">0:00:04"


def test_nothing_is_left_of_what_is_done() -> None:
    counts = counted(failed(verify_row(), "Oops"), lp=1)
    assert counts.left(counts.tallies, NOW) == Left(0.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00:00"), (0.01, "0:00:01"), (59.2, "0:01:00"), (3600, "1:00:00"), (1e6, "277:46:40")]
)
def test_a_time_is_never_said_to_be_over_before_it_is(seconds: float, text: str) -> None:
    assert clock(Left(seconds)) == text


def test_how_many_there_are_to_be_may_be_unknown() -> None:
    counts = Counts(None)
    counts.add(verify_row())
    assert words(counts.tallies[0])["done"] == "1"
    assert counts.left(counts.tallies, NOW) is None
    assert to_dict(counts, NOW)["cells"] is None


def test_what_is_worked_on_is_shown_first_where_there_is_little_room() -> None:
    counts = Counts({Line("verify", f"m{number}", "highs"): 1 for number in range(9)})
    counts.add(verify_row(method="m0"))
    counts.begin("c", Running(Line("verify", "m7", "highs"), "", NOW))
    shown, others = fold(counts, 4)
    assert [tally.label for tally in shown] == ["m1 highs", "m2 highs", "m7 highs"]  # in the order of the plan
    assert together(others, "others").cells == 6
    assert fold(counts, 9) == (counts.tallies, [])
    assert fold(counts, 0)[0] == []


def many() -> Counts:
    solvers = ("highs", "gurobi", "cbc", "cvxpy:HIGHS")
    counts = Counts({Line("verify", method, solver): 10_000 for method in "abcde" for solver in solvers})
    for image in range(3):
        counts.add(verify_row(method="a", image=image, verdict="verified", total_s=1.0))
    return counts


@pytest.mark.parametrize("width", [32, 40, 60, 80, 160])
def test_the_table_fits_the_terminal_and_keeps_its_numbers(width: int) -> None:
    lines = text_of(many(), width)
    assert max(map(len, lines)) <= width
    assert len(lines) == 1 + 20 + 1
    assert "3/10,000" in lines[1]
    assert lines[-1].startswith("all ")
    assert "3/200,000" in lines[-1]
    if width >= 80:
        assert lines[0].split() == ["method", "done", "verified", "falsified", "unknown", "failed", "left"]
        assert lines[1].split() == ["a", "highs", "3/10,000", "3", "0", "0", "0", "2:46:37"]


def test_lines_beyond_the_room_are_summed_in_one() -> None:
    lines = text_of(many(), most=4)
    assert len(lines) == 1 + 3 + 1 + 1
    assert lines[-2].startswith("17 others")
    assert "0/170,000" in lines[-2]


def test_one_line_says_it_all() -> None:
    assert one_line(many(), NOW) == ("3/200,000 cells, 3 verified, 0 falsified, 0 unknown, 0 failed, >2:46:37 left")


def test_as_json_it_is_the_same() -> None:
    found: dict[str, Any] = to_dict(counted(verify_row(verdict="verified", total_s=2.0), lp=3, milp=1), NOW)
    assert (found["cells"], found["done"], found["left_s"], found["left_is_least"]) == (4, 1, 4.0, True)
    lp, milp = found["lines"]
    assert (lp["label"], lp["cells"], lp["verified"], lp["left_s"]) == ("lp highs", 3, 1, 4.0)
    assert (milp["done"], milp["left_s"]) == (0, None)
