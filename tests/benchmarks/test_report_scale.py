"""A report over a million rows: the whole command, its time, its memory and the size of its page.

Every run of the tests takes a share of the rows, and processor time; RELUBENCH_FULL_BENCHMARKS=1 takes all of them, and
the clock.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from bench.processes import usage_of
from tests.benchmarks.many_rows import write_many
from tests.conftest import RELUBENCH

FULL = os.environ.get("RELUBENCH_FULL_BENCHMARKS") == "1"
ROWS = 1_000_000 if FULL else 50_000
MOST_S = 60.0  # of a million rows by the clock; a share has the same for its figures, which cost what they cost
MOST_BYTES = 3e9 if FULL else 1.5e9
MOST_PAGE_BYTES = 15e6
LOOK_S = 0.05


class Spent(NamedTuple):
    """What a command used, its descendants included."""

    wall_s: float
    cpu_s: float
    peak: int


def measured(*command: object) -> Spent:
    """Run a command to its end, and look at its memory all the while."""
    start, cpu_s, peak = time.monotonic(), 0.0, 0
    with subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            if usage := usage_of(root):
                cpu_s, peak = max(cpu_s, usage.cpu_s), max(peak, usage.resident)
            time.sleep(LOOK_S)
    assert process.returncode == 0
    return Spent(time.monotonic() - start, cpu_s, peak)


@pytest.mark.slow
def test_a_report_over_a_million_rows_takes_less_than_a_minute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    instances = write_many(run, ROWS)
    spent = measured(*RELUBENCH, "report", run, "--out", out)
    page = (out / "report.html").stat().st_size
    with capsys.disabled():
        print(
            f"\n{ROWS:,} rows of {instances:,} instances: {spent.wall_s:.1f} s, {spent.cpu_s:.1f} s of processor time, "
            f"{spent.peak / 1e9:.2f} GB resident, page of {page / 1e6:.1f} MB"
        )
    assert instances > ROWS // 50
    assert (spent.wall_s if FULL else spent.cpu_s) < MOST_S
    assert spent.peak < MOST_BYTES
    assert page < MOST_PAGE_BYTES
    assert f"{ROWS:,}" in (out / "report.html").read_text(encoding="utf-8")
    with (out / "rows.csv").open("rb") as lines:
        assert sum(1 for _ in lines) == ROWS + 1
