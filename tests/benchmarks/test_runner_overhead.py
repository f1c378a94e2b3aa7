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


def test_a_run_adds_at_most_20_ms_to_a_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(tmp_path, "mnist_small", methods=["interval"], images=CELLS)
    ends: list[tuple[float, Row]] = []
    with Store(tmp_path / "run") as store:
        run(plan, store, on_row=lambda row: ends.append((time.perf_counter(), row)))
    own = [row.total_s for _, row in ends[1:]]
    added = [after - before - (row.total_s or 0.0) for (before, _), (after, row) in pairwise(ends)]
    median = statistics.median(added)
    with capsys.disabled():
        print(
            f"\n{CELLS} cells of interval bounds, {1e3 * statistics.median(filter(None, own)):.1f} ms each: "
            f"the runner adds {1e3 * median:.1f} ms in the median, {1e3 * max(added):.1f} ms at most"
        )
    assert 0 < median <= MOST_S
