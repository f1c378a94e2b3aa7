"""A place to work in, and what a command may come to there."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.cli import main
from networks import data
from networks.errors import InputError
from tests.conftest import Ended

CODES = (0, 1, 2, 3, 4)
ERROR = "relubench: error: "


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder to work in, and around it all that a command could reach for: HOME, caches, a canary's perch.

    Attributes
    ----------
    given : Path
        The working folder. What is written elsewhere below `root` was not asked for.
    canary : Path
        What code in a malicious file would make.
    """

    root: Path

    @property
    def given(self) -> Path:
        return self.root / "given"

    @property
    def canary(self) -> Path:
        return self.root / "canary"

    def outside(self) -> list[str]:
        """Every file and folder outside the given one, with its size."""
        found = (path for path in self.root.rglob("*") if not path.is_relative_to(self.given))
        return sorted(f"{path} {path.lstat().st_size}" for path in found)

    def run(self, *arguments: object) -> Ended:
        """Run a command, and hold it to what every one owes: a code, one line of error, no traceback, no stray file."""
        before = self.outside()
        ended = run(*arguments)
        assert self.outside() == before
        return checked(ended)


def run(*arguments: object) -> Ended:
    """Run a command in this process, as the console script does; warnings are errors."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    before, sys.argv = sys.argv, ["relubench", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("error")
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    return Ended(code, *(_text(stream) for stream in (out, err)))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    binary = stream.detach()
    assert isinstance(binary, io.BytesIO)
    return binary.getvalue().decode()


def checked(ended: Ended) -> Ended:
    """`ended`, if it ended in an answer or in one clear line."""
    said = [line for line in ended.err.splitlines() if line.startswith(ERROR)]
    assert "Traceback" not in ended.err
    assert ended.code in CODES, ended
    if ended.code == 2:
        assert len(said) == 1, ended
        assert ended.err.endswith("\n")
        assert len(said[0]) > len(ERROR) + 10, ended
        assert len(said[0]) < 3000, len(said[0])
        assert said[0].isprintable(), ended
    else:
        assert len(said) == (0 if ended.out else ended.code == 1), ended
    return ended


@contextlib.contextmanager
def refused_at_most() -> Iterator[list[str]]:
    """For code that ends well or by an InputError of one clear line, whose message is then in the list."""
    said: list[str] = []
    try:
        yield said
    except InputError as error:
        said.append(str(error))
    for message in said:
        assert len(message) in range(10, 3000), len(message)
        assert len(message.splitlines()) == 1, message


@pytest.fixture
def workplace(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """Empty, the working folder of this process, with HOME, the caches and temporary files beside it."""
    place = Workplace(tmp_path)
    place.given.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.getbasetemp()))  # matplotlib's own list of fonts
    (place.given / "no-data").mkdir()
    monkeypatch.setenv(data.DATA_VARIABLE, str(place.given / "no-data"))
    monkeypatch.chdir(place.given)
    assert os.getcwd() == str(place.given)
    return place
