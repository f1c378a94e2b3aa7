"""The driver of a side, in installations that know nothing of pairing, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.pairing.side import Described, Failed, Side, Timing, Warmed
from tests.bench.suites import write_suite
from tests.conftest import RELUBENCH
from tests.installations import interpreter

GONE_S = 10.0  # until processes have ended that were told to
START_S = 60.0

VERIFY = """
def verify(
    network, x, label, epsilon, method="milp", solver="highs", *, clip=None, time_limit_s=None, threads=1, seed=0
):
    {body}
    return Outcome()
"""
# All that the driver uses of a release.
BENCH = """
import os, subprocess, sys, time
import numpy as np

class Outcome:
    bounds_s, total_s = 0.25, 0.5

    def to_dict(self, arrays=True):
        return {"verdict": "verified"}

class Attacked:
    predictions, error_rate, device = np.array([1, 2]), 0.5, "cpu"

def attack(network, x, y, method, epsilon, *, targets=None, clip=None, device="auto", seed=0):
    return Attacked()
"""
NETWORKS = """
class Network:
    digest = "d"

def load_network(name):
    return Network()
"""
DATA = """
from types import SimpleNamespace
import numpy as np

def test_image(index, folder):
    return np.zeros(3), 7

def test_images(count, folder):
    return SimpleNamespace(images=np.zeros((3, 1)), labels=np.array([1, 3, 5]))
"""
ASKED = {
    "cell": "c",
    "kind": "verify",
    "network": "n",
    "image": 0,
    "images": None,
    "data": None,
    "threads": 1,
    "arguments": {"epsilon": 0.1, "method": "lp", "solver": "highs", "clip": [0, 1]},
    "usual": [],
}


def old_release(folder: Path, body: str = "pass") -> Path:
    """An installation of a relubench that has little but `verify`, with that body."""
    source = folder / "source"
    modules = {
        "bench/__init__.py": BENCH + VERIFY.format(body=body.replace("\n", "\n    ")),
        "networks/__init__.py": NETWORKS,
        "networks/data.py": DATA,
        "solvers/__init__.py": "",
    }
    for name, text in modules.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    return interpreter(folder / "venv", source)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return old_release(tmp_path_factory.mktemp("old"))


def ask_warm(side: Side, **replaced: Any) -> Warmed | Failed:
    return side.ask(Warmed, START_S, do="warm", **ASKED | replaced)


def test_an_older_release_says_what_it_is_and_measures(old: Path) -> None:
    with Side("base", str(old), 1) as side:
        described = side.ask(Described, START_S, do="describe", cores=[min(os.sched_getaffinity(0))])
        assert isinstance(described, Described)
        assert described.folder == str(old.parents[2] / "source")
        assert described.commit is None
        assert described.cores == [min(os.sched_getaffinity(0))]
        warmed = ask_warm(side)
        assert isinstance(warmed, Warmed)
        assert (warmed.network_digest, warmed.outcome, warmed.solver_version) == ("d", {"verdict": "verified"}, None)
        timing = side.ask(Timing, START_S, do="measure", cell="c", calls=3)
        assert isinstance(timing, Timing)
        assert (timing.bounds_s, timing.build_s) == (0.25, 0.0)


def test_an_attack_counts_what_it_has_falsified(old: Path) -> None:
    asked = {"kind": "attack", "images": 3, "arguments": {"method": "fgsm", "epsilon": 0.1, "targets": 5}}
    with Side("base", str(old), 1) as side:
        warmed = ask_warm(side, **asked)
    assert isinstance(warmed, Warmed)
    assert warmed.outcome == {"falsified": 1, "unknown": 1, "images": 2, "error_rate": 0.5, "device": "cpu"}


def test_a_setting_that_is_not_known_is_left_out_where_it_changes_nothing(old: Path) -> None:
    arguments = {"epsilon": 0.1, "start": "none"}
    with Side("base", str(old), 1) as side:
        warmed = ask_warm(side, arguments=arguments, usual=["start"])
        assert isinstance(warmed, Warmed)
        assert warmed.left_out == ["start"]
        refused = ask_warm(side, arguments=arguments | {"start": "witness"}, usual=[])
        assert isinstance(refused, Failed)
        assert refused.why.endswith("has no start='witness'")


def test_what_a_call_prints_or_reads_is_none_of_the_protocol(tmp_path: Path) -> None:
    body = "print('{}'); os.write(1, b'x\\n'); subprocess.run(['echo', 'y']); assert sys.stdin.read() == ''"
    with Side("base", str(old_release(tmp_path, body)), 1) as side:
        for _ in range(2):
            assert isinstance(ask_warm(side), Warmed)


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "raise KeyboardInterrupt", "1 / 0"])
def test_an_exception_of_a_call_is_its_answer(body: str, tmp_path: Path) -> None:
    with Side("base", str(old_release(tmp_path, body)), 1) as side:
        for _ in range(2):
            failed = ask_warm(side)
            assert isinstance(failed, Failed)
            assert failed.why.partition(":")[0] in ("SystemExit", "KeyboardInterrupt", "ZeroDivisionError")


def test_the_environment_puts_nothing_before_an_installation(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONPATH would have both sides run the same packages; so would the working directory."""
    for folder in ("path", "here"):
        (tmp_path / folder / "bench").mkdir(parents=True)
        (tmp_path / folder / "bench" / "__init__.py").write_text("raise AssertionError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    monkeypatch.chdir(tmp_path / "here")
    with Side("base", str(old), 1) as side:
        assert isinstance(ask_warm(side), Warmed)


@pytest.mark.parametrize("at_once", [True, False])
def test_the_end_of_a_side_is_that_of_its_process(at_once: bool, old: Path) -> None:
    side = Side("base", str(old), 1)
    assert isinstance(ask_warm(side), Warmed)
    started = [child for child in psutil.Process().children() if "driver.py" in " ".join(child.cmdline())]
    side.close(at_once=at_once)
    assert len(started) == 1
    assert not started[0].is_running()


BUSY = """
child = subprocess.Popen(["sleep", "600"])
open({pids!r}, "w").write(f"{{os.getpid()}} {{child.pid}}\\n")
while True:
    pass
"""


@pytest.fixture
def busy(tmp_path: Path, tiny_network: Path, old: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A pairing whose head has started a child and works for ever, and the processes of that side."""
    head = old_release(tmp_path / "head", BUSY.format(pids=str(tmp_path / "pids")))
    suite = write_suite(tmp_path, tiny_network, images=5, methods=["interval"])
    command = [*RELUBENCH, "pair", str(suite), "--base", str(old), "--head", str(head)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + START_S
        while not ((tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
        process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_command(
    number: signal.Signals, busy: tuple[subprocess.Popen[str], list[psutil.Process]]
) -> None:
    process, side = busy
    process.send_signal(number)
    _, said = process.communicate(timeout=GONE_S)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(side, timeout=GONE_S)
    assert alive == []
