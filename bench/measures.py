"""How a cell is measured: the fields of its row, and the arrays that are kept beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.outcome import Outcome
from bench.suite import Cell
from bench.worker import CellResult
from networks import data
from networks.layers import LayerList
from solvers.backend import SolverOptions
from solvers.registry import get


def _measure_verify(cell: Cell, network: LayerList, data_dir: Path | None) -> CellResult:
    from bench.verification import verify

    image, label = data.test_image(cell.image or 0, data_dir)
    asked = _asked_of_solver(cell)  # imports the solver, before any clock starts
    outcome = verify(
        network,
        image,
        label,
        cell.epsilon,
        cell.method,
        cell.solver or "highs",
        clip=cell.clip,
        time_limit_s=cell.time_limit_s,
        threads=cell.threads,
        seed=cell.seed,
        **cell.switches,
    )
    fields = {**_outcome_fields(outcome), **asked}
    prediction = network.forward(outcome.worst_input[None]).argmax()
    return fields, {"worst_input": outcome.worst_input, "prediction": prediction}


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    shared = (
        *("label", "verdict", "evidence", "reason", "targets", "lower", "upper", "status", "stage", "gap"),
        *("tier", "safety", "claimed", "certified", "violation", "bounds_used"),
        *("witness_single", "bounds_s", "build_s", "solve_s", "total_s", "stage_s", "counters"),
    )
    fields = outcome.to_dict(arrays=False)
    return {name: fields[name] for name in shared}


def _asked_of_solver(cell: Cell) -> dict[str, Any]:
    if cell.solver is None:
        return {}
    options = SolverOptions()
    return {
        "solver_version": get(cell.solver).version(),
        "mip_gap": options.mip_gap,
        "feasibility_tolerance": options.feasibility_tolerance,
        "integrality_tolerance": options.integrality_tolerance,
    }


def _measure_attack(cell: Cell, network: LayerList, data_dir: Path | None) -> CellResult:
    from bench.methods.attacks import attack

    images = data.test_images(cell.images or 0, data_dir)
    targeted = np.ones(len(images), bool) if cell.target is None else images.labels != cell.target
    x, y = images.images[targeted], images.labels[targeted]  # an image of the target's own class cannot be driven there
    settings: dict[str, Any] = {"steps": cell.steps, "step": cell.step, "restarts": cell.restarts}
    result = attack(
        network,
        x,
        y,
        cell.method,
        cell.epsilon,
        targets=cell.target,
        clip=cell.clip,
        device=cell.device,
        seed=cell.seed,
        **({} if cell.steps is None else settings),
    )
    wrong = int((result.predictions != y).sum())
    fields = {
        "images": len(y),
        "falsified": wrong,
        "unknown": len(y) - wrong,
        "error_rate": result.error_rate,
        "images_per_s": result.images_per_s,
        "total_s": result.seconds,
        "step": None if cell.steps is None else result.step,  # the default one where the suite names none
        "device": result.device,
    }
    arrays = {
        "margin": result.margin,
        "predictions": result.predictions,
        "labels": y,
        "adversarial": result.adversarial[: cell.keep_images].astype(np.float32),
    }
    return fields, arrays


MEASURES = {"verify": _measure_verify, "attack": _measure_attack}
