"""Which processors a pairing keeps to."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from bench.machine import usable_cores
from bench.pairing import cores
from bench.pairing.cores import quietest_cores

pytestmark = pytest.mark.skipif(len(usable_cores()) < 2, reason="one processor is no choice")


def test_those_of_which_a_program_gets_most(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = usable_cores()
    monkeypatch.setattr(cores, "_share_of", lambda core: 1.0 if core == usable[1] else 0.5)
    assert quietest_cores(1) == [usable[1]]
    assert quietest_cores(len(usable) + 5) == usable


def test_of_equal_ones_the_quietest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_share_of", lambda core: 1.0)
    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: [100.0 - core for core in range(max(usable_cores()) + 1)])
    assert quietest_cores(1) == [usable_cores()[-1]]


def test_looking_leaves_this_process_where_it_may_run() -> None:
    before = usable_cores()
    assert len(quietest_cores(1)) == 1
    assert usable_cores() == before


def test_a_share_is_what_is_left_by_others() -> None:
    core = usable_cores()[0]
    code = f"import psutil; psutil.Process().cpu_affinity([{core}])\nwhile True: pass"
    with (
        subprocess.Popen([sys.executable, "-c", code]) as other,
        subprocess.Popen([sys.executable, "-c", code]) as more,
    ):
        try:
            shares = [cores._share_of(core) for _ in range(5)]
        finally:
            other.kill()
            more.kill()
    assert min(shares) <= 0.7
