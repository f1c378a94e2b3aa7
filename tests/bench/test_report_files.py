"""The files of a report: each says the same in its own form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import altair
import pandas as pd
import pytest

from bench.choices import REPORT_FILES
from bench.report.drawing import LONGEST_SVG, Drawing, drawn, merged
from bench.report.files import Content, write_report
from bench.report.frame import Run, load_run
from bench.report.latex import escaped, to_latex
from bench.report.markdown import to_markdown
from bench.report.render import Figure, Section, Table, count
from tests.bench.made_rows import attack_row, failed, printed, verify_row, write_run
from tests.conftest import RunCommand

PNG = b"\x89PNG\r\n\x1a\n"


def figure(name: str = "points") -> Figure:
    frame = pd.DataFrame({"x": [1, 2], "y": [3, 4]})
    made = altair.Chart(frame).mark_point().encode(x="x", y="y").properties(width="container", height=100)
    return Figure(name, "Points", "Two points [sic], rising | straight.", made, ("How to read it.",))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    rows = [verify_row(), verify_row(image=1, verdict="verified"), failed(verify_row(image=2), 'Crash: "a", b\nc')]
    return load_run(write_run(tmp_path / "run", [*rows, attack_row(counters={"nodes": 5.0})]))


def content(*more: Section) -> Content:
    table = Table("Numbers & more", pd.DataFrame({"name_x": ["a%", "b"], "n": [1000, 2]}), {"n": count}, ("Term.",))
    return Content("Report on x", (Section("First", (table,), ("A line.",), (figure(),)), *more))


def test_all_files_are_written(run: Run, tmp_path: Path) -> None:
    names = write_report(run, content(), tmp_path / "out")
    assert names == ["report.html", "report.md", "report.tex", "rows.csv", "rows.parquet", "1 figure"]
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {*names[:-1], "figures/points.svg", "figures/points.png"}


@pytest.mark.parametrize("name", REPORT_FILES)
def test_what_is_not_asked_for_is_not_written(run: Run, tmp_path: Path, name: str) -> None:
    write_report(run, content(), tmp_path / "out", [name])
    tops = {path.name for path in (tmp_path / "out").iterdir()}
    own = {"html": "report.html", "latex": "report.tex", "csv": "rows.csv", "parquet": "rows.parquet"}
    assert tops == {"markdown": {"report.md", "figures"}, "figures": {"figures"}}.get(name, {own.get(name)})


def test_markdown_links_to_figures_that_are_there(run: Run, tmp_path: Path) -> None:
    write_report(run, content(), tmp_path / "out", ["markdown"])
    text = (tmp_path / "out" / "report.md").read_text()
    (link,) = re.findall(r"!\[(.*)\]\((.*)\)", text)
    assert link == ("Two points \\[sic\\], rising | straight.", "figures/points.svg")
    assert (tmp_path / "out" / link[1]).read_text().startswith("<svg ")
    assert "How to read it." in text


def test_markdown_without_files_has_the_figures_in_words() -> None:
    text = to_markdown(content().sections)
    assert "### Points\n\nTwo points [sic], rising" in text
    assert "![" not in text


def test_figures_are_dark_on_white_and_the_same_as_svg_and_png() -> None:
    drawing = drawn([figure()])["points"]
    assert drawing.png.startswith(PNG)
    assert 'fill="#ffffff"' in drawing.svg_file()
    assert "currentColor" in drawing.svg
    assert 'width="' in drawing.svg
    assert float(re.findall(r'width="([\d.]+)"', drawing.svg)[0]) > 600  # "container" is no width outside a page


def test_a_picture_of_pixels_is_a_figure_too(run: Run, tmp_path: Path) -> None:
    pixels = drawn([figure()])["points"].png
    grid = Figure("grid", "Images", "Nine sevens.", pixels)
    write_report(run, Content("x", (Section("s", figures=(grid,)),)), tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "grid.png").read_bytes() == pixels
    assert not (tmp_path / "out" / "figures" / "grid.svg").exists()
    assert "(figures/grid.png)" in (tmp_path / "out" / "report.md").read_text()
    assert "data:image/png;base64," in (tmp_path / "out" / "report.html").read_text()


def test_parquet_and_csv_hold_the_tidy_rows(run: Run, tmp_path: Path) -> None:
    write_report(run, content(), tmp_path / "out", ["csv", "parquet"])
    parquet = pd.read_parquet(tmp_path / "out" / "rows.parquet")
    csv = pd.read_csv(tmp_path / "out" / "rows.csv")
    assert [*parquet] == [*csv] == [*run.rows]
    assert parquet["image"].tolist()[:3] == csv["image"].tolist()[:3] == [0, 1, 2]
    assert parquet["error"].tolist()[2] == csv["error"].tolist()[2] == 'Crash: "a", b\nc'
    assert csv["counter.nodes"].tolist()[3] == 5
    assert csv["solved"].tolist()[0] is True


def test_latex_has_booktabs_tables_with_everything_escaped() -> None:
    text = to_latex(content().sections, "50 % of_it")
    assert r"\section*{50 \% of\_it}" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"\caption{Numbers \& more}" in text
    assert r"name\_x & n \\" in text
    assert r"a\% & 1,000 \\" in text
    assert "Term." in text
    assert text.count(r"\begin{document}") == text.count(r"\end{document}") == 1


def test_a_long_table_breaks_over_pages() -> None:
    table = Table("Long", pd.DataFrame({"n": range(100)}), {"n": count})
    assert r"\begin{longtable}" in to_latex([Section("s", (table,))], "t")


@pytest.mark.parametrize("text", ["\\input{/etc/passwd}", "$x$", "a\n\nb", "\N{SNOWMAN}", "^^5c", "%", "~", "\0", "]["])
def test_hostile_text_is_only_set_in_latex(text: str) -> None:
    written = escaped(text)
    assert "\n" not in written
    assert written.isascii()
    commands = re.findall(r"\\[a-z]+", written)
    assert {*commands} <= {r"\textbackslash", r"\textasciicircum", r"\textasciitilde", r"\texttt"}
    assert re.findall(r"(?<!\\)[$%&#_^~]", written) == []


def test_the_terminal_has_no_figures_but_everything_else() -> None:
    only_figures = Section("Only figures", figures=(figure(),))
    lines = printed(content(only_figures).sections, 80)
    assert "A line." in lines
    assert not any("Only figures" in line or "Points" in line for line in lines)


def test_settings_of_a_chart_win_over_those_of_all_charts() -> None:
    below: dict[str, Any] = {"axis": {"grid": True, "labelFontSize": 12}, "font": "a"}
    assert merged(below, {"axis": {"grid": False}, "bar": 1}) == {
        "axis": {"grid": False, "labelFontSize": 12},
        "font": "a",
        "bar": 1,
    }


def test_the_command_reports_several_runs_together(tmp_path: Path, relubench: RunCommand) -> None:
    folders = [write_run(tmp_path / name, [verify_row(image=number)]) for number, name in enumerate("ab")]
    ended = relubench("report", *folders, "--out", tmp_path / "out", "--write", "csv", "--write", "html")
    assert (ended.code, ended.err) == (0, f"wrote report.html, rows.csv to {tmp_path / 'out'}\n")
    assert pd.read_csv(tmp_path / "out" / "rows.csv")["run"].tolist() == ["a", "b"]
    assert "<h1>Report on a, b</h1>" in (tmp_path / "out" / "report.html").read_text()


def test_an_unknown_file_is_refused(tmp_path: Path, relubench: RunCommand) -> None:
    ended = relubench(
        "report", write_run(tmp_path / "run", [verify_row()]), "--out", tmp_path / "out", "--write", "pdf"
    )
    assert ended.code == 2
    assert ended.err == (
        "relubench: error: --write is 'pdf'; expected one of html, markdown, latex, csv, parquet, figures\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path, relubench: RunCommand) -> None:
    run = write_run(tmp_path / "run", [verify_row()])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").mkdir()
    ended = relubench("report", run, "--out", tmp_path / "out")
    assert ended.code == 2
    assert ended.err.endswith("report.html cannot be written: Is a directory\n")


def test_latex_is_printed(tmp_path: Path, relubench: RunCommand) -> None:
    ended = relubench("report", write_run(tmp_path / "run", [verify_row()]), "--format", "latex")
    assert ended.out.startswith("\\documentclass")
    assert ended.err == ""


def test_a_page_shows_pixels_where_lines_would_be_long() -> None:
    short, long = Drawing(PNG, "<svg></svg>"), Drawing(PNG, f"<svg>{'x' * LONGEST_SVG}</svg>")
    assert short.data_url().startswith("data:image/svg+xml;base64,")
    assert long.data_url().startswith("data:image/png;base64,")


def test_rows_are_printed_without_anything_made_of_them(
    tmp_path: Path, relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("bench.report.content._sections")
    folder = write_run(tmp_path / "run", [verify_row()])
    done = relubench("report", str(folder), "--format", "csv", "--out", str(tmp_path / "out"), "--write", "parquet")
    assert done.out.startswith('"schema","cell"')
    assert (tmp_path / "out" / "rows.parquet").is_file()
