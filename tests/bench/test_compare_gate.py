"""The gate as it is documented and used: the workflow's commands, the suite `ci`, its baseline, and a real run."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from bench.cli import app
from bench.plan import make_plan
from bench.store import read_manifest, read_rows
from bench.suite import Suite, load_suite
from tests.bench.suites import write_suite
from tests.conftest import RunCommand

ROOT = Path(__file__).parents[2]
BASELINE = ROOT / "results" / "baselines" / "ci"
WORKFLOW = (ROOT / "docs" / "github-actions.yml").read_text(encoding="utf-8")
DOCUMENT = (ROOT / "docs" / "regression.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of docs/regression.md in one language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def jobs() -> dict[str, Any]:
    workflow = yaml.safe_load(WORKFLOW)
    assert set(workflow) == {"name", True, "permissions", "jobs"}  # `on` is true to YAML 1.1
    found: dict[str, Any] = workflow["jobs"]
    return found


def shell_lines() -> Iterator[str]:
    """Every line of shell that the documents have a reader run."""
    for job in jobs().values():
        for step in job["steps"]:
            yield from step.get("run", "").splitlines()
    for text in (*blocks("sh"), re.sub(r"^    ", "", DOCUMENT, flags=re.M), (ROOT / ".ci" / "run").read_text()):
        yield from text.splitlines()


def commands() -> list[list[str]]:
    """The words of each call of relubench, from the name of its command on."""
    lines = (line.strip() for line in shell_lines())
    words = [shlex.split(line, comments=True) for line in lines if re.match(r"(\S*/)?relubench \w+ ", line)]
    return [found[1:] for found in words]


def test_the_documents_call_the_commands_of_the_gate() -> None:
    assert {"run", "compare", "pair"} <= {words[0] for words in commands()}
    assert len(commands()) >= 8


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words[:4]))
def test_each_documented_command_is_one_that_there_is(words: list[str]) -> None:
    command = typer.main.get_command(app)
    # Click's own parser: it raises for an option, an argument or a value that does not fit.
    with command.make_context("relubench", list(words)) as context:
        name, inner, rest = command.resolve_command(context, list(words))  # type: ignore[attr-defined]
        inner.make_context(name, rest, parent=context)


def test_each_job_of_the_workflow_runs_somewhere_and_ends() -> None:
    for job in jobs().values():
        assert job["runs-on"]
        assert job["timeout-minutes"] <= 60
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def test_the_gate_compares_a_run_that_contradicts_itself_too() -> None:
    steps = jobs()["answers-and-work"]["steps"]
    compares = next(step for step in steps if "relubench compare" in step.get("run", ""))
    assert compares["if"] == "success() || failure()"


def test_the_documents_suite_is_one() -> None:
    (text,) = blocks("toml")
    suite = Suite.model_validate(tomllib.loads(text))
    assert (suite.threads, suite.time_limit_s) == (1, None)
    assert len(suite.seeds) >= 3


def test_the_suite_of_the_gate_is_limited_by_no_clock() -> None:
    suite = load_suite("ci")
    assert (suite.threads, suite.time_limit_s, suite.hard_limit_s) == (1, None, None)
    assert suite.node_limit is not None
    assert len(suite.seeds) >= 3
    solvers = {solver for table in suite.verify for solver in table.solvers}
    assert solvers == {"highs", "cbc", "gurobi"}
    assert {method for table in suite.verify for method in table.methods} >= {
        "interval",
        "linear",
        "lp",
        "milp",
        "staged",
    }


def test_the_baseline_has_the_cells_of_the_suite_and_no_other() -> None:
    planned = {planned.digest for planned in make_plan(load_suite("ci")).cells}
    assert {row.cell for row in read_rows(BASELINE)[0]} == planned, "refresh it: docs/regression.md"


def test_the_baseline_says_on_what_it_was_made_and_refers_to_no_file() -> None:
    (start,) = read_manifest(BASELINE)["starts"]
    assert start["cpu"]
    assert start["simd"]
    assert not start["git_commit"].endswith("-dirty")
    assert {path.name for path in BASELINE.iterdir()} == {"rows.jsonl", "manifest.json"}
    assert all(row.arrays is None and row.log is None for row in read_rows(BASELINE)[0])
    assert (BASELINE / "rows.jsonl").stat().st_size < 250_000


def test_unchanged_code_repeats_each_answer_and_each_count(
    tiny_network: Path, tmp_path: Path, relubench: RunCommand
) -> None:
    suite = write_suite(tmp_path, tiny_network, "node_limit = 3\nseeds = [0, 1]", methods=["linear", "lp", "milp"])
    for out in ("base", "head"):
        assert relubench("run", suite, "--out", tmp_path / out, "--no-report").code == 0
    assert relubench("compare", tmp_path / "kept", tmp_path / "base", "--update").code == 0
    ended = relubench("compare", tmp_path / "kept", tmp_path / "head")
    assert ended.code == 0, ended.out
    assert "Not compared" not in ended.out
    assert "each count" in ended.out
