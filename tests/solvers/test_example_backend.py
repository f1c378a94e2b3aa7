"""The back-end that the documentation shows, built, installed and run as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RELUBENCH, RunCommand
from tests.plugins import REPOSITORY, environment_with

EXAMPLE = REPOSITORY / "docs" / "example_backend"
FILES = ("pyproject.toml", "relubench_milp.py")
SHOWN_IN = REPOSITORY / "README.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package that is built from the text of the documentation: nothing is fetched."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for name, text in shown().items():
        (source / name).write_text(text, encoding="utf-8")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target))
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, timeout=120)
    return target


def shown() -> dict[str, str]:
    """The text of each file, from the code block that follows its name in backquotes and a colon."""
    pages = SHOWN_IN.read_text(encoding="utf-8")
    blocks = {name: re.search(rf"`{re.escape(name)}`:\n\n```\w+\n(.*?)```", pages, re.DOTALL) for name in FILES}
    return {name: block.group(1) for name, block in blocks.items() if block}


def relubench_with(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*RELUBENCH, *arguments]
    return subprocess.run(command, env=environment_with(folder), capture_output=True, text=True, timeout=120)


def test_the_documentation_shows_the_files_as_they_are_in_under_sixty_lines() -> None:
    files = {name: (EXAMPLE / name).read_text(encoding="utf-8") for name in FILES}
    assert shown() == files
    assert sum(text.count("\n") for text in files.values()) < 60


def test_the_example_conforms(installed: Path) -> None:
    ended = relubench_with(installed, "solvers", "--check", "scipy")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^6\d passed, 0 failed, 11 skipped$", ended.stdout, re.MULTILINE)
    assert "  Ctrl-C in mid-solve " in ended.stdout
    assert all(len(line.rstrip()) <= 80 for line in ended.stdout.splitlines())


def test_the_example_is_listed_and_verifies(installed: Path, relubench: RunCommand) -> None:
    listed = json.loads(relubench_with(installed, "solvers", "--json").stdout)
    assert [row["licence"] for row in listed if row["solver"] == "scipy"] == ["BSD 3-Clause, no limits"]
    words = ("verify", "mnist_small", "-e", "0.01", "-m", "milp", "-t", "3", "-s")
    own = json.loads(relubench(*words, "highs", "--json").out)
    example = json.loads(relubench_with(installed, *words, "scipy", "--json").stdout)
    assert example["verdict"] == own["verdict"] == "verified"
    assert example["solver"] == "scipy"
    assert example["lower"] == pytest.approx(own["lower"], abs=1e-5)
