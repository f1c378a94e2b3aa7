"""Back-ends that break, each in one way; named by entry points, as workers know no others."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from typing import ClassVar

from solvers.backend import Limits, SolverOptions
from solvers.backends.highs_ import Highs, HighsSession
from solvers.linear_model import LinearModel
from solvers.result import SolveResult

HOARD = "import time\nkept = []\nwhile True:\n kept.append(b'x' * 50_000_000)\n time.sleep(0.01)"


class Failing(Highs):
    """Raises on every model but the LP's."""

    name: ClassVar[str] = "failing"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        if model.is_mip:
            raise ArithmeticError("no integers today")
        return super().load(model, options)


class Hanging(Highs):
    """Never answers, and looks at no clock."""

    name: ClassVar[str] = "hanging"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        return _HangingSession(model, options or SolverOptions(), self)


class _HangingSession(HighsSession):
    def _solve(self, limits: Limits) -> SolveResult:
        while True:
            time.sleep(1.0)


class Holding(Highs):
    """Never answers and holds the interpreter's lock, so that no signal handler of Python's runs."""

    name: ClassVar[str] = "holding"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        return _HoldingSession(model, options or SolverOptions(), self)


class _HoldingSession(HighsSession):
    def _solve(self, limits: Limits) -> SolveResult:
        ctypes.PyDLL(None).sleep(3600)
        raise AssertionError("it slept for an hour")


class Crashing(Highs):
    """Takes the interpreter down."""

    name: ClassVar[str] = "crashing"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        return _CrashingSession(model, options or SolverOptions(), self)


class _CrashingSession(HighsSession):
    def _solve(self, limits: Limits) -> SolveResult:
        ctypes.string_at(0)
        raise AssertionError("it read from nowhere")


class Leaving(Highs):
    """Ends the process in the middle of a solve."""

    name: ClassVar[str] = "leaving"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        os._exit(3)


class Leaking(Highs):
    """Takes more and more memory."""

    name: ClassVar[str] = "leaking"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        return _LeakingSession(model, options or SolverOptions(), self)


class _LeakingSession(HighsSession):
    def _solve(self, limits: Limits) -> SolveResult:
        exec(HOARD, {})
        raise AssertionError("it took all memory there is")


class LeakingChild(Highs):
    """Has a child that takes more and more memory."""

    name: ClassVar[str] = "leaking_child"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        return _LeakingChildSession(model, options or SolverOptions(), self)


class _LeakingChildSession(HighsSession):
    def _solve(self, limits: Limits) -> SolveResult:
        subprocess.run([sys.executable, "-c", HOARD], check=False)
        raise AssertionError("its child ended")
