"""The wheel, installed on its own: what is in it, and that it works without the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from networks import data, zoo

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow  # builds a wheel, installs it, and imports torch in a new process


def run(*command: object, cwd: Path) -> str:
    ended = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout by the installed hatchling: nothing is fetched."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts' folder of a new environment with the wheel, which sees this environment's packages behind it.

    A path line of a .pth file adds a folder without reading the .pth files in it: an editable installation of this
    checkout, which is such a file, does not get there.
    """
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home, with_pip=False, symlinks=True)
    scripts = home / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    # Before the packages of this environment come into sight, or pip would find relubench there already.
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    folders = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (Path(site) / "behind.pth").write_text("\n".join(folders) + "\n", encoding="utf-8")
    return scripts


def test_the_wheel_has_the_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"networks/weights/{name}.safetensors" for name in zoo.NAMES} <= names
    assert f"networks/samples/{data.SAMPLE_FILE}" in names
    assert {f"bench/suites/{path.name}" for path in (ROOT / "bench" / "suites").glob("*.toml")} <= names
    assert {f"bench/report/html/page.{kind}" for kind in ("html.jinja", "css", "js")} <= names
    assert {f"{package}/py.typed" for package in ("bench", "networks", "solvers")} <= names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bench", "networks", "solvers"}
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "results/"))]
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_is_what_is_imported(fresh: Path, tmp_path: Path) -> None:
    code = "import bench, networks, solvers; print(bench.__file__, networks.__file__, solvers.__file__, sep='\\n')"
    files = run(fresh / "python", "-c", code, cwd=tmp_path).split()
    assert all(Path(file).is_relative_to(fresh.parent) for file in files)


def test_the_wheel_verifies_from_another_folder(fresh: Path, tmp_path: Path) -> None:
    command = ("verify", "mnist_small", "--image", 0, "--epsilon", 0.01, "--method", "lp", "--json")
    outcome = json.loads(run(fresh / "relubench", *command, cwd=tmp_path))
    assert outcome["verdict"] == "verified"
    assert outcome["label"] == 7
    assert outcome["status"] == ["optimal"] * 9
    assert min(outcome["lower"]) > 0
    assert all(low <= high for low, high in zip(outcome["lower"], outcome["upper"], strict=True))


def test_the_wheel_has_its_suites_and_knows_no_commit(fresh: Path, tmp_path: Path) -> None:
    suites = json.loads(run(fresh / "relubench", "suites", "--json", cwd=tmp_path))
    assert [suite["suite"] for suite in suites] == [
        "attacks",
        "chapter",
        "ci",
        "quick",
        "solvers",
        "switches",
        "verdicts",
    ]
    code = "from bench.environment import git_commit, versions; print(git_commit(), versions()['relubench'])"
    assert run(fresh / "python", "-c", code, cwd=tmp_path).split()[0] == "None"
