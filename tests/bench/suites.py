"""Small suites for the tests of the runner, and what their rows have in common however they ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.limits import Limits
from bench.plan import Plan, make_plan
from bench.row import Row
from bench.runner import run
from bench.store import ROWS, Store
from bench.suite import load_suite

# What two runs of one cell differ in.
VARYING = ("started", "peak_memory_mb", "memory_limit_mb", "overshoot_s", "machine", "enforced", "images_per_s")


def write_suite(folder: Path, network: object, top: str = "", **keys: object) -> Path:
    """A suite of one `[[verify]]` table; `keys` replace its defaults, `top` are lines for the suite itself."""
    table = {"images": [0], "epsilons": [0.01], "methods": ["interval", "lp"], "solvers": ["highs"], **keys}
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
    path = folder / "suite.toml"
    path.write_text(f'name = "tiny"\n{top}\n[[verify]]\nnetworks = ["{network}"]\n{text}\n', encoding="utf-8")
    return path


def plan_of(folder: Path, network: object, top: str = "", **keys: object) -> Plan:
    return make_plan(load_suite(write_suite(folder, network, top, **keys)))


def run_into(folder: Path, plan: Plan, jobs: int = 1, limits: Limits = Limits()) -> list[Row]:  # noqa: B008 (frozen)
    """Run the plan; the rows of the cells that were measured, in order."""
    rows: list[Row] = []
    with Store(folder) as store:
        run(plan, store, jobs=jobs, limits=limits, on_row=rows.append)
    return rows


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The lines as any other program would read them."""
    return [json.loads(line) for line in (folder / ROWS).read_text(encoding="utf-8").splitlines()]


def facts(folder: Path) -> dict[str, dict[str, Any]]:
    """What each cell's rows say that does not vary from run to run; no cell may have two."""
    rows = read_rows(folder)
    assert len({row["cell"] for row in rows}) == len(rows), "a cell is there twice"
    return {row["cell"]: without_times(row) for row in rows}


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in VARYING and not key.endswith("_s")}
