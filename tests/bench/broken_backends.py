"""Back-ends that break, each in its own way, on every model with integers. `install` registers them for workers."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

from solvers.backend import SolverOptions
from solvers.backends.highs_ import Highs, HighsSession
from solvers.linear_model import LinearModel
from tests.plugins import install_plugin

BLOCK = 20_000_000
LEAK = f"import time\nkept = []\nwhile True:\n kept.append(b'x' * {BLOCK})\n time.sleep(0.01)"
LINGER = "import time; time.sleep(1000)  # the child of a back-end that is gone"
SLOW_S = 0.25


class Broken(Highs):
    """HiGHS, but for what it does first with a MILP."""

    name: ClassVar[str] = "broken"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        if model.is_mip:
            self.break_down(options or SolverOptions())
        return super().load(model, options)

    def break_down(self, options: SolverOptions) -> None:
        raise NotImplementedError


class Failing(Broken):
    name: ClassVar[str] = "failing"

    def break_down(self, options: SolverOptions) -> None:
        raise ArithmeticError("no integers today")


class Quitting(Broken):
    name: ClassVar[str] = "quitting"

    def break_down(self, options: SolverOptions) -> None:
        sys.exit("enough")


class Hanging(Broken):
    name: ClassVar[str] = "hanging"

    def break_down(self, options: SolverOptions) -> None:
        time.sleep(1000)


class HoldingTheGil(Broken):
    name: ClassVar[str] = "holding_the_gil"

    def break_down(self, options: SolverOptions) -> None:
        ctypes.PyDLL(None).sleep(1000)  # as no other way of calling C, this keeps the interpreter's lock


class Crashing(Broken):
    name: ClassVar[str] = "crashing"

    def break_down(self, options: SolverOptions) -> None:
        ctypes.string_at(0)


class Exiting(Broken):
    """Leaves a child behind, too."""

    name: ClassVar[str] = "exiting"

    def break_down(self, options: SolverOptions) -> None:
        subprocess.Popen([sys.executable, "-ISc", LINGER])
        time.sleep(0.3)
        os._exit(0)


class Leaking(Broken):
    name: ClassVar[str] = "leaking"

    def break_down(self, options: SolverOptions) -> None:
        exec(LEAK, {})


class LeakingInAChild(Broken):
    name: ClassVar[str] = "leaking_in_a_child"

    def break_down(self, options: SolverOptions) -> None:
        subprocess.run([sys.executable, "-ISc", LEAK], check=True)


class Slow(Broken):
    """Not broken: it takes its time."""

    name: ClassVar[str] = "slow"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        time.sleep(SLOW_S)
        return super().load(model, options)

    def break_down(self, options: SolverOptions) -> None:
        pass


class Telling(Broken):
    """Raises what it finds in its worker, as the text of an error is kept."""

    name: ClassVar[str] = "telling"

    def break_down(self, options: SolverOptions) -> None:
        import threadpoolctl
        import torch

        libraries = {library["num_threads"] for library in threadpoolctl.threadpool_info()}
        found = {
            "pid": os.getpid(),
            "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "torch": torch.get_num_threads(),
            "libraries": sorted(libraries),
            "solver": options.threads,
            "variable": os.environ["OMP_NUM_THREADS"],
        }
        raise RuntimeError(json.dumps(found))


BACKENDS = (*(Failing, Quitting, Hanging, HoldingTheGil, Crashing, Exiting, Leaking, LeakingInAChild, Slow, Telling),)


def install(folder: Path) -> Path:
    """A folder that, on `sys.path`, registers them all."""
    return install_plugin(folder, **{backend.name: f"{__name__}:{backend.__name__}" for backend in BACKENDS})
