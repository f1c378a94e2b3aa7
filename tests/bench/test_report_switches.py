"""The table of what each switch does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.choices import SWITCHES
from bench.report.render import Table
from bench.report.tables import run_sections
from bench.row import Row
from tests.bench.made_rows import failed, made_run, printed, tables_of, verify_row

TITLE = "What the switches do"


def milp_row(**values: Any) -> Row:
    return verify_row(method="milp", **values)


def table(folder: Path, *rows: Row) -> Table:
    return tables_of(made_run(folder, *rows))[TITLE]


def lines(folder: Path, *rows: Row) -> pd.DataFrame:
    frame = table(folder, *rows).frame
    return frame.rename(columns=lambda name: name.replace("-\n", "").replace("\n", " "))


def test_times_are_compared_pair_by_pair(tmp_path: Path) -> None:
    usual, lp = (1.0, 2.0, 4.0, 3.0), (0.5, 1.0, 8.0, 3.0)  # ratios 1/2, 1/2, 2 and 1
    rows = [milp_row(image=image, total_s=total_s) for image, total_s in enumerate(usual)]
    rows += [milp_row(image=image, total_s=total_s, bounds="lp") for image, total_s in enumerate(lp)]
    line = lines(tmp_path, *rows).iloc[0]
    assert line[["switch", "value", "n"]].tolist() == ["bounds", "lp / linear", 4]
    assert line["time"] == pytest.approx(0.5**0.25)
    assert line["won: lost"] == "2:1"


def test_only_rows_that_differ_in_nothing_else_are_paired(tmp_path: Path) -> None:
    others: tuple[dict[str, Any], ...] = (
        {"image": 1},
        {"epsilon": 0.2},
        {"solver": "gurobi"},
        {"time_limit_s": 60.0},
        {"threads": 2},
        {"formulation": "textbook"},
    )
    rows = [milp_row(), *(milp_row(bounds="lp", **other) for other in others)]
    assert TITLE not in tables_of(made_run(tmp_path, *rows))


def test_a_switch_that_means_nothing_to_one_of_two_is_no_difference(tmp_path: Path) -> None:
    usual, other = SWITCHES["stop"]
    rows = [milp_row(total_s=2.0), milp_row(goal="verdict", total_s=1.0), milp_row(goal="verdict", stop=other)]
    frame = lines(tmp_path, *rows)
    assert frame[["switch", "value", "n"]].values.tolist() == [
        ["goal", "verdict / margin", 1],
        ["stop", f"{other} / {usual}", 1],
    ]
    assert frame["time"][0] == pytest.approx(0.5)


def test_without_the_usual_value_the_first_that_occurs_is_compared_with(tmp_path: Path) -> None:
    rows = [milp_row(bounds=bounds) for bounds in ("lp", "alpha", "milp")]
    assert lines(tmp_path, *rows)["value"].tolist() == ["lp / alpha", "milp / alpha"]


def test_methods_and_solvers_have_lines_of_their_own(tmp_path: Path) -> None:
    rows = [verify_row(method=method, bounds=bounds) for method in ("milp", "lp") for bounds in ("linear", "alpha")]
    rows += [milp_row(solver="cbc", bounds=bounds) for bounds in ("linear", "alpha")]
    assert sorted(lines(tmp_path, *rows)["method"]) == ["lp highs", "milp cbc", "milp highs"]


def test_rows_at_the_time_limit_count_and_are_marked(tmp_path: Path) -> None:
    limit: dict[str, Any] = {"status": ["optimal", "time_limit"], "time_limit_s": 10.0}
    rows = [
        milp_row(total_s=10.0, **limit),
        milp_row(total_s=1.0, time_limit_s=10.0, relu="sos1"),
    ]
    line = lines(tmp_path, *rows).iloc[0]
    assert (line["n"], line["at limit"]) == (1, 1)
    assert line["time"] == pytest.approx(0.1)


@pytest.mark.parametrize("status", ["licence", "error", "unknown", "other_limit"])
def test_the_time_of_what_ended_otherwise_is_no_measurement(tmp_path: Path, status: str) -> None:
    rows = [milp_row(total_s=0.001, status=[status] * 2), milp_row(bounds="lp", verdict="verified")]
    line = lines(tmp_path, *rows).iloc[0]
    assert (line["n"], line["won: lost"], line["only by"]) == (0, "0:0", "1:0")
    assert math.isnan(line["time"])


def test_a_failed_row_is_undecided_and_without_time(tmp_path: Path) -> None:
    rows = [milp_row(verdict="verified"), failed(milp_row(bounds="lp"), "MemoryError: too large")]
    line = lines(tmp_path, *rows).iloc[0]
    assert (line["n"], line["only by"]) == (0, "0:1")


def test_repeats_count_once_by_median_time_and_weakest_outcome(tmp_path: Path) -> None:
    rows = [milp_row(repeat=repeat, verdict="verified", total_s=4.0) for repeat in range(3)]
    times, verdicts = (1.0, 2.0, 9.0), ("verified", "unknown", "verified")
    for repeat, (total_s, verdict) in enumerate(zip(times, verdicts, strict=True)):
        rows.append(milp_row(repeat=repeat, start="witness", verdict=verdict, total_s=total_s))
    line = lines(tmp_path, *rows).iloc[0]
    assert (line["n"], line["only by"]) == (1, "0:1")
    assert line["time"] == pytest.approx(0.5)


def test_sizes_are_compared_where_they_differ(tmp_path: Path) -> None:
    sizes = {"eliminate": (30, 100), "keep": (60, 100)}
    rows = [
        milp_row(image=image, stable=stable, counters={"binaries": binaries, "rows": model_rows})
        for image in range(2)
        for stable, (binaries, model_rows) in sizes.items()
    ]
    frame = lines(tmp_path, *rows)
    assert frame["binaries"].tolist() == [2.0]
    assert "rows" not in frame


def test_models_without_binaries_have_no_ratio(tmp_path: Path) -> None:
    rows = [
        milp_row(bounds=bounds, counters={"binaries": 0, "rows": rows}) for bounds, rows in (("linear", 9), ("lp", 3))
    ]
    frame = lines(tmp_path, *rows)
    assert "binaries" not in frame
    assert frame["rows"].tolist() == [pytest.approx(1 / 3)]


def test_contradicting_verdicts_are_counted_below(tmp_path: Path) -> None:
    rows = [milp_row(image=image, verdict="verified") for image in range(3)]
    rows += [milp_row(image=0, bounds="lp", verdict="verified"), milp_row(image=1, bounds="lp", verdict="falsified")]
    assert table(tmp_path, *rows[:4]).notes == ("Check: no pairs with contradicting verdicts.",)
    assert table(tmp_path, *rows).notes == ("Check: 1 pair with contradicting verdicts.",)
    assert lines(tmp_path, *rows)["only by"].tolist() == ["0:0"]


def test_methods_without_a_solver_have_no_switches(tmp_path: Path) -> None:
    assert TITLE not in tables_of(made_run(tmp_path, verify_row(method="interval"), verify_row(method="linear")))


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_a_terminal_and_breaks_no_word(tmp_path: Path, width: int) -> None:
    usual: dict[str, Any] = {"solver": "gurobi", "goal": "verdict", "status": ["time_limit"] * 2}
    values = [{name: value} for name, values in SWITCHES.items() for value in values[1:] if name != "goal"]
    rows = [
        verify_row(
            method=method, **usual | value, image=image, total_s=0.7**i, counters={"binaries": 99 - i, "rows": 99 - i}
        )
        for image in range(20)
        for method in ("milp", "staged")
        for i, value in enumerate([{}, *values])
    ]
    text = printed(run_sections(made_run(tmp_path, *rows)), width)
    assert max(map(len, text)) <= width
    words = set(" ".join(text[text.index(TITLE) :]).split())
    assert {"formulation", "textbook", "eliminate", "indicator", "witness", "gurobi", "20", "0:0"} <= words
