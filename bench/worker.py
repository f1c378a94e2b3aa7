"""What runs inside a worker, a process of a run that measures one cell after another."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.devices import libraries
from bench.environment import utc_now
from bench.outcome import Outcome
from bench.plan import Planned, given_switches
from bench.processes import kill_tree
from bench.row import Row
from bench.suite import Cell
from networks import data
from networks.errors import InputError
from networks.layers import LayerList
from networks.zoo import load_network
from solvers.registry import get

CellResult = tuple[dict[str, Any], dict[str, Any]]  # fields of the row, and arrays
PR_SET_PDEATHSIG, SIGKILL = 1, 9  # of Linux: prctl(1, 9) has the process killed when its parent dies
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # for what is loaded later


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is told before its first cell.

    Attributes
    ----------
    folder : str
        The runner's working directory, from which the suite's paths are meant.
    temporary : str
        The folder for temporary files, which outlive a worker that is killed: the runner removes it.
    environment : dict of str to str
        The runner's environment variables.
    cores : tuple of int
        The processors to keep to.
    threads : int
        The most threads that a cell asks for.
    """

    folder: str
    temporary: str
    environment: dict[str, str]
    cores: tuple[int, ...]
    threads: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker's answer: its process number, and how it was bound to its cores."""

    pid: int
    cores: str


def prepare(setup: Setup) -> Ready:
    """Make this process a worker: as the runner is, on its own cores, and gone when the runner is."""
    os.environ.update(setup.environment | dict.fromkeys(THREAD_VARIABLES, str(setup.threads)))
    os.chdir(setup.folder)
    tempfile.tempdir = setup.temporary
    os.environ["TMPDIR"] = setup.temporary
    _end_with_the_runner()
    cores = _keep_to(setup.cores)
    _set_threads(setup.threads)
    return Ready(os.getpid(), cores)


def version_of(solver: str, folder: str, environment: dict[str, str]) -> str:
    """The solver's version, asked in a process that does nothing else; `folder` and `environment` are the runner's."""
    os.environ.update(environment)
    os.chdir(folder)
    return get(solver).version()


def _end_with_the_runner() -> None:
    """However the runner ends, so does this process: a run that is resumed shares the machine with no orphan.

    The thread ends the children too, but needs the interpreter; a back-end that holds it is ended by Linux.
    """
    runner = multiprocessing.parent_process()
    if runner is None:
        return  # this is the runner
    threading.Thread(target=_end_after, args=(runner,), daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)  # the parent here is the fork server, which ends with it


def _end_after(runner: Any) -> None:
    runner.join()
    kill_tree(os.getpid())


def _keep_to(cores: tuple[int, ...]) -> str:
    import psutil

    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        return f"not enforced: {sys.platform} binds no process to processors"
    try:
        process.cpu_affinity(list(cores))
    except (OSError, ValueError) as error:
        return f"not enforced: {error}"
    return f"{', '.join(map(str, cores))} by affinity"


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)
    libraries().limit(limits=count)


def measure(planned: Planned, data_dir: Path | None = None, log: Path | None = None) -> tuple[Row, dict[str, Any]]:
    """Measure one cell, the solver's own log in the file `log`, as far as it has one.

    An exception becomes a row with its text; nothing is swallowed, nothing else is lost.
    """
    cell, blank = planned.cell, planned.blank_row(utc_now())
    _set_threads(cell.threads)
    try:
        network = _network(cell.network, planned.network_digest)
        result, arrays = MEASURES[cell.kind](cell, network, data_dir, log)
    except BaseException as error:  # the one place where an exception becomes a result, SystemExit too
        return replace(blank, status=["error"], error=f"{type(error).__name__}: {error}"), {}
    return replace(blank, **result), arrays


@cache
def _network(name: str, digest: str) -> LayerList:
    """The network that the plan was made with, loaded once."""
    network = load_network(name)
    if network.digest != digest:
        raise InputError(
            f"network {name} has digest {network.digest[:16]}, the run was planned with {digest[:16]}: "
            "its file was changed since; run the suite again"
        )
    return network


def _measure_verify(cell: Cell, network: LayerList, data_dir: Path | None, log: Path | None) -> CellResult:
    from bench.verification import verify

    image, label = data.test_image(cell.image or 0, data_dir)
    version = {} if cell.solver is None else {"solver_version": get(cell.solver).version()}  # before any clock starts
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
        node_limit=cell.node_limit,
        log=log,
        **given_switches(cell),
    )
    fields = {**_outcome_fields(outcome), **version}
    prediction = network.forward(outcome.worst_input[None]).argmax()
    arrays = {"worst_input": outcome.worst_input, "prediction": prediction}
    return fields, arrays | ({"trace": outcome.trace} if outcome.trace.size else {})


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    shared = (
        *("label", "verdict", "evidence", "reason", "targets", "lower", "upper", "status", "stage", "gap"),
        *("tier", "safety", "claimed", "certified", "violation", "bounds_used"),
        *("witness_double", "witness_single", "bounds_s", "build_s", "solve_s", "total_s", "stage_s", "counters"),
    )
    fields = outcome.to_dict(arrays=False)
    return {name: fields[name] for name in shared}


def _measure_attack(cell: Cell, network: LayerList, data_dir: Path | None, log: Path | None) -> CellResult:
    from bench.methods.attacks import attack
    from bench.methods.witness import load_torch

    load_torch()  # before any clock starts
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
