"""`relubench pair`: its exit codes and all its outputs, and an installation held against itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.machine import usable_cores
from bench.pairing import session
from tests.bench.made_side import OUTCOME, WARMED, made_side, slower
from tests.bench.suites import write_suite
from tests.conftest import Ended, RunCommand
from tests.installations import this_one

CELLS = 6
LYING = WARMED | {"outcome": OUTCOME | {"verdict": "falsified"}}


@pytest.fixture(autouse=True)
def any_processor(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Made sides measure nothing: no processor needs to be looked for."""
    if "itself" not in request.node.name:
        monkeypatch.setattr(session, "quietest_cores", lambda count: usable_cores()[:count])


@pytest.fixture
def suite(tmp_path: Path, tiny_network: Path) -> Path:
    return write_suite(tmp_path, tiny_network, images=CELLS, methods=["interval"])


def pair(relubench: RunCommand, suite: Path, *options: object, **head: Any) -> Ended:
    """A pairing of two made sides."""
    base, other = made_side(suite.parent, "base"), made_side(suite.parent, "head", **head)
    return relubench("pair", suite, "--base", base, "--head", other, *options)


@pytest.mark.parametrize(
    ("head", "code", "said"),
    [
        ({}, 0, "Nothing got worse"),
        ({"measure": slower(1.3)}, 1, "1.300 to 1.300 times as long"),
        ({"warm": LYING, "measure": slower(1.3)}, 3, "one of them is wrong"),
        ({"warm": {"failed": "ImportError: no solver"}}, 3, "no solver"),
    ],
)
def test_the_exit_code_says_what_is_wrong(
    head: dict[str, Any], code: int, said: str, suite: Path, relubench: RunCommand
) -> None:
    ended = pair(relubench, suite, "--markdown", "-", **head)
    assert ended.code == code
    assert said in ended.out


def test_a_side_that_dies_is_one_line_and_code_4(suite: Path, relubench: RunCommand) -> None:
    ended = pair(relubench, suite, measure="sys.exit('out of tokens')")
    assert ended.code == 4
    assert ended.out == ""
    last = ended.err.splitlines()[-1]
    assert last.startswith("relubench: error: head (")
    assert last.endswith("ended with exit code 1; its last words: out of tokens")


def test_a_side_that_dies_is_told_in_the_other_outputs_too(suite: Path, relubench: RunCommand, tmp_path: Path) -> None:
    ended = pair(relubench, suite, "--github", "--markdown", tmp_path / "pair.md", measure="sys.exit(1)")
    assert ended.code == 4
    assert ended.out.startswith("::error title=relubench::nothing could be compared; head (")
    assert "ended with exit code 1" in (tmp_path / "pair.md").read_text()


def test_every_output_says_the_same(
    suite: Path, relubench: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    paths = {name: tmp_path / name for name in ("pair.md", "pair.xml")}
    outputs = ("--markdown", paths["pair.md"], "--junit", paths["pair.xml"], "--github", "--out", tmp_path / "out")
    ended = pair(relubench, suite, *outputs, measure=slower(1.3))
    assert ended.code == 1
    assert "::error title=relubench paired time%3A time::6 cells: time 1x -> 1.300x" in ended.out
    assert (tmp_path / "summary").read_text() == paths["pair.md"].read_text() + "\n"
    assert "slower: 1.300 to 1.300 times as long, threshold 1.1" in paths["pair.md"].read_text()
    failures = ElementTree.parse(paths["pair.xml"]).findall(".//failure")
    assert len(failures) == 1
    record = json.loads((tmp_path / "out" / "pair.json").read_text())
    assert record["decision"] == "slower"
    assert record["ratios"]["wall_s"]["ratio"] == pytest.approx(1.3)
    assert record["sides"]["head"]["folder"] == "/somewhere"


def test_json_is_one_object(suite: Path, relubench: RunCommand) -> None:
    found = json.loads(pair(relubench, suite, "--json").out)
    assert (found["exit_code"], [lane["name"] for lane in found["lanes"]]) == (0, ["answers", "paired time"])


def test_the_record_has_every_measurement(suite: Path, relubench: RunCommand, tmp_path: Path) -> None:
    pair(relubench, suite, "--out", tmp_path / "out", "--rounds", 4, measure=slower(0.9))
    record = json.loads((tmp_path / "out" / "pair.json").read_text())
    assert (record["rounds"], len(record["cells"]), len(record["answers"])) == (4, CELLS, CELLS)
    for cell in record["cells"]:
        assert len(cell["pairs"]) == 8
        first = [found["head_first"] for found in cell["pairs"]]
        assert first in ([True, False, False, True] * 2, [False, True, True, False] * 2)
        assert [found["head"]["wall_s"] for found in cell["pairs"]] == [pytest.approx(0.009)] * 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--head", "nosuch"], "--head is nosuch; expected a Python interpreter, such as venv/bin/python"),
        (["--head", "."], "--head is .; expected a Python interpreter"),
        (["--threshold", "0.5"], "threshold is 0.5; expected"),
        (["--threshold", "nan"], "threshold is nan; expected"),
        (["--rounds", "2"], "rounds is 2; expected at least 3"),
        (["--max-rounds", "2"], "max rounds is 2; expected"),
        (["--hard-limit", "0"], "hard_limit_s is 0.0; expected a number of seconds above 0"),
        (["--json", "--github"], "--json, --github all print to the standard output"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(options: list[str], said: str, suite: Path, relubench: RunCommand) -> None:
    ended = pair(relubench, suite, *options)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"relubench: error: {said}")


def test_an_installation_is_not_slower_than_itself(
    relubench: RunCommand, tmp_path: Path, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two real sides, and all that they say of themselves."""
    monkeypatch.setattr(session, "MEASURED_S", 0.005)  # too short for a real answer
    suite = write_suite(tmp_path, tiny_network, images=3, methods=["interval", "lp"])
    with suite.open("a") as file:
        file.write(f'[[attack]]\nnetworks = ["{tiny_network}"]\nimages = 5\nepsilons = [0.1]\nmethods = ["fgsm"]\n')
    python = this_one(tmp_path / "same")
    options = ("--max-rounds", 3, "--out", tmp_path / "out")
    ended = relubench("pair", suite, "--base", python, "--head", python, *options)
    assert ended.code == 0, ended.out
    assert "Both sides run the same source" in ended.out
    record = json.loads((tmp_path / "out" / "pair.json").read_text())
    assert record["same_source"]
    assert len(record["cells"]) == 7
    assert all(len(cell["pairs"]) == 2 * record["rounds"] >= 6 for cell in record["cells"])
    versions = [answer["base"]["solver_version"] for answer in record["answers"]]
    assert versions.count(None) == 4
    assert record["answers"][0]["base"]["lower"] == record["answers"][0]["head"]["lower"]
