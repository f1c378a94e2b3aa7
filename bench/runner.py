"""The runner: expands a suite, measures what is not there yet, and keeps every finished cell."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.environment import describe, versions
from bench.outcome import Outcome
from bench.row import Row
from bench.store import Store
from bench.suite import Cell, Suite, expand
from networks import data
from networks.errors import InputError
from networks.zoo import load_network
from solvers.backend import SolverOptions
from solvers.registry import get

CellResult = tuple[dict[str, Any], dict[str, Any]]  # fields of the row, and arrays


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell with its digest."""

    cell: Cell
    digest: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a suite comes to on this machine.

    Attributes
    ----------
    suite : Suite
    data_dir : Path or None
        Folder with the full MNIST set.
    cells : tuple of Planned
    notes : tuple of str
        What the user should know, e.g. that fewer images are at hand than the suite asks for.
    """

    suite: Suite
    data_dir: Path | None
    cells: tuple[Planned, ...]
    notes: tuple[str, ...]

    def finished(self, store: Store) -> int:
        """How many of the cells `store` has."""
        return sum(planned.digest in store.finished for planned in self.cells)


def make_plan(suite: Suite, data_dir: Path | None = None) -> Plan:
    """Expand a suite and check all of it before anything is measured.

    Raises
    ------
    InputError
        A network, solver, image, class or device that is not there; the message names it.
    """
    from bench.devices import resolve_device

    planned, notes = {}, {}
    for cell in expand(suite):
        network = load_network(cell.network)
        if cell.kind == "attack":
            available = _available(cell, data_dir)
            if available < (cell.images or 0):
                note = f"{cell.images:,} images asked for, {available:,} at hand: the full MNIST test set is not there"
                notes[f"{note} (name its folder with --data DIR)"] = None
            cell = replace(cell, images=available, device=resolve_device(cell.device).type)
        else:
            data.test_image(cell.image or 0, data_dir)
        if cell.solver:
            get(cell.solver)
        if network.input_shape != data.IMAGE_SHAPE:
            raise InputError(f"network {cell.network} takes {network.input_shape}; suites use images of (1, 28, 28)")
        digest = cell.digest(network.digest, _images_digest(cell.image, cell.images, data_dir))
        planned[digest] = Planned(cell, digest)
    return Plan(suite, data_dir, tuple(planned.values()), tuple(notes))


def run(
    plan: Plan,
    store: Store,
    *,
    on_start: Callable[[Planned], None] = lambda planned: None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> None:
    """Measure every cell of `plan` that `store` does not have yet.

    Each row is on disk before the next cell starts. KeyboardInterrupt passes through and loses nothing that had
    finished.

    Parameters
    ----------
    on_start, on_row : callable
        Called before each cell, and after each row.
    """
    missing = [planned for planned in plan.cells if planned.digest not in store.finished]
    if missing:
        store.start(plan.suite.model_dump(mode="json"), describe(), _now())
    for planned in missing:
        on_start(planned)
        row, arrays = measure(planned, plan.data_dir)
        if arrays:
            row = replace(row, arrays=store.save_arrays(planned.digest, arrays))
        store.append(row)
        on_row(row)


def measure(planned: Planned, data_dir: Path | None = None) -> tuple[Row, dict[str, Any]]:
    """Measure one cell. An exception becomes a row with its text; nothing is swallowed, nothing else is lost."""
    import torch

    cell = planned.cell
    base = {
        **{key: value for key, value in asdict(cell).items() if key != "keep_images"},
        "cell": planned.digest,
        "network_digest": load_network(cell.network).digest,
        "dataset": "mnist_test",
        "started": _now(),
        "versions": versions(),
    }
    torch.set_num_threads(cell.threads)
    try:
        result, arrays = MEASURES[cell.kind](cell, data_dir)
    except Exception as error:  # the one place where an exception becomes a result
        return Row(**base, status=["error"], error=f"{type(error).__name__}: {error}"), {}
    return Row(**{**base, **result}), arrays


def _measure_verify(cell: Cell, data_dir: Path | None) -> CellResult:
    from bench.verification import verify

    image, label = data.test_image(cell.image or 0, data_dir)
    network = load_network(cell.network)
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
        formulation=cell.formulation or "compact",
    )
    fields = {**_outcome_fields(outcome), **_asked_of_solver(cell)}
    prediction = network.forward(outcome.worst_input[None]).argmax()
    return fields, {"worst_input": outcome.worst_input, "prediction": prediction}


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    shared = (
        *("label", "verdict", "evidence", "targets", "lower", "upper", "status", "gap", "witness_single", "counters"),
        *("bounds_s", "build_s", "solve_s", "total_s"),
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


def _measure_attack(cell: Cell, data_dir: Path | None) -> CellResult:
    from bench.adversarial import attack

    images = data.test_images(cell.images or 0, data_dir)
    targeted = np.ones(len(images), bool) if cell.target is None else images.labels != cell.target
    x, y = images.images[targeted], images.labels[targeted]  # an image of the target's own class cannot be driven there
    settings = {} if cell.steps is None else {"steps": cell.steps, "step": cell.step, "restarts": cell.restarts or 1}
    result = attack(
        load_network(cell.network),
        x,
        y,
        cell.method,
        cell.epsilon,
        targets=cell.target,
        clip=cell.clip,
        device=cell.device,
        seed=cell.seed,
        **settings,
    )
    wrong = int((result.predictions != y).sum())
    fields = {
        "images": len(y),
        "falsified": wrong,
        "unknown": len(y) - wrong,
        "error_rate": result.error_rate,
        "images_per_s": result.images_per_s,
        "total_s": result.seconds,
        "device": result.device,
    }
    arrays = {
        "margin": result.margin,
        "predictions": result.predictions,
        "labels": y,
        "adversarial": result.adversarial[: cell.keep_images].astype(np.float32),
    }
    return fields, arrays


MEASURES: dict[str, Callable[[Cell, Path | None], CellResult]] = {"verify": _measure_verify, "attack": _measure_attack}


def _available(cell: Cell, data_dir: Path | None) -> int:
    asked = cell.images or 0
    if asked > data.SAMPLE_COUNT and data_dir is None and not data.full_set_present():
        return data.SAMPLE_COUNT
    return len(data.test_images(asked, data_dir))


@cache
def _images_digest(image: int | None, count: int | None, data_dir: Path | None) -> str:
    pixels = data.test_images(count, data_dir).images if count else data.test_image(image or 0, data_dir)[0]
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
