"""Interpreters that speak the protocol of a pairing's side and measure nothing: what they answer is written down."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DESCRIBED = {
    "python": "3.11.0",
    "executable": "python",
    "folder": "/somewhere",
    "versions": {"relubench": "1.0"},
    "source": "0" * 64,
    "commit": None,
    "cores": [0],
}
OUTCOME = {
    "verdict": "verified",
    "label": 7,
    "targets": [0],
    "lower": [1.0],
    "upper": [2.0],
    "status": ["bounded"],
    "gap": [0.0],
    "counters": {"rows": 3},
}
WARMED = {"seconds": 0.01, "network_digest": "d", "solver_version": None, "left_out": [], "outcome": OUTCOME}
TIMING = {"wall_s": 0.01, "cpu_s": 0.01, "bounds_s": 0.0, "build_s": 0.004, "solve_s": 0.006}

# Reads requests, notes them, and answers each by what is written down for it: an answer, or code to run.
SCRIPT = """#!{python}
import json, os, sys, time
name, answers, log = {name!r}, {answers!r}, {log!r}
for line in sys.stdin:
    request = json.loads(line)
    with open(log, "a") as file:
        file.write(json.dumps([name, request]) + "\\n")
    if request["do"] == "end":
        break
    answer = answers[request["do"]]
    if isinstance(answer, str):
        exec(answer)
    if isinstance(answer, dict):
        print(json.dumps({{"number": request["number"], **answer}}), flush=True)
"""


def made_side(folder: Path, name: str, **answers: Any) -> Path:
    """An interpreter that answers `describe`, `warm` and `measure`; text is code that may set `answer`."""
    usual: dict[str, Any] = {"describe": DESCRIBED, "warm": WARMED, "measure": TIMING}
    path = folder / f"{name}-python"
    text = SCRIPT.format(python=sys.executable, name=name, answers=usual | answers, log=str(folder / "requests"))
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def requests_of(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """What both sides were asked, in order: the side's name, and the request."""
    return [tuple(json.loads(line)) for line in (folder / "requests").read_text(encoding="utf-8").splitlines()]


def slower(times: float) -> dict[str, float]:
    """The timing of a side that takes so many times as long."""
    return {name: times * seconds for name, seconds in TIMING.items()}
