"""From the files of a run to its tables; the chapter and the pictures have test files of their own."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.commands.report import Format, report
from bench.report.frame import load_run
from bench.report.markdown import to_markdown
from bench.report.render import Section, Table, number, percent, ratio, seconds
from bench.report.summary import summary_section
from bench.report.tables import run_sections
from tests.bench.made_rows import attack_row, failed, made_run, only, printed, tables_of, verify_row, write_run

HEAVY = ("torch", "highspy", "gurobipy", "pulp", "cvxpy", "scipy", "matplotlib")


def test_verdicts_are_counted_by_epsilon_and_method(tmp_path: Path) -> None:
    rows = [
        verify_row(image=0, verdict="verified"),
        verify_row(image=1, verdict="falsified", total_s=0.3),
        verify_row(image=2, total_s=0.2),
        failed(verify_row(image=3), "MemoryError: too large"),
        verify_row(image=0, epsilon=0.2, verdict="verified"),
        verify_row(image=0, method="interval", total_s=0.001),
    ]
    table = tables_of(made_run(tmp_path, *rows))["Verdicts"]
    line = only(table, method="lp", epsilon=0.1)
    assert line[["n", "verified", "falsified", "unknown", "failed"]].tolist() == [4, 1, 1, 1, 1]
    assert line["median time"] == pytest.approx(0.2)
    assert line["total time"] == pytest.approx(0.6)
    assert table.frame["method"].tolist() == ["interval", "lp", "lp"]


def test_columns_of_zeros_and_empty_tables_are_left_out(tmp_path: Path) -> None:
    rows = [verify_row(verdict="verified", evidence="LP relaxation by highs")]
    tables = tables_of(made_run(tmp_path, *rows))
    assert set(tables) == {"Verdicts", "What the verdicts rest on", "Where the time goes (medians)", "Bound gaps"}
    assert "failed" not in tables["Verdicts"].frame
    assert "no bound" not in tables["Bound gaps"].frame


def test_repeats_and_seeds_count_once_with_median_time_and_weakest_outcome(tmp_path: Path) -> None:
    rows = [
        verify_row(repeat=0, verdict="verified", total_s=1.0),
        verify_row(repeat=1, verdict="unknown", total_s=5.0, lower=[None, None], status=["time_limit"] * 2),
        verify_row(repeat=1, seed=1, verdict="verified", total_s=2.0),
    ]
    line = only(tables_of(made_run(tmp_path, *rows))["Verdicts"], method="lp")
    assert (line["n"], line["verified"], line["unknown"], line["total time"]) == (1, 0, 1, 2.0)


def test_a_cell_measured_again_counts_once_and_is_noted(tmp_path: Path) -> None:
    rows = [failed(verify_row(cell="c"), "OSError: disk"), verify_row(cell="c", verdict="verified")]
    run = made_run(tmp_path, *rows)
    assert run.rows["outcome"].tolist() == ["verified"]
    assert "measured again" in run.notes[0]
    assert f"{run.notes[0]}." in summary_section(run).lines


def test_labels_name_only_what_differs_and_is_not_usual(tmp_path: Path) -> None:
    rows = [
        verify_row(method="interval"),
        verify_row(),
        verify_row(solver="cbc", solver_version="2.10.3"),
        verify_row(method="milp", formulation="textbook"),
        verify_row(method="milp", time_limit_s=60.0),
        verify_row(method="milp", goal="verdict", bounds="lp", stop="row"),
    ]
    section = run_sections(made_run(tmp_path, *rows))[0]
    assert section.tables[0].frame["method"].tolist() == [
        "interval",
        "lp cbc",
        "lp highs",
        "milp, bounds lp, goal verdict",
        "milp, textbook",
        "milp, time limit 60 s",
    ]
    assert section.lines == (
        "lp: cbc 2.10.3, highs 1.15.1, threads 1, bounds linear, goal margin, formulation compact, stable eliminate.",
        "milp: highs 1.15.1, threads 1, stable eliminate, relu bigm, query each, stop row, start none; unless said "
        "otherwise bounds linear, goal margin, formulation compact.",
        "All rows: clip [0, 1], device cpu.",
    )


def test_the_time_limit_that_most_rows_have_goes_without_saying(tmp_path: Path) -> None:
    rows = [verify_row(image=image, time_limit_s=30.0) for image in range(4)]
    section = run_sections(made_run(tmp_path, *rows, verify_row(), verify_row(time_limit_s=5.0)))[0]
    assert section.tables[0].frame["method"].tolist() == ["lp", "lp, no time limit", "lp, time limit 5 s"]
    assert section.lines[0].endswith("; unless said otherwise time limit 30 s.")


def test_rows_of_the_first_schema_have_labels_too(tmp_path: Path) -> None:
    none = dict.fromkeys(("bounds", "goal", "stable", "relu", "query", "start"))
    rows = [verify_row(method="milp", formulation=name, **none) for name in ("compact", "textbook")]
    section = run_sections(made_run(tmp_path, *rows))[0]
    assert section.tables[0].frame["method"].tolist() == ["milp", "milp, textbook"]
    assert section.lines[0] == "milp: highs 1.15.1, threads 1; unless said otherwise formulation compact."


def test_methods_stand_in_the_order_of_their_tightness(tmp_path: Path) -> None:
    methods = ("staged", "milp", "lp", "alpha", "linear", "dual", "interval")
    table = tables_of(made_run(tmp_path, *(verify_row(method=method) for method in methods)))["Verdicts"]
    assert table.frame["method"].tolist() == ["interval", "dual", "linear", "alpha", "lp", "milp", "staged"]


def test_the_95th_percentile_of_the_time_is_shown(tmp_path: Path) -> None:
    rows = [verify_row(image=image, total_s=float(image)) for image in range(21)]
    line = only(tables_of(made_run(tmp_path, *rows))["Verdicts"], method="lp")
    assert (line["median time"], line["95 % time"], line["total time"]) == (10.0, 19.0, 210.0)


def test_reasons_are_grouped_by_how_the_solve_ended(tmp_path: Path) -> None:
    licence = {"status": ["licence", "licence"], "lower": [None, None], "solver": "gurobi"}
    rows = [
        verify_row(image=0),
        verify_row(image=1, evidence="not decided: target 1 has lower bound -3"),
        verify_row(image=2, evidence="time limit: target 1 has lower bound -3", status=["time_limit", "optimal"]),
        verify_row(image=0, evidence="the licence allows 2,000 rows: 2,100 asked", **licence),
        failed(verify_row(image=4), "MemoryError: too large"),
    ]
    frame = tables_of(made_run(tmp_path, *rows))["Why rows are unknown or failed"].frame
    found = {(line.method, line.reason): line.rows for line in frame.itertuples()}
    assert found == {
        ("lp highs", "not decided"): 2,
        ("lp highs", "time limit"): 1,
        ("lp gurobi", "licence"): 1,
        ("lp highs", "error: MemoryError"): 1,
    }


def test_attacks_show_rates_and_failures(tmp_path: Path) -> None:
    rows = [
        attack_row(seed=0, error_rate=0.7),
        attack_row(seed=1, error_rate=0.8),
        attack_row(restarts=10, clip=(0.0, 1.0), target=2, error_rate=0.9),
        failed(attack_row(method="fgsm", steps=None, step=None, restarts=None), "RuntimeError: no memory"),
    ]
    tables = tables_of(made_run(tmp_path, *rows))
    first = only(tables["Error under attack"], attack="pgd_linf, 40 steps of 0.01, 1 restarts, no clip")
    assert first["error rate"] == pytest.approx(0.75)
    only(tables["Error under attack"], attack="pgd_linf, 40 steps of 0.01, 10 restarts, target 2, clip [0, 1]")
    ended = only(tables["Attacks without a result"], attack="fgsm, no clip")
    assert ended["why"] == "RuntimeError: no memory"


def test_networks_of_one_name_are_told_apart_by_digest(tmp_path: Path) -> None:
    rows = [verify_row(), verify_row(network_digest="0123456789"), verify_row(network="other")]
    headings = [section.heading for section in run_sections(made_run(tmp_path, *rows))]
    assert headings == ["mnist_small (01234567)", "mnist_small (d1)", "other"]


def test_summary_names_suite_and_machines(tmp_path: Path) -> None:
    start = {"start": "2025-01-01", "cpu": "A CPU", "cores": 2, "device": "A GPU", "versions": {"numpy": "2.0"}}
    folder = write_run(tmp_path, [verify_row()], suite={"name": "quick"}, starts=[start, start])
    section = summary_section(load_run(folder))
    assert section.heading == "quick"
    assert section.lines == ("1 rows (1 verify)", "Machine: A CPU, 2 cores; GPU A GPU; numpy 2.0")


@pytest.mark.parametrize("width", [80, 140])
def test_the_terminal_report_keeps_to_the_width_and_breaks_no_number(tmp_path: Path, width: int) -> None:
    solvers = ("highs", "gurobi", "cbc")
    rows = [
        verify_row(method=method, solver=solver, epsilon=epsilon, lower=[-1234.5, 0.00123], total_s=123.4)
        for method in ("interval", "dual", "linear", "alpha", "lp", "milp")
        for solver in (solvers if method in ("lp", "milp") else solvers[:1])
        for epsilon in (0.005, 0.01)
    ]
    lines = printed(run_sections(made_run(tmp_path, *rows, attack_row(), attack_row(restarts=10, target=2))), width)
    assert max(map(len, lines)) <= width
    assert sum(line.count("123 s") for line in lines) >= 3 * 2 * 10  # median, 95 % and total, per epsilon and setup
    assert sum("milp gurobi" in line for line in lines) >= 4
    assert sum(line.count("-617.2") for line in lines) == 2 * 3 * 6  # a mean per epsilon, solver and method


def test_a_narrow_terminal_leaves_room_for_the_methods(tmp_path: Path) -> None:
    rows = [
        verify_row(method=method, image=image, total_s=12345.0)
        for image in range(12)
        for method in ("interval", "milp", "staged")
    ]
    run = made_run(tmp_path, *rows, failed(verify_row(method="milp", image=99, goal="verdict"), "OSError: disk"))
    text = printed(run_sections(run), 80)
    verdicts = text[text.index("Verdicts") : text.index("Where the time goes (medians)")]
    assert sum(line.count("12,345 s") for line in verdicts) == 2 * 3
    assert {"interval", "milp,", "verdict", "staged"} <= set(" ".join(verdicts).split())


def test_text_of_rows_is_no_markup(tmp_path: Path) -> None:
    sections = run_sections(made_run(tmp_path, failed(verify_row(), "ValueError: [bold]a|b[/bold] <x>")))
    assert "[bold]a|b[/bold] <x>" in "\n".join(printed(sections, 160))
    assert "[bold]a\\|b[/bold] &lt;x>" in to_markdown(sections)


def test_definitions_are_said_once_and_notes_every_time() -> None:
    frame = pd.DataFrame({"a": [1]})
    tables = tuple(Table(title, frame, {}, ("a: a term.",), ("A check.",)) for title in ("one", "two"))
    text = to_markdown([Section("both", tables)])
    assert (text.count("a: a term."), text.count("A check.")) == (1, 2)


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (number, 0.00123456, "0.001235"),
        (number, -12.3456, "-12.35"),
        (number, 3525.4, "3525"),
        (number, 123456.7, "123,457"),
        (number, 1.5e9, "1.500e+09"),
        (seconds, 0.0, "0 ms"),
        (seconds, 0.0123, "12.3 ms"),
        (seconds, 0.9996, "1.00 s"),
        (seconds, 59.96, "60.0 s"),
        (seconds, 12345.0, "12,345 s"),
        (percent, 0.0285, "2.85 %"),
        (ratio, 0.5, "0.500x"),
        (ratio, 15063.2, "15,063x"),
    ],
)
def test_numbers_are_short_and_have_units(write: Any, value: float, text: str) -> None:
    assert write(value) == text


def run_report(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`relubench report` in a process of its own that then says which heavy modules it has."""
    script = (
        "import sys\n"
        "import typer\n"
        "from bench.commands.report import report\n"
        "app = typer.Typer()\n"
        "app.command()(report)\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        f"sys.stderr.write(' '.join(m for m in {HEAVY} if m in sys.modules))\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={"COLUMNS": "80"})


def test_reporting_imports_no_solver_and_no_torch(tmp_path: Path) -> None:
    done = run_report(write_run(tmp_path, [verify_row(), attack_row()]))
    assert done.returncode == 0, done.stderr
    assert "Verdicts" in done.stdout
    assert done.stderr == ""


def test_out_writes_the_report_and_tidy_rows(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run", [verify_row(network="own", counters={"nodes": 5.0}), attack_row(network="own")]
    )
    done = run_report(folder, "--out", tmp_path / "out", "--format", "markdown")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("report.html", "report.md", "report.tex", "rows.csv", "rows.parquet", "figures")
    }
    written = (tmp_path / "out" / "report.md").read_text()
    assert written.startswith("# Report on run\n")
    assert all(line in written for line in done.stdout.splitlines())
    rows = pd.read_csv(tmp_path / "out" / "rows.csv")
    assert rows["counter.nodes"].tolist()[0] == 5
    assert rows["lower_min"].tolist()[0] == -1.0


def test_csv_prints_a_line_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([write_run(tmp_path, [verify_row(), verify_row(image=1)])], format=Format.CSV)
    frame = pd.read_csv(StringIO(capsys.readouterr().out))
    assert frame["image"].tolist() == [0, 1]
    assert frame["bound_gap"].tolist() == [3.0, 3.0]
