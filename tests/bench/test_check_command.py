"""`relubench check`: what it prints, its exit codes, runs judged together, and witnesses run forward once more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.commands.check import CONTRADICTED
from bench.row import Row
from bench.store import read_rows
from networks.data import test_image as image_of  # not under a name that pytest collects
from tests.bench.made_rows import verify_row, write_run
from tests.conftest import RunCommand, random_network

HONEST: dict[str, Any] = {"safety": [2e-6] * 2, "verdict": "unknown"}
SUITE = """name = "tiny"
[[verify]]
networks = ["tiny.safetensors"]
images = 1
epsilons = [0.1]
methods = ["interval", "lp", "milp"]
clip = false
"""


@pytest.fixture
def falsified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relubench: RunCommand) -> Path:
    """A run with a witness, of a network in the working directory."""
    monkeypatch.chdir(tmp_path)
    random_network(seed=24).save("tiny.safetensors")  # right at image 0, and wrong within 0.1 of it
    Path("suite.toml").write_text(SUITE, encoding="utf-8")
    ended = relubench("run", "suite.toml", "--out", "run", "--no-report")
    assert ended.code == 0, ended.out + ended.err
    return tmp_path / "run"


def rewritten(run: Path, change: Callable[[Row], Row]) -> None:
    """The run with every falsified row changed."""
    rows = read_rows(run)[0]
    assert any(row.verdict == "falsified" for row in rows)
    text = "".join((change(row) if row.verdict == "falsified" else row).to_json() + "\n" for row in rows)
    (run / "rows.jsonl").write_text(text, encoding="utf-8")


def with_witness(run: Path, change: Callable[[Any], Any]) -> None:
    """The run with every falsified row's witness changed."""
    for row in read_rows(run)[0]:
        if row.verdict == "falsified":
            with np.load(run / str(row.arrays)) as file:
                arrays = {name: file[name] for name in file}
            np.savez(run / str(row.arrays), **arrays | {"worst_input": change(arrays["worst_input"])})


def findings(relubench: RunCommand, *runs: Path) -> list[dict[str, Any]]:
    ended = relubench("check", *runs, "--json")
    found: list[dict[str, Any]] = json.loads(ended.out)["findings"]
    assert ended.code == (CONTRADICTED if found else 0)
    return found


def test_a_healthy_run_says_how_much_was_tested(falsified: Path, relubench: RunCommand) -> None:
    ended = relubench("check", falsified)
    assert ended.code == 0
    assert "nothing is contradicted" in ended.out
    tested = json.loads(relubench("check", falsified, "--json").out)["tested"]
    assert all(tested[name] for name in ("bracket", "order", "attained", "feasible", "witness"))
    assert f"{tested['bracket']:,}" in next(line for line in ended.out.splitlines() if "bracket" in line)


def test_runs_are_judged_together(tmp_path: Path, relubench: RunCommand) -> None:
    one = write_run(tmp_path / "one", [verify_row(**HONEST)])
    other = write_run(tmp_path / "other", [verify_row(**HONEST, solver="cbc", lower=[2.0, -1.0])])
    assert findings(relubench, one) == findings(relubench, other) == findings(relubench, one, one) == []
    found = findings(relubench, one, other)
    assert {(finding["check"], finding["target"]) for finding in found} == {("agreement", 1), ("order", 1)}
    assert {(side["who"], side["value"]) for side in found[0]["sides"]} == {("lp cbc", 2.0), ("lp highs", 1.0)}


def test_a_finding_is_printed_with_who_where_values_and_tolerance(tmp_path: Path, relubench: RunCommand) -> None:
    run = write_run(
        tmp_path / "run", [verify_row(method="linear", lower=[4.5, -1.0], safety=[0.0, 0.0], cell="c" * 64)]
    )
    ended = relubench("check", run)
    assert ended.code == CONTRADICTED
    assert (
        "bracket: linear (mnist_small, image 0, epsilon 0.1, target 1): a lower bound above the margin of an input: "
        f"certified bound 4.5; an input with margin 4; tolerance 0 [cell {'c' * 12}]"
    ) in ended.out


@pytest.mark.parametrize(("name", "said"), [("nowhere", "is not a folder"), ("empty", "cannot be read")])
def test_what_is_no_run_is_one_line(tmp_path: Path, relubench: RunCommand, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    ended = relubench("check", tmp_path / name)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_a_witness_outside_the_ball_is_found(falsified: Path, relubench: RunCommand) -> None:
    with_witness(falsified, lambda point: point + 0.2)
    found = [finding for finding in findings(relubench, falsified) if finding["check"] == "witness"]
    assert "its witness lies outside the ball" in {finding["message"] for finding in found}
    assert all(side["guilty"] for finding in found for side in finding["sides"])


def test_a_witness_outside_the_clip_is_found(falsified: Path, relubench: RunCommand) -> None:
    rewritten(falsified, lambda row: replace(row, clip=(0.0, 1.0)))  # which was searched without one
    messages = {f["message"] for f in findings(relubench, falsified) if f["check"] == "witness"}
    assert messages == {"its witness lies outside the clip"}


def test_a_witness_that_is_classified_as_the_label_is_found(falsified: Path, relubench: RunCommand) -> None:
    with_witness(falsified, lambda point: image_of(0)[0].astype(float))
    messages = {f["message"] for f in findings(relubench, falsified) if f["check"] == "witness"}
    assert messages == {"its witness is classified as the label"}


def test_a_row_that_says_otherwise_of_float32_is_found(falsified: Path, relubench: RunCommand) -> None:
    rewritten(falsified, lambda row: replace(row, witness_single=not row.witness_single))
    messages = {f["message"] for f in findings(relubench, falsified) if f["check"] == "witness"}
    assert messages == {"it says that its witness does not hold in float32"}


def guilty_methods(found: list[dict[str, Any]]) -> set[str]:
    return {side["who"].split()[0] for finding in found for side in finding["sides"] if side["guilty"]}


def test_an_upper_bound_that_its_witness_does_not_have_accuses_its_row_alone(
    falsified: Path, relubench: RunCommand
) -> None:
    said = {row.method: row.verdict for row in read_rows(falsified)[0]}
    nothing: dict[str, Any] = {"status": ["time_limit"] * 9, **{name: [None] * 9 for name in ("lower", "certified")}}
    nothing |= {"upper": [-50.0] * 9, "safety": [1e-6] * 9, "claimed": [None] * 9}
    rewritten(falsified, lambda row: replace(row, **nothing))
    found = findings(relubench, falsified)
    assert guilty_methods(found) == {method for method, verdict in said.items() if verdict == "falsified"} < {*said}
    assert {finding["message"] for finding in found} == {"its least upper bound is not the margin of its input"}


def test_a_row_whose_witness_fails_accuses_no_other(falsified: Path, relubench: RunCommand) -> None:
    rewritten(falsified, lambda row: replace(row, upper=[-50.0] * len(row.upper), lower=[None] * len(row.lower)))
    with_witness(falsified, lambda point: point + 0.2)
    assert "interval" not in guilty_methods(findings(relubench, falsified))


def test_a_report_of_a_run_and_its_check_go_by_the_same_witnesses(falsified: Path, relubench: RunCommand) -> None:
    with_witness(falsified, lambda point: point + 0.2)
    ended = relubench("run", "suite.toml", "--out", "run")
    assert ended.code == CONTRADICTED
    assert "2 contradictions, of 2 rows that count as contradicted:" in ended.out.splitlines()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"network_digest": "d" * 64}, "network tiny.safetensors is another one now"),
        ({"network": "gone.safetensors"}, "network gone.safetensors cannot be loaded"),
        ({"dataset": "cifar"}, "data set cifar is not known here"),
        ({"arrays": None}, "its row names no arrays"),
        ({"arrays": "arrays/gone.npz"}, "its arrays cannot be read"),
    ],
)
def test_a_witness_that_cannot_be_replayed_is_noted(
    falsified: Path, relubench: RunCommand, values: dict[str, Any], why: str
) -> None:
    rewritten(falsified, lambda row: replace(row, **values))
    ended = relubench("check", falsified)
    assert "Traceback" not in ended.err
    assert any(line.startswith("note: ") and "not replayed" in line and why in line for line in ended.err.splitlines())


def test_a_run_says_what_was_passed_over_once(falsified: Path, relubench: RunCommand) -> None:
    again = read_rows(falsified)[0][0].to_json()
    with (falsified / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(again + "\n")
    ended = relubench("run", "suite.toml", "--out", "run")
    assert ended.code == 0, ended.out + ended.err
    assert ended.err.count("note: 1 rows were measured again later") == 1
