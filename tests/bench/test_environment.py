"""What a run says about the machine and the code."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import bench
from bench import environment

IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")


def test_versions_are_those_installed() -> None:
    versions = environment.versions()
    assert versions["python"] == platform.python_version()
    for package in ("relubench", "torch", "numpy", "scipy", "highspy", "pulp"):
        assert versions[package] == metadata.version(package)


def test_a_package_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    assert environment.versions.__wrapped__().keys() == {"python", "numpy"}


def test_the_machine_is_described_in_plain_json() -> None:
    described = environment.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["cpu"] == environment.cpu_model() != ""
    assert described["simd"]  # x86 and ARM both have a baseline
    assert described["cores"] == os.cpu_count()
    assert described["memory_bytes"] > 2**20


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package in it, as an installation has."""
    source = Path(bench.__file__).parent
    shutil.copytree(source, tmp_path / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def commit_of(folder: Path) -> str | None:
    """What the copy in `folder` says of its commit."""
    code = "import json; from bench import environment as e; print(json.dumps([e.__file__, e.git_commit()]))"
    variables = {**os.environ, "PYTHONPATH": str(folder), "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=variables, cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    file, commit = json.loads(shown.stdout)
    assert Path(file).is_relative_to(folder)
    return None if commit is None else str(commit)


def git(folder: Path, *arguments: str) -> str:
    shown = subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return shown.stdout.strip()


def test_outside_of_a_checkout_there_is_no_commit(copy: Path) -> None:
    assert commit_of(copy) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_in_a_checkout_the_commit_is_given_and_changes_are_marked(copy: Path) -> None:
    git(copy, "init", "--quiet")
    git(copy, "add", "bench")
    git(copy, "commit", "--quiet", "--message", "all")
    commit = git(copy, "rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert commit_of(copy) == commit
    git(copy, "tag", "v1")
    (copy / "bench" / "py.typed").write_text("changed", encoding="utf-8")
    assert commit_of(copy) == f"{commit}-dirty"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_an_installation_inside_another_repository_has_no_commit(copy: Path) -> None:
    git(copy, "init", "--quiet")
    (copy / "other").touch()
    git(copy, "add", "other")
    git(copy, "commit", "--quiet", "--message", "another project")
    assert commit_of(copy) is None
