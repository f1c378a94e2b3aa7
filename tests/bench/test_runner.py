"""The runner: what a run leaves on disk, what it does not measure again, and what an error or Ctrl-C costs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.plan import Plan, make_plan
from bench.row import Row
from bench.store import MANIFEST, ROWS, TORN, Store
from bench.suite import load_suite
from networks import data
from networks.errors import InputError, SolverNotInstalledError, UnknownSolverError
from networks.layers import Flatten, LayerList, Linear
from solvers.backend import SolverOptions
from solvers.backends.highs_ import Highs
from tests.bench.broken_backends import Failing, install
from tests.bench.suites import plan_of, read_rows, run_into
from tests.conftest import RELUBENCH, random_network

PROMPT_S = 20.0  # Ctrl-C to the end of the process: a second or so on an idle machine
START_S = 60.0  # until a child that imports torch has measured its first cell
REQUIRED_KEYS = {
    *("cell", "network", "image", "epsilon", "method", "solver", "verdict", "targets", "lower", "upper", "status"),
    *("total_s", "network_digest", "seed", "threads", "versions", "started", "device", "error"),
}


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a back-end that breaks on every model but the LP's, in workers too."""
    monkeypatch.syspath_prepend(install(tmp_path / "plugin"))
    return Failing.name


def two_classes(folder: Path) -> Path:
    path = folder / "two.safetensors"
    LayerList(data.IMAGE_SHAPE, (Flatten(), Linear(np.ones((2, 784)), np.zeros(2)))).save(path)
    return path


def measured(plan: Plan, folder: Path) -> list[str]:
    """Run the plan; the methods of the cells that were measured, in order."""
    return [f"{row.method}{'!' if row.error else ''}" for row in run_into(folder, plan)]


def finished(folder: Path) -> int:
    with Store(folder) as store:
        return len(store.finished)


def test_a_run_leaves_a_line_a_cell_with_everything_that_explains_it(tmp_path: Path, tiny_network: Path) -> None:
    plan = plan_of(tmp_path, tiny_network, methods=["interval", "lp", "milp"], epsilons=[0.01, 0.02])
    folder = tmp_path / "run"
    assert measured(plan, folder) == ["interval", "lp", "milp"] * 2
    rows = read_rows(folder)
    assert [row["cell"] for row in rows] == [planned.digest for planned in plan.cells]
    for row in rows:
        assert row.keys() >= REQUIRED_KEYS
        assert row["error"] is None
        assert row["network_digest"] == random_network(0).digest
        assert len(row["targets"]) == len(row["lower"]) == len(row["upper"]) == len(row["status"]) == 9
        assert all(low <= high + 1e-6 for low, high in zip(row["lower"], row["upper"], strict=True))
        assert Row.from_json(json.dumps(row)).to_json() == json.dumps(row)


def test_a_row_says_what_was_asked_of_the_solver_and_which_one_it_was(tmp_path: Path, tiny_network: Path) -> None:
    measured(plan_of(tmp_path, tiny_network, time_limit_s=7), tmp_path / "run")
    interval, lp = read_rows(tmp_path / "run")
    assert (interval["solver"], interval["solver_version"], interval["mip_gap"]) == (None, None, None)
    assert (lp["solver"], lp["formulation"], lp["time_limit_s"], lp["threads"]) == ("highs", "compact", 7.0, 1)
    assert lp["solver_version"] == Highs().version()
    assert lp["mip_gap"] == SolverOptions().mip_gap
    assert lp["feasibility_tolerance"] == SolverOptions().feasibility_tolerance


def test_a_row_keeps_the_worst_input_and_its_prediction(tmp_path: Path, tiny_network: Path) -> None:
    measured(plan_of(tmp_path, tiny_network, methods=["milp"]), tmp_path / "run")
    (row,) = read_rows(tmp_path / "run")
    with np.load(tmp_path / "run" / row["arrays"]) as arrays:
        point, prediction = arrays["worst_input"], int(arrays["prediction"])
    image, label = data.test_image(0)
    assert np.abs(point - image).max() <= 0.01 + 1e-12
    outputs = random_network(0).forward(point[None])[0]
    assert prediction == outputs.argmax()
    assert outputs[label] - np.delete(outputs, label).max() == pytest.approx(min(row["upper"]))


def test_the_manifest_says_what_was_asked_and_what_it_ran_on(tmp_path: Path, tiny_network: Path) -> None:
    plan = plan_of(tmp_path, tiny_network)
    measured(plan, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["suite"] == plan.suite.model_dump(mode="json")
    (start,) = manifest["starts"]
    assert start.keys() >= {"start", "versions", "cpu", "cores", "device", "git_commit", "platform"}
    assert start["versions"].keys() >= {"python", "relubench", "torch", "numpy", "highspy"}


def test_a_second_run_measures_nothing_and_changes_no_file(tmp_path: Path, tiny_network: Path) -> None:
    plan, folder = plan_of(tmp_path, tiny_network), tmp_path / "run"
    measured(plan, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert measured(plan, folder) == []
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert finished(folder) == 2


def test_a_larger_suite_adds_its_cells_and_keeps_the_others(tmp_path: Path, tiny_network: Path) -> None:
    folder = tmp_path / "run"
    measured(plan_of(tmp_path, tiny_network), folder)
    before = (folder / ROWS).read_bytes()
    assert measured(plan_of(tmp_path, tiny_network, methods=["lp", "milp"]), folder) == ["milp"]
    assert (folder / ROWS).read_bytes().startswith(before)
    assert len(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["starts"]) == 2


def test_another_network_under_the_same_name_is_measured_anew(tmp_path: Path, tiny_network: Path) -> None:
    folder = tmp_path / "run"
    measured(plan_of(tmp_path, tiny_network), folder)
    random_network(seed=1).save(tiny_network)
    assert measured(plan_of(tmp_path, tiny_network), folder) == ["interval", "lp"]


def test_a_cell_whose_line_was_torn_runs_again(tmp_path: Path, tiny_network: Path) -> None:
    plan, folder = plan_of(tmp_path, tiny_network), tmp_path / "run"
    measured(plan, folder)
    content = (folder / ROWS).read_bytes()
    (folder / ROWS).write_bytes(content[:-30])
    assert measured(plan, folder) == ["lp"]
    assert [row["method"] for row in read_rows(folder)] == ["interval", "lp"]
    assert content.splitlines()[1].startswith((folder / TORN).read_bytes().rstrip(b"\n"))


def test_an_exception_ends_its_cell_and_not_the_run(tmp_path: Path, tiny_network: Path, failing: str) -> None:
    plan = plan_of(tmp_path, tiny_network, methods=["milp", "lp"], solvers=[failing, "highs"])
    folder = tmp_path / "run"
    assert measured(plan, folder) == ["milp!", "milp", "lp", "lp"]
    row = read_rows(folder)[0]
    assert row["error"] == "ArithmeticError: no integers today"
    assert (row["status"], row["verdict"], row["lower"], row["arrays"]) == (["error"], None, [], None)
    assert row["solver"] == failing
    assert measured(plan, folder) == ["milp!"]  # what failed is tried again, and nothing else


@pytest.mark.parametrize("method", ["fgsm", "pgd_linf"])
def test_an_attack_is_one_row_with_its_counts_and_arrays(method: str, tmp_path: Path, tiny_network: Path) -> None:
    plan = attack_plan(tmp_path, tiny_network, f'images = 20\nmethods = ["{method}"]\nsteps = 3\nkeep_images = 4')
    measured(plan, tmp_path / "run")
    (row,) = read_rows(tmp_path / "run")
    assert row["error"] is None
    assert row["falsified"] + row["unknown"] == row["images"] == 20
    assert row["error_rate"] == row["falsified"] / 20
    assert row["total_s"] > 0
    assert row["device"] == "cpu"
    with np.load(tmp_path / "run" / row["arrays"]) as arrays:
        assert arrays["adversarial"].shape == (4, 1, 28, 28)
        assert int((arrays["predictions"] != arrays["labels"]).sum()) == row["falsified"]


def test_a_targeted_attack_leaves_out_the_images_of_its_class(tmp_path: Path, tiny_network: Path) -> None:
    plan = attack_plan(tmp_path, tiny_network, 'images = 20\nmethods = ["pgd_linf"]\nsteps = 1\ntarget = 7')
    measured(plan, tmp_path / "run")
    (row,) = read_rows(tmp_path / "run")
    assert row["error"] is None
    assert row["images"] == int((data.samples().labels[:20] != 7).sum()) < 20


def test_without_the_full_test_set_an_attack_takes_what_is_there_and_says_so(
    tmp_path: Path, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path))
    plan = attack_plan(tmp_path, tiny_network, 'images = 10000\nmethods = ["fgsm"]')
    assert plan.cells[0].cell.images == data.SAMPLE_COUNT
    (note,) = plan.notes
    assert "10,000 images asked for, 1,000 at hand" in note
    assert "--data DIR" in note


def attack_plan(folder: Path, network: Path, lines: str) -> Plan:
    path = folder / "attack.toml"
    table = f'networks = ["{network}"]\nepsilons = [0.1]\ndevice = "cpu"\n{lines}'
    path.write_text(f'name = "tiny"\n[[attack]]\n{table}\n', encoding="utf-8")
    return make_plan(load_suite(path))


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"solvers": ["highs", "cplx"]}, UnknownSolverError, "solver 'cplx' is not known; expected one of highs"),
        ({"solvers": ["highs:ipm"]}, InputError, "highs has no variants"),
        ({"images": [0, 10_000]}, InputError, "test image index 10000 is out of range; expected 0 to 9999"),
    ],
)
def test_what_is_not_there_is_found_before_anything_is_measured(
    keys: dict[str, Any], error: type[Exception], message: str, tmp_path: Path, tiny_network: Path
) -> None:
    with pytest.raises(error, match=message):
        plan_of(tmp_path, tiny_network, **keys)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('images = 1\nmethods = ["pgd_linf"]\ntarget = 12', "target is 12; expected a class from 0 to 9"),
        ('images = 1\nmethods = ["pgd_linf_versus_all"]', "pgd_linf_versus_all climbs towards a class"),
        ('images = 20000\nmethods = ["fgsm"]', "20000 asked for; expected between 1 and 10,000"),
    ],
)
def test_an_attack_that_cannot_be_is_found_before_anything_is_measured(
    lines: str, message: str, tmp_path: Path, tiny_network: Path
) -> None:
    with pytest.raises(InputError, match=message):
        attack_plan(tmp_path, tiny_network, lines)


def test_an_unknown_network_and_one_of_other_inputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="network 'nosuch' is neither a file nor in the zoo"):
        plan_of(tmp_path, "nosuch")
    small = tmp_path / "small.safetensors"
    LayerList((2,), (Linear(np.eye(2), np.zeros(2)),)).save(small)
    with pytest.raises(InputError, match=r"takes \(2,\); suites use images of \(1, 28, 28\)"):
        plan_of(tmp_path, small)


def test_a_solver_that_is_not_installed_is_named_with_its_command(
    tmp_path: Path, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gurobipy", None)  # what the import system takes for "cannot be found"
    with pytest.raises(SolverNotInstalledError, match="solver gurobi is not installed; install it with: pip install"):
        plan_of(tmp_path, tiny_network, solvers=["gurobi"])


@pytest.mark.slow  # a process that imports torch, and a solve up to its time limit
@pytest.mark.parametrize("solver", ["highs", "cbc"])  # one in a thread of the process, one in a child of it
def test_ctrl_c_in_mid_solve_keeps_finished_cells_and_the_run_goes_on_later(solver: str, tmp_path: Path) -> None:
    # No solver is done with this MILP in minutes.
    plan = plan_of(
        tmp_path,
        "mnist_small",
        images=[2],
        epsilons=[0.05],
        methods=["interval", "milp"],
        solvers=[solver],
        time_limit_s=3,
    )
    folder = tmp_path / "run"
    command = [*RELUBENCH, "run", str(tmp_path / "suite.toml"), "--no-report"]
    child = subprocess.Popen([*command, "--out", str(folder)], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    wait_for_first_row(folder / ROWS, child)
    time.sleep(1.0)  # the solve has begun, and is far from its limit
    before = (folder / ROWS).read_bytes()
    asked = time.perf_counter()
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert time.perf_counter() - asked < PROMPT_S
    assert "Traceback" not in errors
    assert "stopped: 1 of 2 cells are in" in errors
    assert (folder / ROWS).read_bytes() == before

    assert measured(plan, folder) == ["milp"]
    assert (folder / ROWS).read_bytes().startswith(before)
    assert finished(folder) == 2
    assert set(read_rows(folder)[1]["status"]) <= {"optimal", "time_limit"}


def wait_for_first_row(path: Path, child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_S
    while not (path.exists() and path.read_bytes().endswith(b"\n")):
        assert child.poll() is None, "it ended before its first row"
        assert time.monotonic() < deadline, "no row in time"
        time.sleep(0.05)


def test_a_label_that_the_network_has_no_class_for_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"two\.safetensors has 2 classes; image 0 has label 7"):
        plan_of(tmp_path, two_classes(tmp_path))


def test_an_attack_on_labels_that_the_network_has_no_class_for_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "attack.toml"
    table = f'networks = ["{two_classes(tmp_path)}"]\nimages = 5\nepsilons = [0.1]\nmethods = ["fgsm"]\n'
    path.write_text(f'name = "tiny"\n[[attack]]\n{table}', encoding="utf-8")
    with pytest.raises(InputError, match=r"has 2 classes; image \d has label \d"):
        make_plan(load_suite(path))


def test_networks_of_equal_weights_are_measured_once_as_the_first(tmp_path: Path, tiny_network: Path) -> None:
    twin = tmp_path / "twin.safetensors"
    random_network(0).save(twin)
    path = tmp_path / "twins.toml"
    table = f'networks = ["{tiny_network}", "{twin}"]\nimages = [0]\nepsilons = [0.1]\nmethods = ["interval"]\n'
    path.write_text(f'name = "twins"\n[[verify]]\n{table}', encoding="utf-8")
    plan = make_plan(load_suite(path))
    assert {planned.cell.network for planned in plan.cells} == {str(tiny_network)}
    assert plan.notes == (
        f"networks {tiny_network} and {twin} have the same weights: measured once, as {tiny_network}",
    )
