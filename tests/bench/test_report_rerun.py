"""The command that asks a row's question again asks exactly that question."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import cli
from bench.plan import make_plan
from bench.report.rerun import TOLERANCES, rerun
from bench.row import Row
from bench.suite import load_suite
from bench.worker import measure
from solvers.backend import SolverOptions
from tests.bench.made_rows import attack_row, verify_row
from tests.conftest import random_network

SUITE = """name = "small"
seeds = [0, 3]
time_limit_s = 30.0
[[verify]]
networks = ["tiny.safetensors"]
images = [2]
epsilons = [0.05, 0.1234567890123]
methods = ["interval", "lp", "milp", "staged"]
solvers = ["highs"]
formulations = ["compact", "textbook"]
goals = ["margin", "verdict"]
queries = ["each", "maximum"]
node_limit = 4000
clip = [-0.5, 1.5]
[[verify]]
networks = ["tiny.safetensors"]
images = 1
epsilons = [0.02]
methods = ["linear"]
clip = false
[[attack]]
networks = ["tiny.safetensors"]
images = 5
epsilons = [0.1]
methods = ["fgsm", "pgd_linf"]
steps = 3
restarts = 2
[[attack]]
networks = ["tiny.safetensors"]
images = 20
epsilons = [0.1]
methods = ["pgd_linf"]
steps = 2
step = 0.05
target = 1
clip = [0.0, 1.0]
"""


def fields(row: Row) -> dict[str, Any]:
    return dict(json.loads(row.to_json()))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random_network(seed=0).save("tiny.safetensors")
    Path("suite.toml").write_text(SUITE, encoding="utf-8")
    return tmp_path


def arguments(command: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `bench.verify` or the attack is called with by a command line."""
    called: dict[str, Any] = {}

    def note(*positional: Any, **named: Any) -> None:
        called.update(named, positional=positional)
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.verification.verify", note)
    monkeypatch.setattr("bench.methods.attacks.attack", note)
    words = shlex.split(command)
    assert words[0] == "relubench"
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        cli.main()
    return called


def test_each_cell_of_a_suite_is_asked_again_with_what_its_worker_asked(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(load_suite("suite.toml"))
    assert len(plan.cells) > 40
    for planned in plan.cells:
        with monkeypatch.context() as patch:
            asked: dict[str, Any] = {}
            patch.setattr("bench.methods.witness.load_torch", lambda: None)
            for name in ("bench.verification.verify", "bench.methods.attacks.attack"):
                patch.setattr(name, lambda *given, _to=asked, **named: _to.update(named, positional=given))
            measure(planned)
        # A row has the length of the steps where the suite left it to the attack, which the worker is not told.
        row = replace(planned.blank_row("2026-01-01T00:00:00+00:00"), step=planned.cell.step)
        with monkeypatch.context() as patch:
            again = arguments(rerun(fields(row), planned.cell.images).command, patch)
        compare(asked, again, planned.cell.kind)


def compare(asked: dict[str, Any], again: dict[str, Any], kind: str) -> None:
    """Both calls have the same network, inputs and options; what the command adds is the usual value."""
    usual = {"stable": None, "step": None, "steps": 40, "restarts": 1}
    for name in ({*asked} | {*again}) - {"positional", "log"}:
        left, right = asked.get(name, usual.get(name)), again.get(name, usual.get(name))
        assert left == right or name not in asked, name
    networks, *rest = zip(asked["positional"], again["positional"], strict=True)
    assert networks[1] == "tiny.safetensors"
    for left, right in rest:
        assert np.array_equal(left, right)


def test_an_attack_is_given_the_threads_of_its_row(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr("bench.methods.attacks.attack", lambda *given, **named: seen.append(torch.get_num_threads()))
    command = rerun(fields(attack_row(network="tiny.safetensors", threads=before + 1))).command
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(AttributeError):  # there is no result to print
        cli.main()
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


def test_words_are_quoted_for_a_shell() -> None:
    command = rerun(fields(verify_row(network="a dir/my $(net).safetensors"))).command
    assert shlex.split(command)[2] == "a dir/my $(net).safetensors"
    assert rerun(fields(verify_row(network="-e.safetensors"))).command.startswith("relubench verify ./-e.safetensors")


@pytest.mark.parametrize("epsilon", [0.1, 1e-17, 0.30000000000000004, 2.0, 0.0])
def test_numbers_are_written_with_all_their_digits(epsilon: float) -> None:
    words = shlex.split(rerun(fields(verify_row(epsilon=epsilon))).command)
    assert float(words[words.index("--epsilon") + 1]) == epsilon


def test_a_row_of_propagation_names_neither_solver_nor_switches() -> None:
    command = rerun(fields(verify_row(method="interval"))).command
    assert "--solver" not in command
    assert "--bounds" not in command
    assert "--time-limit" not in command


def test_what_a_command_line_cannot_say_is_said_beside_it() -> None:
    notes = rerun(fields(verify_row(network="mine.safetensors", image=1000, mip_gap=0.1, hard_limit_s=10.0))).notes
    assert [note.split()[0] for note in notes] == ["The", "Images", "No", "A"]
    assert "mip_gap 0.1" in notes[2]
    assert rerun(fields(verify_row(mip_gap=1e-6))).notes == ()


def test_a_targeted_attack_without_arrays_does_not_know_how_many_images_it_chose_from() -> None:
    row = fields(attack_row(target=3, images=88))
    assert "--images may have to be larger" in rerun(row).notes[0]
    assert "--images 100" in rerun(row, 100).command
    assert rerun(row, 100).notes == ()


def test_an_attack_on_a_card_asks_for_the_card() -> None:
    assert "--device cuda" in rerun(fields(attack_row(device="NVIDIA H100"))).command
    assert "--device cpu" in rerun(fields(attack_row())).command


def test_the_tolerances_that_go_without_saying_are_those_that_are_asked() -> None:
    options = SolverOptions()
    assert {name: getattr(options, name) for name in TOLERANCES} == TOLERANCES
