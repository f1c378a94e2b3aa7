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

from bench.choices import SWITCHES
from bench.environment import describe, versions
from bench.methods.settings import Settings
from bench.outcome import Outcome
from bench.row import Row
from bench.store import Store
from bench.suite import Cell, Suite, expand
from networks import data
from networks.errors import InputError
from networks.instance import check_classes
from networks.layers import LayerList
from networks.zoo import load_network
from solvers.backend import SolverOptions
from solvers.registry import get

CellResult = tuple[dict[str, Any], dict[str, Any]]  # fields of the row, and arrays


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell with its digest and the network that the digest was made with."""

    cell: Cell
    digest: str
    network: LayerList


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
    asked = expand(suite)
    networks = {name: _load_for_images(name) for name in dict.fromkeys(cell.network for cell in asked)}
    _check_solvers(asked)
    planned: dict[str, Planned] = {}
    notes: dict[str, None] = {}  # in order, each once
    for cell in asked:
        network = networks[cell.network]
        _check_labels(cell, network, data_dir)
        if cell.kind == "attack":
            _check_attack(cell, network)
            cell, note = _fit_to_machine(cell, data_dir)
            notes.update(dict.fromkeys(note))
        digest = cell.digest(network.digest, _images_digest(cell.image, cell.images, data_dir))
        kept = planned.setdefault(digest, Planned(cell, digest, network)).cell.network
        if kept != cell.network:
            notes[f"networks {kept} and {cell.network} have the same weights: measured once, as {kept}"] = None
    return Plan(suite, data_dir, tuple(planned.values()), tuple(notes))


def _check_solvers(cells: list[Cell]) -> None:
    """Raise InputError where a solver is not there, or lacks what a cell asks of it."""
    asked = {(cell.method, cell.solver, tuple(_given(cell).items())) for cell in cells if cell.solver}
    for method, solver, switches in asked:
        Settings(method, str(solver), SolverOptions(), **dict(switches))


def _load_for_images(name: str) -> LayerList:
    network = load_network(name)
    if network.input_shape != data.IMAGE_SHAPE:
        raise InputError(f"network {name} takes {network.input_shape}; suites use images of {data.IMAGE_SHAPE}")
    return network


def _check_labels(cell: Cell, network: LayerList, data_dir: Path | None) -> None:
    for image, label in _labels(cell.image, cell.images, data_dir):
        if label >= network.class_count:
            raise InputError(
                f"network {cell.network} has {network.class_count} classes; image {image} has label {label}"
            )


@cache
def _labels(image: int | None, count: int | None, data_dir: Path | None) -> tuple[tuple[int, int], ...]:
    """The cell's images and their labels, the first image of each label standing for all."""
    if not count:
        return ((image or 0, data.test_image(image or 0, data_dir)[1]),)
    labels = data.test_images(_available(count, data_dir), data_dir).labels
    values, firsts = np.unique(labels, return_index=True)
    return tuple(zip(firsts.tolist(), values.tolist(), strict=True))


def _check_attack(cell: Cell, network: LayerList) -> None:
    from bench.methods.attacks import check_method

    check_method(cell.method, cell.target is not None)
    if cell.target is not None:
        check_classes([cell.target], network.class_count, "target")


def _fit_to_machine(cell: Cell, data_dir: Path | None) -> tuple[Cell, list[str]]:
    """The attack on the images and the device that this machine has, and what the user should know of it."""
    from bench.devices import resolve_device

    available = _available(cell.images or 0, data_dir)
    fitted = replace(cell, images=available, device=resolve_device(cell.device).type)
    if available == cell.images:
        return fitted, []
    missing = f"{cell.images:,} images asked for, {available:,} at hand: the full MNIST test set is not there"
    return fitted, [f"{missing} (name its folder with --data DIR)"]


def _available(asked: int, data_dir: Path | None) -> int:
    """How many of the test images there are: the shipped ones where the full set is not there and none was named."""
    in_full_set = data.SAMPLE_COUNT < asked <= data.SPLIT_FILES["test"][2]
    if in_full_set and data_dir is None and not data.full_set_present():
        return data.SAMPLE_COUNT
    return len(data.test_images(asked, data_dir))


@cache
def _images_digest(image: int | None, count: int | None, data_dir: Path | None) -> str:
    pixels = data.test_images(count, data_dir).images if count else data.test_image(image or 0, data_dir)[0]
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


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
        "network_digest": planned.network.digest,
        "dataset": "mnist_test",
        "started": _now(),
        "versions": versions(),
    }
    torch.set_num_threads(cell.threads)
    try:
        result, arrays = MEASURES[cell.kind](cell, planned.network, data_dir)
    except Exception as error:  # the one place where an exception becomes a result
        return Row(**base, status=["error"], error=f"{type(error).__name__}: {error}"), {}
    return Row(**{**base, **result}), arrays


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
        **_given(cell),
    )
    fields = {**_outcome_fields(outcome), **asked}
    prediction = network.forward(outcome.worst_input[None]).argmax()
    return fields, {"worst_input": outcome.worst_input, "prediction": prediction}


def _given(cell: Cell) -> dict[str, Any]:
    """The switches that the cell has."""
    return {name: getattr(cell, name) for name in SWITCHES if getattr(cell, name) is not None}


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    shared = (
        *("label", "verdict", "evidence", "reason", "targets", "lower", "upper", "status", "stage", "gap"),
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
        "indices": np.flatnonzero(targeted),  # which images these are
        "adversarial": result.adversarial[: cell.keep_images].astype(np.float32),
    }
    return fields, arrays


MEASURES = {"verify": _measure_verify, "attack": _measure_attack}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
