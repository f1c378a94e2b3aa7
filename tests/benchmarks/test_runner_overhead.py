"""What the harness itself takes for a cell: from one row to the next, less what the cell's own clock says."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from pathlib import Path

from bench import runner
from bench.plan import make_plan
from bench.row import Row
from bench.store import Store
from bench.suite import load_suite

CELLS = 120
OVERHEAD_S = 0.020  # at most, in the median
SUITE = f"""name = "overhead"
[[verify]]
networks = ["mnist_small"]
images = {CELLS // 2}
epsilons = [0.01]
methods = ["interval", "lp"]
"""


def test_the_harness_takes_at_most_20_ms_a_cell(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    ends: list[float] = []
    rows: list[Row] = []

    def on_row(row: Row) -> None:
        ends.append(time.perf_counter())
        rows.append(row)

    with Store(tmp_path / "run") as store:
        runner.run(make_plan(load_suite(tmp_path / "suite.toml")), store, on_row=on_row)
    assert len(rows) == CELLS
    spent = [end - begin for begin, end in pairwise(ends)]
    overheads = [wall - (row.total_s or 0.0) for wall, row in zip(spent, rows[1:], strict=True)]
    median, p95 = statistics.median(overheads), statistics.quantiles(overheads, n=20)[-1]
    print(f"\nharness: median {median * 1e3:.1f} ms a cell, 95 % {p95 * 1e3:.1f} ms, over {CELLS} cells")
    assert median < OVERHEAD_S
