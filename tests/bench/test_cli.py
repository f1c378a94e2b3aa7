"""The commands: what they print, what they write, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint, version
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.cli import app
from bench.console import console
from bench.store import ROWS
from bench.suite import shipped
from networks import data, zoo
from networks.layers import LayerList
from solvers import registry
from tests.bench.broken_backends import install
from tests.conftest import RELUBENCH, Ended, RunCommand

COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]
EPSILON = 0.05
TARGET = 3


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example(command: str, relubench: RunCommand) -> None:
    ended = relubench(command, "--help")
    assert ended.code == 0
    assert "Example" in ended.out
    assert f"relubench {command}" in ended.out.partition("Example")[2]


def test_without_arguments_the_help_is_printed(relubench: RunCommand) -> None:
    assert relubench() == relubench("--help")
    assert relubench().code == 0
    assert all(f" {command} " in relubench().out for command in COMMANDS)


def test_the_version_is_that_of_the_package(relubench: RunCommand) -> None:
    assert relubench("--version") == Ended(0, f"relubench {version('relubench')}\n", "")


def test_networks_are_listed_with_their_sizes(relubench: RunCommand) -> None:
    ended = relubench("networks")
    assert ended.code == 0
    assert all(name in ended.out for name in zoo.NAMES)
    assert "47,140" in ended.out
    listed = json.loads(relubench("networks", "--json").out)
    assert [row["network"] for row in listed] == list(zoo.NAMES)
    assert listed[0]["test error"] == 0.0358


def test_a_networks_layers_are_shown(relubench: RunCommand, tiny_network: Path) -> None:
    ended = relubench("networks", tiny_network, "--json")
    assert [row["layer"] for row in json.loads(ended.out)] == ["Flatten", "Linear", "ReLU", "Linear"]


def test_solvers_are_listed_with_version_or_the_command_that_installs_them(
    relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gurobipy", None)
    rows = {row["solver"]: row for row in json.loads(relubench("solvers", "--json").out)}
    assert [name for name in rows if ":" not in name] == registry.names()
    assert "cvxpy:CLARABEL" in rows
    assert rows["highs"]["version"] == registry.get("highs").version()
    assert rows["gurobi"]["version"] == "not installed: pip install gurobipy"
    assert all(row["licence"] for row in rows.values())


def test_suites_are_listed_with_their_cells(relubench: RunCommand) -> None:
    rows = {row["suite"]: row["cells"] for row in json.loads(relubench("suites", "--json").out)}
    assert list(rows) == list(shipped())
    assert min(rows.values()) > 0


@pytest.mark.parametrize("method", ["interval", "lp", "milp"])
def test_verify_prints_one_json_object_with_the_outcome(method: str, relubench: RunCommand, tiny_network: Path) -> None:
    ended = relubench("verify", tiny_network, "--image", 0, "-e", 0.01, "-m", method, "--json")
    printed = json.loads(ended.out)
    image, label = data.test_image(0)
    expected = bench.verify(tiny_network, image, label, 0.01, method).to_dict()
    assert ended.code == 0
    assert ended.out.count("\n") == 1
    assert printed.keys() == expected.keys()
    for key in ("method", "verdict", "label", "targets", "status", "solver"):
        assert printed[key] == expected[key]
    np.testing.assert_allclose(printed["lower"], expected["lower"], atol=1e-6)
    assert np.shape(printed["worst_input"]) == image.shape


def test_verify_takes_an_array_and_a_list_of_targets(relubench: RunCommand, tmp_path: Path) -> None:
    image, label = data.test_image(5)
    path = tmp_path / "x.npy"
    np.save(path, image)
    common = ("verify", "mnist_small", "-e", EPSILON, "-m", "lp", "--json")
    from_file = json.loads(relubench(*common, "--input", path, "--label", label, "-t", 0, "-t", 3).out)
    from_set = json.loads(relubench(*common, "-i", 5).out)
    assert from_file["targets"] == [0, 3]
    chosen = [from_set["targets"].index(target) for target in (0, 3)]
    np.testing.assert_allclose(from_file["lower"], np.array(from_set["lower"])[chosen], atol=1e-6)


@pytest.mark.parametrize(
    ("epsilon", "fail_on", "code"),
    [
        (0.002, "falsified", 0),
        (0.002, "unverified", 0),
        (0.05, "never", 0),
        (0.05, "falsified", 0),  # interval bounds decide nothing there
        (0.05, "unverified", 1),
    ],
)
def test_verify_fails_where_it_is_asked_to(epsilon: float, fail_on: str, code: int, relubench: RunCommand) -> None:
    assert relubench("verify", "mnist_small", "-e", epsilon, "-m", "interval", "--fail-on", fail_on).code == code


def test_verify_fails_on_a_witness(relubench: RunCommand) -> None:
    common = ("verify", "mnist_small", "-e", 0, "-m", "interval", "--label", 3, "--fail-on")  # the image is a 7
    assert relubench(*common, "never").code == 0
    assert relubench(*common, "falsified").code == 1
    assert "FALSIFIED (in exact arithmetic, float64 and float32): witness with" in relubench(*common, "unverified").out


def test_verify_prints_bounds_verdict_and_times(relubench: RunCommand) -> None:
    ended = relubench("verify", "mnist_small", "-e", 0.01, "-m", "lp", "-t", 3)
    assert ended.out.startswith("mnist_small, label 7, epsilon 0.01: lp by highs\nbounds linear, goal margin, ")
    assert "VERIFIED (certified in exact arithmetic): LP relaxation by highs\n" in ended.out
    assert "seconds: bounds" in ended.out
    assert "simplex iterations" in ended.out


def test_a_path_with_brackets_is_printed_as_it_is(relubench: RunCommand, tiny_network: Path) -> None:
    path = tiny_network.with_name("[bold]:smile:.safetensors")
    tiny_network.rename(path)
    ended = relubench("export", path, path.with_name("[red]out.safetensors"))
    assert ended.code == 0
    assert f"wrote {path.with_name('[red]out.safetensors')}: 4 layers" in ended.out


def test_attack_prints_one_json_object_with_the_result(relubench: RunCommand, tiny_network: Path) -> None:
    ended = relubench("attack", tiny_network, "-e", 0.1, "-n", 10, "--steps", 2, "--device", "cpu", "--json")
    printed = json.loads(ended.out)
    images = data.test_images(10)
    result = bench.attack(tiny_network, images.images, images.labels, "pgd_linf", 0.1, steps=2, device="cpu")
    expected = result.to_dict()
    assert ended.code == 0
    assert printed.keys() == expected.keys()
    timed = {"seconds", "images_per_s"}
    for key in printed.keys() - timed:
        assert printed[key] == expected[key]


def test_attack_saves_what_it_found(relubench: RunCommand, tiny_network: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.npz"
    ended = relubench("attack", tiny_network, "-e", 0.1, "-n", 10, "-m", "fgsm", "--out", out, "--device", "cpu")
    assert ended.code == 0
    assert "error rate" in ended.out
    images = data.test_images(10)
    with np.load(out) as found:
        assert np.abs(found["adversarial"] - images.images).max() <= 0.1
        np.testing.assert_array_equal(found["labels"], images.labels)
        outputs = LayerList.load(tiny_network).forward(found["adversarial"])
        np.testing.assert_array_equal(found["predictions"], outputs.argmax(1))


@pytest.mark.parametrize(("fail_over", "code"), [(0.5, 1), (1.0, 0)])
def test_attack_fails_over_an_error_rate(fail_over: float, code: int, relubench: RunCommand) -> None:
    ended = relubench("attack", "mnist_small", "-e", 0.3, "-m", "fgsm", "-n", 20, "--fail-over", fail_over)
    assert ended.code == code
    assert "error rate" in ended.out


def test_export_writes_a_zoo_network_as_a_layer_list(relubench: RunCommand, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    ended = relubench("export", "mnist_small", out)
    assert ended.code == 0
    assert f"digest {zoo.load('mnist_small').digest[:16]}" in ended.out
    assert LayerList.load(out) == zoo.load("mnist_small")


def test_export_reads_a_state_dict_of_a_zoo_architecture(relubench: RunCommand, tmp_path: Path) -> None:
    import torch

    module = zoo.architecture("mnist_dnn_2")
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    out = tmp_path / "mine.safetensors"
    assert relubench("export", tmp_path / "weights.pt", out, "--architecture", "mnist_dnn_2").code == 0
    images = data.test_images(5).images
    with torch.no_grad():
        expected = module(torch.tensor(images)).numpy()
    np.testing.assert_allclose(LayerList.load(out).forward(images), expected, atol=1e-5)


@pytest.mark.parametrize("suffix", ["mps", "lp"])
@pytest.mark.parametrize("formulation", ["compact", "textbook"])
@pytest.mark.parametrize("relaxation", [False, True])
def test_an_exported_problems_optimum_is_verifys_margin(
    suffix: str, formulation: str, relaxation: bool, relubench: RunCommand, tiny_network: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"problem.{suffix}"
    problem = ("--image", 0, "-e", EPSILON, "-t", TARGET, "--formulation", formulation)
    ended = relubench("export", tiny_network, out, *problem, *(["--relaxation"] if relaxation else []))
    assert ended.code == 0
    assert "its minimum is the margin of class 7 over 3" in ended.out.replace("\n", " ")
    image, label = data.test_image(0)
    method = "lp" if relaxation else "milp"
    outcome = bench.verify(tiny_network, image, label, EPSILON, method, targets=[TARGET], formulation=formulation)
    assert optimum(out) == pytest.approx(outcome.lower[0], abs=1e-5)


def optimum(path: Path) -> float:
    """What HiGHS itself makes of a model file."""
    import highspy

    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    assert highs.readModel(str(path)) == highspy.HighsStatus.kOk
    highs.run()
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(highs.getInfo().objective_function_value)


def test_run_measures_reports_and_a_second_time_reports_the_same(
    relubench: RunCommand, tiny_network: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "suite.toml"
    table = f'networks = ["{tiny_network}"]\nimages = 2\nepsilons = [0.01]\nmethods = ["interval", "lp"]'
    suite.write_text(f'name = "tiny"\n[[verify]]\n{table}\n', encoding="utf-8")
    folder = tmp_path / "run"
    first = relubench("run", suite, "--out", folder)
    assert first.code == 0
    assert f"4 cells, 0 of them were there, 0 failed; the run is in {folder}\n" in first.out
    rows = (folder / ROWS).read_bytes()
    second = relubench("run", suite, "--out", folder)
    assert f"4 cells, 4 of them were there, 0 failed; the run is in {folder}\n" in second.out
    assert (folder / ROWS).read_bytes() == rows
    report = relubench("report", folder)
    assert report.code == 0
    # A run replays inputs too, so that it tests more than a report, which reads alone.
    head, _, tables = report.out.partition(" tests")
    answer = head.rpartition("Nothing is contradicted in ")[0]
    assert answer
    assert tables
    for ended in (first, second):
        assert answer in ended.out
        assert tables in ended.out
    assert relubench("run", suite, "--out", folder, "--no-report").out.count("\n") == 2


def test_run_goes_on_after_a_failed_cell_and_says_so(
    relubench: RunCommand, tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "plugin"))
    suite = tmp_path / "suite.toml"
    table = f'networks = ["{tiny_network}"]\nimages = 1\nepsilons = [0.01]\nmethods = ["milp", "lp"]'
    suite.write_text(f'name = "tiny"\n[[verify]]\n{table}\nsolvers = ["failing"]\n', encoding="utf-8")
    ended = relubench("run", suite, "--out", tmp_path / "run", "--no-report")
    assert ended.code == 0
    assert "2 cells, 0 of them were there, 1 failed" in ended.out
    assert "failing: ArithmeticError: no integers today" in ended.err


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("networks",), ["mnist_dnn_4", "47,140", zoo.load("mnist_cnn").digest[:16]]),
        (("networks", "mnist_cnn"), ["(32, 28, 28)", "313,700", "settings"]),
        (("suites",), ["attacks", "solvers", "description"]),
        (("solvers",), ["gurobi", "capabilities", "constraints", "iterations"]),
        (("verify", "mnist_small", "-e", 0.01, "-m", "interval"), ["lower bound", "upper bound", "VERIFIED"]),
    ],
)
def test_tables_fit_the_terminal_and_fold_no_word(
    command: tuple[object, ...], words: list[str], columns: int, relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "width", columns)
    ended = relubench(*command)
    assert ended.err == ""
    assert max(len(line) for line in ended.out.splitlines()) <= columns
    assert [word for word in words if word not in ended.out] == []


def test_the_terminals_width_is_heeded() -> None:
    shown = subprocess.run(
        [*RELUBENCH, "suites"],
        env={**os.environ, "COLUMNS": "90"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert {len(line) for line in shown.stdout.splitlines()} == {90}


def test_a_back_end_that_cannot_be_loaded_is_one_row_of_the_list(
    relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EntryPoint("broken", "relubench_no_such_module:Solver", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
    rows = {row["solver"]: row for row in json.loads(relubench("solvers", "--json").out)}
    assert "cannot be loaded from relubench_no_such_module:Solver" in rows["broken"]["version"]
    assert rows["highs"]["version"] == registry.get("highs").version()


def test_ctrl_c_ends_any_command_with_130_and_no_traceback(
    relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "names", interrupted)
    ended = relubench("solvers")
    assert ended.code == 130
    assert not ended.err.strip()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_output_that_cannot_be_written_is_one_line_and_code_1(options: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*RELUBENCH, "suites", *options], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert ended.returncode == 1
    assert ended.stderr == "relubench: error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reader_that_went_away_ends_a_command_silently(options: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [*RELUBENCH, "suites", *options], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_a_narrow_terminal_keeps_every_column() -> None:
    ended = subprocess.run(
        [*RELUBENCH, "networks"], env={**os.environ, "COLUMNS": "30"}, capture_output=True, text=True, timeout=60
    )
    assert all(column in ended.stdout for column in ("network", "ReLUs", "parameters", "digest"))
