"""The plan: a suite's cells on this machine, checked before anything is measured."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.choices import SWITCHES
from bench.environment import versions
from bench.methods.settings import Settings
from bench.row import Row
from bench.suite import Cell, Suite, expand
from networks import data
from networks.errors import InputError
from networks.instance import Clip, check_classes, check_images
from networks.layers import LayerList
from networks.zoo import load_network
from solvers.backend import SolverOptions


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell as it is to be measured.

    Attributes
    ----------
    cell : Cell
    digest : str
    network_digest : str
        Of the network that it was made with.
    known : dict
        What its row says beside the cell's own fields however it ends, killed or not: `label`, the solver's version and
        tolerances; of an attack the number of images, the length of a step and the device's name.
    """

    cell: Cell
    digest: str
    network_digest: str
    known: dict[str, Any] = field(default_factory=dict, hash=False)

    def blank_row(self, started: str) -> Row:
        """The row of what was asked, nothing answered yet; `started` is UTC, ISO 8601."""
        asked = {key: value for key, value in asdict(self.cell).items() if key != "keep_images"}
        return Row(
            **(asked | self.known),
            cell=self.digest,
            network_digest=self.network_digest,
            dataset="mnist_test",
            started=started,
            versions=versions(),
        )


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

    @property
    def threads(self) -> int:
        """The most threads that a cell asks for."""
        return max(planned.cell.threads for planned in self.cells)


def make_plan(suite: Suite, data_dir: Path | None = None) -> Plan:
    """Expand a suite and check all of it before anything is measured.

    Raises
    ------
    InputError
        A network, solver, image, class or device that is not there, or a clip without the images; the message names it.
    """
    asked = expand(suite)
    networks = {name: _load_for_images(name) for name in dict.fromkeys(cell.network for cell in asked)}
    _check_solvers(asked)
    planned: dict[str, Planned] = {}
    notes: dict[str, None] = {}  # in order, each once
    for cell in asked:
        network = networks[cell.network]
        _check_labels(cell, network, data_dir)
        if cell.clip is not None:
            _check_clip(cell.clip, cell.image, cell.images, data_dir)
        if cell.kind == "attack":
            _check_attack(cell, network)
            cell, note = _fit_to_machine(cell, data_dir)
            notes.update(dict.fromkeys(note))
        digest = cell.digest(network.digest, _images_digest(cell.image, cell.images, data_dir))
        made = Planned(cell, digest, network.digest, KNOWN[cell.kind](cell, data_dir))
        kept = planned.setdefault(digest, made).cell.network
        if kept != cell.network:
            notes[f"networks {kept} and {cell.network} have the same weights: measured once, as {kept}"] = None
    return Plan(suite, data_dir, tuple(planned.values()), tuple(notes))


def _check_solvers(cells: list[Cell]) -> None:
    """Raise InputError where a solver is not there, or lacks what a cell asks of it."""
    asked = {(cell.method, cell.solver, tuple(given_switches(cell).items())) for cell in cells if cell.solver}
    for method, solver, switches in asked:
        Settings(method, str(solver), SolverOptions(), **dict(switches))


def given_switches(cell: Cell) -> dict[str, Any]:
    """The switches of `bench.verify` that the cell has."""
    return {name: getattr(cell, name) for name in SWITCHES if getattr(cell, name) is not None}


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
def _check_clip(clip: Clip, image: int | None, count: int | None, data_dir: Path | None) -> None:
    pixels = _pixels(image, _available(count, data_dir) if count else None, data_dir)
    try:
        check_images(data.IMAGE_SHAPE, pixels.reshape(-1, *data.IMAGE_SHAPE), clip)
    except InputError as error:
        raise InputError(f"{f'image {image}' if count is None else f'the first {count} images'}: {error}") from None


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
    return hashlib.sha256(np.ascontiguousarray(_pixels(image, count, data_dir)).tobytes()).hexdigest()


def _pixels(image: int | None, count: int | None, data_dir: Path | None) -> NDArray[np.float32]:
    return data.test_images(count, data_dir).images if count else data.test_image(image or 0, data_dir)[0]


def _known_of_verification(cell: Cell, data_dir: Path | None) -> dict[str, Any]:
    ((_, label),) = _labels(cell.image, None, data_dir)
    options = SolverOptions()
    asked = ("mip_gap", "feasibility_tolerance", "integrality_tolerance") if cell.solver else ()
    return {"label": label, **{name: getattr(options, name) for name in asked}}


def _known_of_attack(cell: Cell, data_dir: Path | None) -> dict[str, Any]:
    from bench.devices import device_name, resolve_device
    from bench.methods.attacks import METHODS

    step = METHODS[cell.method].step * cell.epsilon if cell.step is None and cell.steps else cell.step
    return {
        "images": _targeted(cell.images or 0, cell.target, data_dir),
        "step": step,
        "device": device_name(resolve_device(cell.device)),
    }


@cache
def _targeted(count: int, target: int | None, data_dir: Path | None) -> int:
    """How many images an attack takes: one of the target's own class cannot be driven there."""
    return int((data.test_images(count, data_dir).labels != target).sum())


KNOWN = {"verify": _known_of_verification, "attack": _known_of_attack}
