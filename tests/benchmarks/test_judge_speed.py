"""Judging many rows: what a run of a hundred thousand cells costs at its end."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.judge import judge
from bench.row import Row
from tests.bench.made_rows import verify_row

IMAGES, EPSILONS, SOLVERS, TARGETS = 500, 10, 9, 9  # 100,000 rows, 900,000 bounds
LOWER = {"interval": 0.0, "linear": 1.0, "lp": 2.0, "milp": 3.0}
MOST_S = 20.0  # of processor time; it takes about 5


def many_rows() -> list[Row]:
    """Rows of a healthy run: two methods without a solver, two with nine, at every image and epsilon."""
    setups: list[tuple[str, str | None]] = [(method, None) for method in ("interval", "linear")]
    setups += [(method, f"solver{index}") for method in ("lp", "milp") for index in range(SOLVERS)]
    samples = [sample(method, solver) for method, solver in setups]
    return [
        replace(row, image=image, epsilon=0.01 * step, cell=f"{image} {step} {index}")
        for image in range(IMAGES)
        for step in range(EPSILONS)
        for index, row in enumerate(samples)
    ]


def sample(method: str, solver: str | None) -> Row:
    return verify_row(
        method=method,
        solver=solver,
        label=0,
        targets=[*range(1, 1 + TARGETS)],
        lower=[LOWER[method]] * TARGETS,
        upper=[LOWER["milp"]] * TARGETS,
        safety=[2e-6 if solver else 0.0] * TARGETS,
        gap=[0.0] * TARGETS,
    )


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_judged_in_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    rows = many_rows()
    start = time.process_time()
    judgement = judge(rows, [Path()] * len(rows))
    spent_s = time.process_time() - start
    with capsys.disabled():
        print(f"\n{len(rows):,} rows, {sum(judgement.tested.values()):,} tests: {spent_s:.1f} s of processor time")
    assert judgement.findings == ()
    assert judgement.tested["bracket"] >= len(rows) * TARGETS
    assert spent_s < MOST_S
