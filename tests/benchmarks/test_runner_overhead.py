"""What a run adds to its cells: from one row on disk to the next, less what the cell itself took."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from pathlib import Path

import pytest

from bench.row import Row
from bench.runner import run
from bench.store import Store
from tests.bench.suites import plan_of

CELLS = 60
MOST_S = 0.020
TRIES = 3  # what others do on the machine only ever adds: the quietest run counts, the first one that is quiet enough


def added_s(folder: Path) -> list[float]:
    """What a run of small cells adds to each."""
    folder.mkdir()
    plan = plan_of(folder, "mnist_small", methods=["interval"], images=CELLS)
    ends: list[tuple[float, Row]] = []
    with Store(folder / "run") as store:
        run(plan, store, on_row=lambda row: ends.append((time.perf_counter(), row)))
    assert [row.error for _, row in ends] == [None] * CELLS
    return [after - before - (row.total_s or 0.0) for (before, _), (after, row) in pairwise(ends)]


def test_a_run_adds_at_most_20_ms_to_a_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [added_s(tmp_path / "0")]
    while statistics.median(runs[-1]) > MOST_S and len(runs) < TRIES:
        runs.append(added_s(tmp_path / str(len(runs))))
    quietest = min(runs, key=statistics.median)
    median = statistics.median(quietest)
    with capsys.disabled():
        print(f"\na run adds {1e3 * median:.1f} ms to a cell in the median, {1e3 * max(quietest):.1f} ms at most")
    assert 0 < median <= MOST_S
