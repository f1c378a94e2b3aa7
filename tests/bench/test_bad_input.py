"""Bad input and bad usage: exit code 2, one line on stderr that says what is wrong, nothing on stdout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from networks import data
from networks.layers import LayerList
from tests.conftest import RELUBENCH, RunCommand

VERIFY = ("verify", "mnist_small", "-e", "0.01", "-m", "interval")
ATTACK = ("attack", "mnist_small", "-e", "0.1", "-n", "2", "--device", "cpu")
BAD_ARGUMENTS = [
    ((*VERIFY[:1], "nosuch", *VERIFY[2:]), "network 'nosuch' is neither a file nor in the zoo (mnist_small, "),
    ((*VERIFY[:-1], "exact"), "method is 'exact'; expected one of interval, linear, alpha, dual, lp, milp, staged"),
    ((*VERIFY, "--formulation", "big"), "formulation is 'big'; expected one of compact, textbook"),
    ((*VERIFY[:-1], "lp", "-s", "cplx"), "solver 'cplx' is not known; expected one of highs, gurobi, cbc, cvxpy"),
    ((*VERIFY[:-1], "lp", "-s", "highs:ipm"), "solver highs:ipm: highs has no variants"),
    ((*VERIFY[:-1], "lp", "--threads", "0"), "threads is 0; expected a whole number from 1 to 1024"),
    ((*VERIFY[:-1], "lp", "--seed", "-1"), "seed is -1; expected a whole number from 0 to 2147483647"),
    ((*VERIFY[:-1], "lp", "--time-limit", "0"), "time limit is 0.0 s; expected a number above 0"),
    ((*VERIFY[:-1], "lp", "--time-limit", "nan"), "time limit is nan s; expected a number above 0"),
    ((*VERIFY, "-i", "10000"), "test image index 10000 is out of range; expected 0 to 9999"),
    ((*VERIFY, "-i", "-1"), "--image is '-1'; expected an index, or several such as 0-9 or 0,3,7-9"),
    ((*VERIFY, "-i", "first"), "--image is 'first'; expected an index, or several such as 0-9 or 0,3,7-9"),
    ((*VERIFY, "-e", "-0.1"), "epsilon is -0.1; expected a finite number of at least 0"),
    ((*VERIFY, "-e", "nan"), "epsilon is nan; expected a finite number of at least 0"),
    ((*VERIFY, "-e", "inf"), "epsilon is inf; expected a finite number of at least 0"),
    ((*VERIFY, "--label", "12"), "label is 12; expected a class from 0 to 9"),
    ((*VERIFY, "-t", "12"), "target is 12; expected a class from 0 to 9"),
    ((*VERIFY, "-t", "7"), "targets are [7]; expected one or more distinct classes other than label 7"),
    ((*VERIFY, "--clip", "1,0"), "clip is (1.0, 0.0); expected two finite numbers, the lower first"),
    ((*VERIFY, "--clip", "0"), "--clip is '0'; expected LOW,HIGH such as 0,1, or none"),
    ((*VERIFY, "--clip", "0.5,1"), "the input's values span [0.0, 1.0]; expected values inside the clip [0.5, 1.0]"),
    ((*VERIFY, "--fail-on", "always"), "--fail-on is 'always'; expected one of never, falsified, unverified"),
    ((*VERIFY, "--input", "x.npy"), "--input x.npy needs its true class; give it with --label"),
    ((*VERIFY, "--input", "x.npy", "-i", "0"), "--image and --input are both given; expected one of them"),
    ((*VERIFY, "--input", "missing.npy", "--label", "1"), "--input missing.npy: not a .npy file of numbers"),
    ((*ATTACK, "-m", "cw"), "attack is 'cw'; expected one of fgsm, pgd, pgd_linf"),
    ((*ATTACK, "-m", "pgd_linf_versus_all"), "attack pgd_linf_versus_all climbs towards a class; give it targets"),
    ((*ATTACK, "-n", "0"), "test images: 0 asked for; expected between 1 and 10,000"),
    ((*ATTACK, "-n", "10001"), "test images: 10001 asked for; expected between 1 and 10,000"),
    ((*ATTACK, "-t", "12"), "target is 12; expected a class from 0 to 9"),
    ((*ATTACK, "-e", "nan"), "epsilon is nan; expected a finite number of at least 0"),
    ((*ATTACK, "--steps", "0"), "steps is 0; expected a whole number from 1 to 1,000,000"),
    ((*ATTACK, "--device", "tpu"), "device is 'tpu'; expected one of auto, cpu, cuda"),
    (("run", "nosuch"), "suite 'nosuch' is neither a file nor one of attacks, chapter, ci, quick, solvers"),
    (("report", "nosuch"), "nosuch is not a folder; expected one that `relubench run` wrote"),
    (("train", "nosuch"), "network 'nosuch' is not in the zoo; expected one of mnist_small"),
    (("networks", "nosuch"), "network 'nosuch' is neither a file nor in the zoo"),
    (("export", "mnist_small", "x.onnx"), "output x.onnx ends in '.onnx'; expected one of .safetensors, .mps, .lp"),
    (("export", "mnist_small", "x.mps"), ".mps files hold one problem; give its --epsilon and its --target"),
    (("export", "mnist_small", "x.lp", "-e", "0.1", "-t", "7"), "expected one or more distinct classes other than"),
    (("export", "mnist_small", "x.lp", "--formulation", "big"), "formulation is 'big'; expected one of compact"),
    (("export", "missing.pt", "x.safetensors", "--architecture", "mnist_small"), "missing.pt: no state dict"),
    (("export", "missing.pt", "x.safetensors", "--architecture", "nosuch"), "network 'nosuch' is not in the zoo"),
    (("export", "mnist_small", "missing/x.safetensors"), "missing/x.safetensors: cannot be written: No such file"),
    (("export", "mnist_small", "missing/x.mps", "-e", "0.1", "-t", "3"), "missing/x.mps cannot be written: No such"),
]
BAD_USAGE = [
    (("nosuch",), "No such command 'nosuch'", "relubench"),
    (("--nosuch",), "No such option: --nosuch", "relubench"),
    (("verify",), "Missing argument", "relubench verify"),
    (("verify", "mnist_small"), "Missing option '--epsilon' / '-e'", "relubench verify"),
    ((*VERIFY, "-e", "small"), "Invalid value for '--epsilon' / '-e'", "relubench verify"),
    ((*VERIFY, "extra"), "extra", "relubench verify"),
    ((*ATTACK, "--fail-over", "2"), "Invalid value for '--fail-over'", "relubench attack"),
    ((*ATTACK, "--nosuch"), "No such option: --nosuch", "relubench attack"),
    (("train", "mnist_small", "--epochs", "0"), "Invalid value for '--epochs'", "relubench train"),
    (("report", ".", "--format", "pdf"), "Invalid value for '--format'", "relubench report"),
    (("run",), "Missing argument", "relubench run"),
]


def refusal(relubench: RunCommand, *arguments: object) -> str:
    """The one line on stderr of a command that ends with 2."""
    ended = relubench(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("relubench: error: ")
    assert ended.err.count("\n") == 1
    return ended.err


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without the full test set."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path / "cwd"))


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_bad_input_is_one_line_and_leaves_no_file(
    arguments: tuple[str, ...], message: str, relubench: RunCommand
) -> None:
    assert message in refusal(relubench, *arguments)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(("arguments", "message", "command"), BAD_USAGE)
def test_bad_usage_is_one_line_that_points_at_the_help(
    arguments: tuple[str, ...], message: str, command: str, relubench: RunCommand
) -> None:
    line = refusal(relubench, *arguments)
    assert message in line
    assert line.endswith(f"(see `{command} --help`)\n")


def test_weights_that_are_not_finite_are_named(relubench: RunCommand, tiny_network: Path) -> None:
    spoil(tiny_network)
    line = refusal(relubench, "verify", tiny_network, "-e", 0.1)
    assert f"{tiny_network}: not a valid layer list: layer 1: Linear weight[2, 3] is nan; expected finite" in line


def spoil(path: Path) -> None:
    """Put NaN into a layer-list file, which `LayerList` itself would refuse to write."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    arrays = {name: array.copy() for name, array in load_file(path).items()}
    arrays["1.weight"][2, 3] = np.nan
    save_file(arrays, path, metadata=metadata)


@pytest.mark.parametrize("content", [b"", b"neither weights nor structure"])
def test_a_file_that_is_no_layer_list_is_refused(content: bytes, relubench: RunCommand) -> None:
    Path("broken.safetensors").write_bytes(content)
    assert "broken.safetensors: cannot be read as a layer list" in refusal(
        relubench, "verify", "broken.safetensors", "-e", 0.1
    )


def test_a_state_dict_in_the_place_of_a_layer_list_is_refused_with_the_way_out(relubench: RunCommand) -> None:
    save_file({"0.weight": np.zeros((2, 2))}, "weights.safetensors")
    line = refusal(relubench, "verify", "weights.safetensors", "-e", 0.1)
    assert "a safetensors file, but no layer list; `relubench export` makes one" in line


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((28, 28)), "the input has shape (28, 28); the network takes (1, 28, 28)"),
        (np.zeros((1, 1, 28, 28)), "the input has shape (1, 1, 28, 28); the network takes (1, 28, 28)"),
        (np.full((1, 28, 28), np.nan), "the input has values that are not finite"),
        (
            np.full((1, 28, 28), 255.0),
            "the input's values span [255.0, 255.0]; expected values inside the clip [0.0, 1.0]",
        ),
        (np.array(["a"]), "--input x.npy: not a .npy file of numbers"),
        (np.array([None]), "--input x.npy: not a .npy file of numbers"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], message: str, relubench: RunCommand
) -> None:
    np.save("x.npy", values)
    assert message in refusal(relubench, *VERIFY, "--input", "x.npy", "--label", 1)


def test_a_network_of_other_inputs_than_the_image_is_refused(relubench: RunCommand) -> None:
    from networks.layers import Linear

    LayerList((2,), (Linear(np.eye(2), np.zeros(2)),)).save("small.safetensors")
    assert "the input has shape (1, 28, 28); the network takes (2,)" in refusal(
        relubench, "verify", "small.safetensors", "-e", 0.1, "-m", "interval"
    )


def test_an_image_beyond_the_shipped_ones_is_refused_with_the_way_out(relubench: RunCommand) -> None:
    line = refusal(relubench, *VERIFY, "-i", 1000)
    assert "MNIST file t10k-images-idx3-ubyte.gz (or unpacked) is not in" in line
    assert "--data DIR or $RELUBENCH_DATA" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nsolver = "highs"', "key solver is 'highs': unknown key; expected one of name, description"),
        ('name = "x"\n[[verify]]\nnetworks = []', "key verify[0].networks is []: expected a list of one or more"),
        ('name = "x', "suite suite.toml: not valid TOML"),
        (
            'name = "x"\n[[verify]]\nnetworks = ["nosuch"]\nimages = 1\nepsilons = [0]\nmethods = ["lp"]',
            "network 'nosuch' is neither a file nor in the zoo",
        ),
    ],
)
def test_a_bad_suite_is_refused_before_a_folder_is_made(text: str, message: str, relubench: RunCommand) -> None:
    Path("suite.toml").write_text(text, encoding="utf-8")
    assert message in refusal(relubench, "run", "suite.toml")
    assert [path.name for path in Path().iterdir()] == ["suite.toml"]


@pytest.mark.parametrize("folder", ["file/run", "/proc/nosuch/run"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    folder: str, relubench: RunCommand
) -> None:
    Path("file").touch()
    line = refusal(relubench, "run", "quick", "--out", folder)
    assert f"folder {folder} cannot be written: " in line
    assert "name another with --out DIR" in line


def test_a_file_that_cannot_be_written_is_refused(relubench: RunCommand) -> None:
    assert "missing/found.npz cannot be written: No such file or directory" in refusal(
        relubench, *ATTACK, "-m", "fgsm", "--out", "missing/found.npz"
    )


def test_a_report_whose_file_cannot_be_written_is_refused(relubench: RunCommand, tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    table = 'networks = ["mnist_small"]\nimages = 1\nepsilons = [0.01]\nmethods = ["interval"]'
    suite.write_text(f'name = "tiny"\n[[verify]]\n{table}\n', encoding="utf-8")
    assert relubench("run", suite, "--out", tmp_path / "run", "--no-report").code == 0
    (tmp_path / "out" / "report.md").mkdir(parents=True)
    ended = relubench("report", tmp_path / "run", "--out", tmp_path / "out")
    assert ended.code == 2
    assert ended.err.endswith(f"{tmp_path}/out/report.md cannot be written: Is a directory\n")


@pytest.mark.parametrize(("solver", "package"), [("gurobi", "gurobipy"), ("highs", "highspy"), ("cbc", "pulp")])
def test_a_solver_that_is_not_installed_is_named_with_its_command(
    solver: str, package: str, relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what the import system takes for "cannot be found"
    line = refusal(relubench, "verify", "mnist_small", "-e", 0.1, "-m", "lp", "-s", solver)
    assert f"solver {solver} is not installed; install it with: pip install " in line
    assert package in line.partition("pip install")[2]


def test_the_console_script_itself_ends_with_2_and_one_line() -> None:
    ended = subprocess.run(
        [*RELUBENCH, "verify", "mnist_small", "-e", "-1"], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "relubench: error: epsilon is -1.0; expected a finite number of at least 0\n"


def test_the_console_script_does_not_import_torch_to_refuse_usage() -> None:
    code = "import sys; from bench.cli import main\ntry: main()\nfinally: sys.stderr.write(str('torch' in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code, "verify"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.endswith("\nFalse")
