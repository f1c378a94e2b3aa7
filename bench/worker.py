"""What runs inside a worker process: it is made ready once, then measures one cell after another."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from bench.environment import versions
from bench.plan import Planned
from bench.row import Row
from bench.store import now
from networks.errors import InputError
from networks.layers import LayerList

CellResult = tuple[dict[str, Any], dict[str, Any]]  # fields of the row, and arrays
# Imported once for all workers, by the process that they are forked from where the platform has one.
PRELOADED = ("bench.worker", "bench.measures", "bench.verification", "bench.methods.attacks", "torch", "scipy.sparse")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is made ready with.

    Attributes
    ----------
    networks : dict of str to str
        The name of each network, by its digest.
    data_dir : Path or None
        Folder with the full MNIST set.
    solvers : tuple of str
        Those that cells ask for.
    gradients : bool
        Whether any cell needs gradients.
    threads : int
        The most that a cell asks for.
    cores : tuple of int
        The cores that are the worker's own; empty where it may run on all.
    """

    networks: dict[str, str]
    data_dir: Path | None
    solvers: tuple[str, ...]
    gradients: bool
    threads: int
    cores: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """What a worker says of itself: its process, and when on `time.monotonic()` it began a cell; None before that."""

    pid: int
    at_s: float | None = None


@dataclass(slots=True)
class _Worker:
    """What a worker process knows of itself."""

    setup: Setup
    words: Connection
    networks: dict[str, LayerList]
    libraries: Any  # threadpoolctl's controller of BLAS and OpenMP
    threads: int

    def allow(self, threads: int) -> None:
        """As many threads for torch and BLAS as for the solver."""
        import torch

        torch.set_num_threads(threads)
        if threads != self.threads:
            self.libraries.limit(limits=threads)
            self.threads = threads


_worker: _Worker | None = None


def start(setup: Setup, words: Connection) -> None:
    """Make this process a worker: on its cores, with its threads, and warm, before any clock starts."""
    global _worker
    words.send(Word(os.getpid()))
    import threadpoolctl
    import torch

    if sys.stdout is not None:
        os.dup2(2, 1)  # what a solver prints is no result of the run
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if setup.cores:
        import psutil

        psutil.Process().cpu_affinity(list(setup.cores))
    torch.set_num_threads(setup.threads)
    _warm(setup)
    libraries = threadpoolctl.ThreadpoolController()
    libraries.limit(limits=setup.threads)
    _worker = _Worker(setup, words, {}, libraries, setup.threads)


def _end_with_parent() -> None:
    """A run that is killed leaves no worker behind: it would slow down the run that takes its place."""
    import psutil

    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


def _warm(setup: Setup) -> None:
    """Pay once what the first cell would else pay: what torch loads at its first gradient, and the solvers."""
    from solvers.registry import get

    for name in setup.solvers:
        get(name).version()
    if setup.gradients:
        from bench.methods.witness import load_torch

        load_torch()


def measure(planned: Planned) -> tuple[Row, dict[str, Any]]:
    """Measure one cell. An exception becomes a row with its text; nothing is swallowed, nothing else is lost."""
    from bench.measures import MEASURES

    assert _worker is not None, "start() comes first"
    _worker.words.send(Word(os.getpid(), time.monotonic()))
    _worker.allow(planned.cell.threads)
    base = row_base(planned)
    try:
        result, arrays = MEASURES[planned.cell.kind](planned.cell, _network(planned), _worker.setup.data_dir)
    except Exception as error:  # the one place where an exception becomes a result
        return error_row(base, f"{type(error).__name__}: {error}"), {}
    return Row(**{**base, **result}), arrays


def row_base(planned: Planned) -> dict[str, Any]:
    """The fields of a cell's row that are known before it is measured."""
    return {
        **{key: value for key, value in asdict(planned.cell).items() if key != "keep_images"},
        "cell": planned.digest,
        "network_digest": planned.network_digest,
        "dataset": "mnist_test",
        "started": now(),
        "versions": versions(),
    }


def error_row(base: dict[str, Any], error: str) -> Row:
    """The row of a cell that failed."""
    return Row(**base, status=["error"], error=error)


def _network(planned: Planned) -> LayerList:
    """The cell's network, loaded once and the same that the plan was made with."""
    from networks.zoo import load_network

    assert _worker is not None
    digest = planned.network_digest
    if digest not in _worker.networks:
        name = _worker.setup.networks[digest]
        found = load_network(name)
        if found.digest != digest:
            raise InputError(f"network {name} has changed since the run began; run it again for the new one")
        _worker.networks[digest] = found
    return _worker.networks[digest]
