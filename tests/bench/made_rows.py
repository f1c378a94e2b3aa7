"""Rows made by hand, the run that holds them, and its tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from bench.choices import BY_PROPAGATION, SWITCHES, applicable, goal_of
from bench.report.frame import Run, load_run
from bench.report.render import Section, Table
from bench.report.tables import run_sections
from bench.report.terminal import to_terminal
from bench.row import Row


def verify_row(**values: Any) -> Row:
    """A row of one image and two targets, solved by the LP unless told otherwise, every switch at its usual value.

    Its bounds carry its verdict, unless they are given.
    """
    method, goal = values.get("method", "lp"), values.get("goal", "margin")
    by_solver = method not in BY_PROPAGATION
    row: dict[str, Any] = {
        "kind": "verify",
        "network": "mnist_small",
        "network_digest": "d1",
        "dataset": "mnist_test",
        "image": 0,
        "label": 0,
        "epsilon": 0.1,
        "clip": (0.0, 1.0),
        "method": method,
        "verdict": "falsified"
        if any(value is not None and value < 0 for value in values.get("upper", ()))
        else "unknown",
        "evidence": "not decided: target 2 has lower bound -1",
        "targets": [1, 2],
        "lower": [1.0, 0.5 if values.get("verdict") == "verified" else -1.0],
        "upper": [4.0, -0.5 if values.get("verdict") == "falsified" else 2.0],
        "status": ["optimal" if by_solver else "bounded"] * len(values.get("targets", [1, 2])),
        "bounds_s": 0.001,
        "build_s": 0.009,
        "solve_s": 0.09,
        "total_s": 0.1,
    }
    if by_solver:
        row |= {"solver": "highs", "solver_version": "1.15.1"}
        row |= {name: SWITCHES[name][0] for name in applicable(method, goal)} | {"goal": goal_of(method, goal)}
    if not by_solver or values.get("tier") == "certified":
        row |= {"certified": values.get("lower", row["lower"])}
    row |= values if by_solver else {name: value for name, value in values.items() if name not in ("solver", "status")}
    return Row(**{"cell": json.dumps(row, sort_keys=True)} | row)


def attack_row(**values: Any) -> Row:
    row: dict[str, Any] = {
        "kind": "attack",
        "network": "mnist_cnn",
        "network_digest": "d2",
        "dataset": "mnist_test",
        "images": 100,
        "epsilon": 0.1,
        "method": "pgd_linf",
        "steps": 40,
        "step": 0.01,
        "restarts": 1,
        "error_rate": 0.75,
        "images_per_s": 50.0,
        "total_s": 2.0,
    } | values
    return Row(**{"cell": json.dumps(row, sort_keys=True)} | row)


def failed(row: Row, error: str) -> Row:
    """The same cell, had it ended in an exception."""
    nothing: dict[str, Any] = {"targets": [], "lower": [], "upper": [], "verdict": None, "evidence": None}
    nothing |= {"error_rate": None, "images_per_s": None}
    return replace(row, **nothing, status=["error"], error=error, total_s=None)


def write_run(folder: Path, rows: Iterable[Row], **manifest: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in rows))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def tables_of(run: Run) -> dict[str, Table]:
    return {table.title: table for section in run_sections(run) for table in section.tables}


def only(table: Table, **values: Any) -> pd.Series[Any]:
    """The one line of a table with these values."""
    frame = table.frame.rename(columns=lambda name: name.replace("-\n", "").replace("\n", " "))
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def made_run(folder: Path, *rows: Row) -> Run:
    return load_run(write_run(folder, rows))


def printed(sections: Iterable[Section], width: int) -> list[str]:
    """The lines of sections in a terminal of that width."""
    out = StringIO()
    to_terminal(sections, Console(file=out, width=width, highlight=False))
    return out.getvalue().splitlines()
