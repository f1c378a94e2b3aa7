"""Fixtures of all tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from networks.data import IMAGE_SHAPE
from networks.layers import Flatten, LayerList, Linear, ReLU

# A shell starts background jobs with Ctrl-C ignored, which children inherit and the tests of Ctrl-C would wait for in
# vain; a handler of our own is reset to the default in children.
signal.signal(signal.SIGINT, signal.default_int_handler)

RELUBENCH = (sys.executable, "-c", "from bench.cli import main; main()")  # the console script, by this interpreter


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


RunCommand = Callable[..., Ended]


@pytest.fixture
def relubench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Runs the command line in this process, as the console script does."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["relubench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def tiny_network(tmp_path: Path) -> Path:
    """A layer-list file: 784 inputs, 6 ReLUs, 10 classes, random weights."""
    path = tmp_path / "tiny.safetensors"
    random_network(seed=0).save(path)
    return path


def random_network(seed: int) -> LayerList:
    """A network on images with 6 ReLUs, which every solver answers at once."""
    rng = np.random.default_rng(seed)
    hidden = Linear(rng.normal(size=(6, 784)) / 28, rng.normal(size=6))
    return LayerList(IMAGE_SHAPE, (Flatten(), hidden, ReLU(), Linear(rng.normal(size=(10, 6)), rng.normal(size=10))))
