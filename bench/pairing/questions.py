"""What a side is asked of a cell: the call of `bench.verify` or `bench.attack` that a run would make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.choices import SWITCHES
from bench.plan import Planned, given_switches
from bench.suite import Cell
from solvers.formulation import OWN_STABLE


def request_of(planned: Planned, data_dir: Path | None) -> dict[str, Any]:
    """The cell's request to a driver; `usual` names the settings that an installation may lack: they change nothing."""
    cell = planned.cell
    return {
        "cell": planned.digest,
        "kind": cell.kind,
        "network": cell.network,
        "image": cell.image,
        "images": cell.images,
        "data": None if data_dir is None else str(data_dir),
        "threads": cell.threads,
        "arguments": ARGUMENTS[cell.kind](cell),
        "usual": [name for name, value in given_switches(cell).items() if value == _usual(cell, name)],
    }


def _verification(cell: Cell) -> dict[str, Any]:
    return {
        "epsilon": cell.epsilon,
        "method": cell.method,
        **({} if cell.solver is None else {"solver": cell.solver}),
        "clip": cell.clip,
        "time_limit_s": cell.time_limit_s,
        "threads": cell.threads,
        "seed": cell.seed,
        **({} if cell.node_limit is None else {"node_limit": cell.node_limit}),
        **given_switches(cell),
    }


def _attack(cell: Cell) -> dict[str, Any]:
    steps = {"steps": cell.steps, "step": cell.step, "restarts": cell.restarts}
    return {
        "method": cell.method,
        "epsilon": cell.epsilon,
        "targets": cell.target,
        "clip": cell.clip,
        "device": cell.device,
        "seed": cell.seed,
        **({} if cell.steps is None else steps),
    }


ARGUMENTS = {"verify": _verification, "attack": _attack}


def _usual(cell: Cell, name: str) -> str:
    """The value that a switch has where nobody asks for one."""
    if name == "stable":
        return OWN_STABLE[cell.formulation or "compact"]
    return "verdict" if (name, cell.method) == ("goal", "staged") else SWITCHES[name][0]
