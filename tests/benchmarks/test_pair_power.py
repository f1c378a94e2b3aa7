"""How often a pairing is right: of an installation against itself, and against a copy that takes 1.3 times as long.

Two of each in every run of the tests; with RELUBENCH_FULL_BENCHMARKS=1 twenty, of which at most one may be wrong.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.bench.suites import write_suite
from tests.conftest import Ended, RunCommand
from tests.installations import SLOWER, copied, this_one

FULL = os.environ.get("RELUBENCH_FULL_BENCHMARKS") == "1"
TRIES = 20 if FULL else 2
MOST_WRONG = 1 if FULL else 0
TIMES = 1.3


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Cells of 1 to 50 ms."""
    images, methods = (5, ["interval", "lp"]) if FULL else (8, ["interval"])
    return write_suite(tmp_path, "mnist_small", images=images, methods=methods)


@pytest.mark.parametrize("times", [1.0, TIMES])
def test_the_right_answer_in_nearly_all_of_them(
    times: float, suite: Path, relubench: RunCommand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = this_one(tmp_path / "base")
    head = base if times == 1 else copied(tmp_path / "head", SLOWER.format(times=times))
    ended = []
    for _ in range(TRIES):
        ended.append(relubench("pair", suite, "--base", base, "--head", head, "--json"))
        with capsys.disabled():
            print(f"\n{told(ended[-1])}, load {os.getloadavg()[0]:.1f}", end="")
    slower = sum(each.code == 1 for each in ended)
    with capsys.disabled():
        print(f"\n{times:g} times as slow: {slower} of {TRIES} pairings say slower")
    assert {each.code for each in ended} <= {0, 1}
    assert (TRIES - slower if times > 1 else slower) <= MOST_WRONG


def told(ended: Ended) -> str:
    """One pairing in one line."""
    compared = json.loads(ended.out)
    found = next(ratio for ratio in compared["lanes"][1]["ratios"] if ratio["setup"] == "all")
    pairs = next(note for note in compared["notes"] if "pairs" in note).partition(" ")[0]
    interval = f"{found['estimate']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
    return f"  exit code {ended.code}: {interval} over {found['count']} cells, {pairs} pairs each"
