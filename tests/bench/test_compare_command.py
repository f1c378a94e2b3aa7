"""`relubench compare`: exit codes, every form of output, and baselines."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from bench.compare import Comparison, Excluded, Finding, Lane, Level
from bench.compare.github import workflow_commands
from bench.compare.junit import as_junit
from bench.compare.markdown import LONGEST, as_markdown
from bench.row import Row
from bench.store import read_manifest, read_rows
from tests.bench.made_rows import attack_row, failed, write_run
from tests.bench.test_compare import DECIDED, row, with_counters
from tests.conftest import RunCommand

START = {"start": "2026-01-01", "cpu": "EPYC", "versions": {"numpy": "2.4"}}
CHANGES: dict[int, list[Row]] = {
    0: [row(), row(image=1)],
    1: [with_counters(row(), nodes=7), row(image=1)],
    3: [with_counters(row(lower=[0.5, -1.0]), nodes=7), row(image=1)],
    4: [row(epsilon=0.3)],
}
HOSTILE = "<b>%0A::error::x|y\r\n\x1b[31m & \x00"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return made(tmp_path / "base", [row(), row(image=1)])


def made(folder: Path, rows: list[Row]) -> Path:
    return write_run(folder, rows, suite={"name": "s"}, starts=[START])


@pytest.mark.parametrize("code", CHANGES)
def test_exit_codes(code: int, base: Path, tmp_path: Path, relubench: RunCommand) -> None:
    ended = relubench("compare", base, made(tmp_path / "head", CHANGES[code]))
    assert ended.code == code
    assert ended.out
    assert "Traceback" not in ended.err


def test_a_run_without_rows_has_nothing_to_compare(base: Path, tmp_path: Path, relubench: RunCommand) -> None:
    ended = relubench("compare", base, made(tmp_path / "head", []))
    assert ended.code == 4
    assert "HEAD has no rows: nothing was measured" in ended.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nosuch"], "nosuch is not a folder"),
        (["{base}", "--work-threshold", "0.5"], "--work-threshold is 0.5; expected a ratio of at least 1"),
        (["{base}", "--work-threshold", "nan"], "--work-threshold is nan"),
        (["{base}", "--json", "--markdown", "-"], "--markdown, --json all print to the standard output"),
        (["{base}", "--json", "--github"], "expected one of them"),
        (["{base}", "--junit", "nosuch/x.xml"], "cannot be written"),
        (["{base}", "--update"], "BASE and HEAD are both"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(options: list[str], said: str, base: Path, relubench: RunCommand) -> None:
    ended = relubench("compare", base, *(option.format(base=base) for option in options))
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_shows_what_changed_and_last_what_it_comes_to(
    width: int, base: Path, tmp_path: Path, relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = relubench("compare", base, made(tmp_path / "head", CHANGES[3])).out
    assert max(map(len, out.splitlines())) <= width
    assert out.index("Failures") < out.index("A wrong or changed answer (1 in answers, 1 in work)")
    assert "lower bound" in out
    assert "0.5" in out


def test_json_has_everything(base: Path, tmp_path: Path, relubench: RunCommand) -> None:
    ended = relubench("compare", base, made(tmp_path / "head", CHANGES[1]), "--json")
    said = json.loads(ended.out)
    assert (said["exit_code"], said["lanes"][1]["name"]) == (1, "work")
    (finding,) = said["lanes"][1]["findings"]
    assert (finding["level"], finding["what"], finding["base"], finding["head"]) == ("failure", "nodes", "0", "7")


def test_files_are_written_beside_the_terminals_tables(base: Path, tmp_path: Path, relubench: RunCommand) -> None:
    markdown, junit = tmp_path / "c.md", tmp_path / "c.xml"
    head = made(tmp_path / "head", CHANGES[3])
    ended = relubench("compare", base, head, "--markdown", markdown, "--junit", junit)
    assert "Lanes" in ended.out
    assert markdown.read_text().startswith("### ")
    document = JUnitXml.fromfile(str(junit))
    assert (document.failures, document.tests) == (2, 4)


def test_a_dash_prints_in_place_of_the_tables(base: Path, relubench: RunCommand) -> None:
    assert relubench("compare", base, base, "--markdown", "-").out.startswith("### ")
    assert relubench("compare", base, base, "--junit", "-").out.startswith("<?xml")


def test_github_gets_annotations_and_a_summary(
    base: Path, tmp_path: Path, relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    out = relubench("compare", base, made(tmp_path / "head", CHANGES[1]), "--github").out
    assert "::error title=relubench work%3A nodes::mnist_small, image 0, epsilon 0.1: lp highs: nodes 0 -> 7" in out
    assert summary.read_text().startswith("before\n### ")


def test_github_is_told_where_nothing_could_be_compared(base: Path, tmp_path: Path, relubench: RunCommand) -> None:
    ended = relubench("compare", base, made(tmp_path / "head", CHANGES[4]), "--github")
    assert "::error title=relubench::nothing could be compared; the runs have no cell in common" in ended.out


def comparison(count: int, where: str = "cell") -> Comparison:
    findings = tuple(
        Finding(level, f"{where} {index}", "nodes", "1", "2", where) for level in Level for index in range(count)
    )
    excluded = tuple(Excluded(f"{where} {index}", "answers", f"reason {index}") for index in range(count))
    return Comparison("BASE", "HEAD", (Lane("work", 1, count, count, findings, excluded),))


def test_markdown_fits_a_comment_however_much_there_is_to_say() -> None:
    text = as_markdown(comparison(3_000, "x" * 100))
    assert len(text) < LONGEST <= 60_000
    assert "2,950 more" in text
    assert text.count("<details>") == text.count("</details>")


def test_markdown_folds_all_but_the_failures() -> None:
    text = as_markdown(comparison(2))
    before, _, folded = text.partition("<details>")
    assert "### Failures" in before
    assert "Warnings" in folded
    assert "Not compared" in folded


def test_what_a_file_cannot_hold_is_escaped() -> None:
    hostile = comparison(1, HOSTILE)
    assert JUnitXml.fromstring(as_junit(hostile).encode()).failures == 1
    lines = list(workflow_commands(hostile))
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) and "\n" not in line for line in lines)
    assert "%250A" in lines[0]
    assert "<b>" not in as_markdown(hostile)


def test_annotations_stop_where_github_would_drop_them() -> None:
    lines = list(workflow_commands(comparison(25)))
    assert [sum(line.startswith(f"::{name} ") for line in lines) for name in ("error", "warning", "notice")] == [10] * 3
    assert "16 more" in lines[9]


def test_update_makes_the_first_baseline_and_then_shows_what_it_changes(
    base: Path, tmp_path: Path, relubench: RunCommand
) -> None:
    kept = tmp_path / "baselines" / "ci"
    assert relubench("compare", kept, base, "--update").code == 0
    assert relubench("compare", kept, base).code == 0
    head = made(tmp_path / "head", CHANGES[3])
    ended = relubench("compare", kept, head, "--update")
    assert (ended.code, "lower bound" in ended.out) == (0, True)
    assert f"{kept} is now the baseline: 2 cells" in " ".join(ended.err.split())
    assert relubench("compare", kept, head).code == 0
    assert relubench("compare", kept, base).code == 3


def test_a_baseline_keeps_what_a_comparison_needs_and_refers_to_no_file(tmp_path: Path, relubench: RunCommand) -> None:
    rows = [row(arrays="arrays/a.npz", peak_memory_mb=9.0, **DECIDED), attack_row(arrays="arrays/b.npz")]
    head, kept = made(tmp_path / "head", rows), tmp_path / "kept"
    relubench("compare", kept, head, "--update")
    assert {path.name for path in kept.iterdir()} == {"rows.jsonl", "manifest.json"}
    assert read_manifest(kept)["starts"][0]["cpu"] == "EPYC"
    bare = [replace(one, arrays=None, peak_memory_mb=None) for one in rows]
    assert sorted(read_rows(kept)[0], key=lambda one: one.kind) == sorted(bare, key=lambda one: one.kind)
    assert len((kept / "rows.jsonl").read_text()) < len((head / "rows.jsonl").read_text()) / 2


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        ([failed(row(), "ValueError: no")], 2, "is no baseline: 1 of its 1 cells failed"),
        ([], 2, "is no baseline: it has no rows"),
        ([row(lower=[1.0, 3.0])], 2, "is no baseline: it contradicts itself"),
    ],
)
def test_a_broken_run_does_not_become_the_baseline(
    rows: list[Row], code: int, said: str, base: Path, tmp_path: Path, relubench: RunCommand
) -> None:
    before = (base / "rows.jsonl").read_bytes()
    ended = relubench("compare", base, made(tmp_path / "head", rows), "--update")
    assert (ended.code, said in " ".join(ended.err.split())) == (code, True)
    assert (base / "rows.jsonl").read_bytes() == before


def micro(path: Path, *, brand: str = "EPYC", **benchmarks: dict[str, Any]) -> Path:
    listed = [
        {"fullname": name, "stats": {"median": info.pop("median", 1.0)}, "extra_info": info}
        for name, info in benchmarks.items()
    ]
    content = {"machine_info": {"cpu": {"brand_raw": brand}, "python_version": "3.11"}, "benchmarks": listed}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ({"nodes": 5, "rows": 9}, 0),
        ({"nodes": 4, "rows": 9}, 0),
        ({"nodes": 6, "rows": 9}, 1),
        ({"nodes": 5, "rows": 8}, 3),
        ({"nodes": 5, "rows": 9, "median": 50.0, "ratio": 7.5}, 0),
        ({"ratio": 7.5, "flag": True}, 3),  # its counters are gone, as if the benchmark were
        ({"nodes": 5}, 3),
        ({"rows": 9}, 3),
        ({"nodes": 5, "rows": 9.0}, 3),
        ({"nodes": 5, "rows": "9"}, 3),
        ({"nodes": 5, "rows": None}, 3),
        ({"nodes": 5, "rows": 9, "binaries": 7}, 0),
    ],
)
def test_micro_benchmarks_gate_by_their_counters(
    head: dict[str, Any], code: int, tmp_path: Path, relubench: RunCommand
) -> None:
    base = micro(tmp_path / "base.json", encode={"nodes": 5, "rows": 9, "ratio": 2.5})
    assert relubench("compare", base, micro(tmp_path / "head.json", encode=head)).code == code


def test_micro_benchmarks_of_another_processor_warn_of_work_and_block_sizes(
    tmp_path: Path, relubench: RunCommand
) -> None:
    base = micro(tmp_path / "base.json", encode={"nodes": 5, "rows": 9})
    assert (
        relubench("compare", base, micro(tmp_path / "h.json", brand="Xeon", encode={"nodes": 6, "rows": 9})).code == 0
    )
    assert (
        relubench("compare", base, micro(tmp_path / "h.json", brand="Xeon", encode={"nodes": 5, "rows": 8})).code == 3
    )


def test_a_benchmark_that_is_gone_blocks(tmp_path: Path, relubench: RunCommand) -> None:
    base = micro(tmp_path / "base.json", encode={"nodes": 5}, attack={"nodes": 5})
    head = micro(tmp_path / "head.json", encode={"nodes": 5})
    ended = relubench("compare", base, head)
    assert (ended.code, "no longer measured" in ended.out) == (3, True)
    assert relubench("compare", head, micro(tmp_path / "other.json", other={"nodes": 5})).code == 4


def test_what_is_missing_is_not_called_a_wrong_answer(tmp_path: Path, relubench: RunCommand) -> None:
    whole: dict[str, Any] = {"encode": {"nodes": 5, "rows": 9}, "attack": {"nodes": 5}}
    base = micro(tmp_path / "base.json", **deepcopy(whole))
    for name, head in (("benchmark", {"encode": whole["encode"]}), ("rows", {**whole, "encode": {"nodes": 5}})):
        ended = relubench("compare", base, micro(tmp_path / f"{name}.json", **deepcopy(head)))
        assert (ended.code, name in ended.out) == (3, True)
        assert "What BASE measured is no longer measured (1 in answers)" in ended.out
        assert "wrong or changed" not in ended.out


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"benchmarks": [1]}', '{"benchmarks": [{"fullname": "a"}]}', "\x00"])
def test_what_is_no_file_of_benchmarks_is_refused(text: str, tmp_path: Path, relubench: RunCommand) -> None:
    (tmp_path / "base.json").write_text(text)
    ended = relubench("compare", tmp_path / "base.json", micro(tmp_path / "head.json", encode={"nodes": 5}))
    assert ended.code == 2
    assert "expected what `pytest --benchmark-json` wrote" in ended.err


def test_a_run_and_a_file_are_not_compared(base: Path, tmp_path: Path, relubench: RunCommand) -> None:
    ended = relubench("compare", base, micro(tmp_path / "head.json", encode={"nodes": 5}))
    assert ended.code == 2
    assert "expected what `pytest --benchmark-json` wrote" in ended.err
