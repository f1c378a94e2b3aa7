"""Back-ends that lie, run by the real command beside an honest one: each is named, and nobody else."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.commands.check import CONTRADICTED
from tests.conftest import RELUBENCH, Ended, random_network
from tests.plugins import environment_with, install_plugin

LIARS = {
    "always_infeasible": "AlwaysInfeasible",
    "bound_too_high": "BoundTooHigh",
    "incumbent_as_optimal": "IncumbentAsOptimal",
    "witness_outside": "WitnessOutside",
}
# An input of mnist_small that has a witness, which no corner of a linear bound is: a liar who finds the model of
# counterexamples infeasible verifies it.
SUITE = """name = "liars"
time_limit_s = 20
[[verify]]
networks = ["tiny.safetensors"]
images = 1
epsilons = [0.05, 0.1]
methods = ["interval", "linear", "lp", "milp", "staged"]
solvers = {solvers}
[[verify]]
networks = ["mnist_small"]
images = [4]
epsilons = [0.0417]
methods = ["milp"]
goals = ["verdict"]
solvers = ["highs", "always_infeasible"]
[[attack]]
networks = ["tiny.safetensors"]
images = 1
epsilons = [0.05]
methods = ["pgd_linf"]
clip = [0.0, 1.0]
device = "cpu"
"""
# Who is accused of what, by method: an honest LP is not to blame for what the same liar says of a MILP.
ACCUSED = {
    ("always_infeasible", "lp"): {"feasible"},
    ("always_infeasible", "milp"): {"feasible"},
    ("bound_too_high", "lp"): {"duals", "agreement"},
    ("bound_too_high", "milp"): {"bracket", "claim", "agreement", "order"},
    ("incumbent_as_optimal", "milp"): {"bracket", "claim", "agreement", "order"},
    ("witness_outside", "lp"): {"solution"},
    ("witness_outside", "milp"): {"solution", "attained"},
}


@dataclass(frozen=True)
class Lies:
    """A run with all liars in it: how it ended, and its rows."""

    folder: Path
    environment: dict[str, str]
    ended: Ended

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "run" / "rows.jsonl").read_text().splitlines()]

    def command(self, *words: str) -> Ended:
        return relubench(self.folder, self.environment, *words)


def relubench(folder: Path, environment: dict[str, str], *words: str) -> Ended:
    ended = subprocess.run([*RELUBENCH, *words], cwd=folder, env=environment, capture_output=True, text=True)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def lies(tmp_path_factory: pytest.TempPathFactory) -> Lies:
    folder = tmp_path_factory.mktemp("liars")
    random_network(0).save(folder / "tiny.safetensors")
    (folder / "suite.toml").write_text(SUITE.format(solvers=json.dumps(["highs", *LIARS])), encoding="utf-8")
    places = {name: f"tests.bench.lying_backends:{kind}" for name, kind in LIARS.items()}
    environment = environment_with(install_plugin(folder / "plugin", **places))
    ended = relubench(folder, environment, "run", "suite.toml", "--out", "run", "--no-report")
    return Lies(folder, environment, ended)


@pytest.fixture(scope="module")
def checked(lies: Lies) -> Ended:
    """How the check of the run ended."""
    return lies.command("check", "run", "--json")


def test_the_run_finishes_and_its_exit_code_says_that_something_does_not_hold(lies: Lies) -> None:
    assert lies.ended.code == CONTRADICTED
    assert "Traceback" not in lies.ended.err
    assert len(lies.rows) == 2 * (2 + 3 * 5) + 2 + 1
    assert [row["error"] for row in lies.rows] == [None] * len(lies.rows)
    assert "rows are not to be believed" in lies.ended.out


def test_each_liar_is_named_for_its_lie_and_nobody_else_is(lies: Lies, checked: Ended) -> None:
    assert checked.code == CONTRADICTED
    findings = json.loads(checked.out)["findings"]
    by_cell = {row["cell"]: row for row in lies.rows}
    accused: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        for side in finding["sides"]:
            if side["guilty"]:
                row = by_cell[side["cell"]]
                accused.setdefault((row["solver"], row["method"]), set()).add(finding["check"])
    assert accused.keys() == ACCUSED.keys()
    for who, checks in ACCUSED.items():
        assert checks <= accused[who], who


def test_a_finding_names_the_cell_the_target_both_values_and_the_tolerance(lies: Lies, checked: Ended) -> None:
    findings = json.loads(checked.out)["findings"]
    found = next(f for f in findings if f["check"] == "duals" and f["epsilon"] == 0.05 and f["image"] == 0)
    claimed, certified = (side["value"] for side in found["sides"])
    row = next(row for row in lies.rows if row["cell"] == found["sides"][0]["cell"])
    place = row["targets"].index(found["target"])
    assert (row["solver"], claimed, certified) == ("bound_too_high", row["claimed"][place], row["certified"][place])
    assert claimed - certified == pytest.approx(0.01 * abs(certified), rel=0.02)
    assert 0 < found["tolerance"] < claimed - certified


def test_a_false_infeasible_that_verified_is_contradicted_by_the_witness(lies: Lies, checked: Ended) -> None:
    verdicts = {row["solver"]: row["verdict"] for row in lies.rows if row["network"] == "mnist_small"}
    assert verdicts == {"highs": "falsified", "always_infeasible": "verified"}
    findings = json.loads(checked.out)["findings"]
    checks = {finding["check"] for finding in findings if finding["network"] == "mnist_small"}
    assert "verdict" in checks


def test_a_solution_outside_the_ball_is_recorded_and_makes_no_witness(lies: Lies, checked: Ended) -> None:
    rows = [row for row in lies.rows if row["solver"] == "witness_outside" and row["method"] in ("lp", "milp")]
    assert all(row["violation"] >= 0.5 for row in rows)
    judged = json.loads(checked.out)
    assert judged["tested"]["witness"] >= len(rows)  # every witness that was kept is one
    assert not [finding for finding in judged["findings"] if finding["check"] == "witness"]


def test_a_report_counts_no_liar_as_solved_and_says_so_first(lies: Lies) -> None:
    report = lies.command("report", "run")
    assert report.out.startswith("The answer ")
    assert re.match(r"\d+ contradictions, of \d+ rows that count as contradicted:", report.out.splitlines()[1])
    csv = lies.command("report", "run", "--format", "csv").out
    frame = pd.read_csv(StringIO(csv))
    guilty = frame[[pair in ACCUSED for pair in zip(frame["solver"], frame["method"], strict=True)]]
    assert Counter(guilty["outcome"]) == {"contradicted": len(guilty)}
    assert not guilty["solved"].any()
    honest = frame[frame["solver"] == "highs"]
    assert "contradicted" not in set(honest["outcome"])
