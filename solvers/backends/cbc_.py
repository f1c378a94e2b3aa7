"""CBC: the binary that PuLP brings, run on a model file.

What was measured with CBC 2.10.3 and shapes this file:

- The model goes over in COIN-OR's `FREEIEEE` numbers: CBC's reader changes the last bit of a fifth of all decimals.
- The solution comes back in `saveSolution`'s doubles: the printed one has 8 digits.
- When the time runs out in preprocessing, CBC says "Integer infeasible" of a feasible model. Infeasibility found after
  the time limit is therefore answered as TIME_LIMIT.
- CBC looks at its clock only after the root relaxation is solved; then its process is killed.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from networks.errors import SolverError
from networks.layers import Array, read_only
from solvers.backend import Backend, Capabilities, Session, SolverOptions
from solvers.files import column_entries, ieee, write_mps
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

MODEL_FILE, STATUS_FILE, SOLUTION_FILE, LOG_FILE = "model.mps", "status.txt", "solution.bin", "log.txt"
GRACE_S = 2.0  # what CBC may take beyond its time limit, or a tenth of the limit, before it is killed
INCREMENT = 1e-9  # CBC's 1e-5 cuts off better solutions
SMALLEST_TOLERANCE = 1e-12  # CBC ignores a tolerance of 0
SMALLEST_COEFFICIENT = 1e-14  # CBC's reader drops coefficients up to this size
NO_BOUND = 1e49  # CBC writes 1e50 for no bound
# Run with `python -c`, the parent's process number and a command; 1 is PR_SET_PDEATHSIG, 9 SIGKILL.
DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

# The first words of the solution file, up to " - objective value".
STATUSES = {
    "Optimal": Status.OPTIMAL,
    "Optimal (within gap tolerance)": Status.OPTIMAL,
    "Infeasible": Status.INFEASIBLE,
    "Integer infeasible": Status.INFEASIBLE,
    "Unbounded": Status.UNBOUNDED,
    "Stopped on time": Status.TIME_LIMIT,
    "Stopped on iterations": Status.OTHER_LIMIT,
    "Stopped on difficulties": Status.ERROR,
    "Stopped on ctrl-c": Status.INTERRUPTED,
}
# The log's "Result - " line, where it knows better: of an LP the solution file says "iterations" for time.
RESULTS = {"Stopped on time limit": Status.TIME_LIMIT}
WITHOUT_SOLUTION = " (no integer solution - continuous used)"


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the binary left behind."""

    code: int
    elapsed_s: float
    killed: bool  # by us, at the end of its time
    header: str  # the solution file's first line, empty without one
    log: str


class Cbc(Backend):
    """CBC as PuLP's wheel brings it. Free (EPL 2.0).

    Dual bounds: of an LP solved to optimality its objective; of a MILP solved to optimality the objective less the gap
    asked for, as CBC prunes what is within it; of a MILP stopped early the log's "best possible", less half a unit of
    its eighth digit (the "Lower bound" that CBC reports has three digits and may be rounded up).
    """

    name = "cbc"
    package = "pulp"
    install = "pip install 'pulp<4'"
    licence = "EPL 2.0; no limit"
    capabilities = Capabilities(warm_objective=False)

    def version(self) -> str:
        """CBC's own version.

        Raises
        ------
        SolverError
            The binary cannot be started.
        """
        path = binary()
        try:
            answer = subprocess.run([path, "-quit"], capture_output=True, text=True, check=False)
        except OSError as error:
            raise _cannot_run(path, error) from error
        found = re.search(r"Version: (\S+)", answer.stdout)
        return found.group(1) if found else "unknown"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> CbcSession:
        """Write the model's file."""
        return CbcSession(model, options or SolverOptions())


class CbcSession(Session):
    """A model file in a temporary directory, which lives as long as the session."""

    def _load(self) -> None:
        folder = tempfile.mkdtemp(prefix="relubench-cbc-")
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._folder = Path(folder)
        model = self.model
        self._crossed = bool((model.row_lower > model.row_upper).any() or (model.col_lower > model.col_upper).any())
        # The text of the matrix, 27 bytes a non-zero: writing it again takes a seventh of making it again.
        self._columns = list(column_entries(model, ieee))
        self._write()

    def _change_objective(self, c: Array, offset: float) -> None:
        self._write()

    def _write(self) -> None:
        if not self._crossed:
            write_mps(self.model, self._folder / MODEL_FILE, ieee, self._columns)

    def _solve(self, time_limit_s: float) -> SolveResult:
        if self._crossed:  # MPS has no form for it
            message = "a lower bound of the model is above its upper bound"
            return SolveResult(Status.INFEASIBLE, dual_bound=math.inf, message=message)
        for name in (STATUS_FILE, SOLUTION_FILE):
            (self._folder / name).unlink(missing_ok=True)
        run = run_cbc(self._folder, arguments(self.options, time_limit_s), time_limit_s)
        return read_result(self.model, self.options, time_limit_s, run, self._folder)

    def close(self) -> None:
        """Remove the files."""
        self._remove()


def binary() -> str:
    """The path of the binary. Imports PuLP, which makes it executable."""
    from pulp.apis.coin_api import PULP_CBC_CMD

    return str(PULP_CBC_CMD.pulp_cbc_path)


def arguments(options: SolverOptions, time_limit_s: float) -> list[str]:
    """The command line after the model's name."""
    seed = options.seed % (2**31 - 1) + 1  # 0 stands for the time of day
    values: dict[str, float | str] = {
        "increment": INCREMENT,
        "allowableGap": options.mip_gap,
        "ratioGap": options.mip_gap,
        "primalTolerance": max(options.feasibility_tolerance, SMALLEST_TOLERANCE),
        "dualTolerance": max(options.feasibility_tolerance, SMALLEST_TOLERANCE),
        "integerTolerance": max(options.integrality_tolerance, SMALLEST_TOLERANCE),
        "randomSeed": seed,
        "randomCbcSeed": seed,
        "timeMode": "elapsed",
    }
    if math.isfinite(time_limit_s):
        values["seconds"] = time_limit_s
    if options.threads > 1:  # 1 starts a second thread that does all the work
        values["threads"] = options.threads
    settings = [word for name, value in values.items() for word in (f"-{name}", str(value))]
    return [MODEL_FILE, *settings, "-solve", "-solution", STATUS_FILE, "-saveSolution", SOLUTION_FILE]


def run_cbc(folder: Path, words: list[str], time_limit_s: float) -> Run:
    """Run the binary in `folder`. It dies with this process, with an exception here, or after its time.

    Raises
    ------
    SolverError
        The binary cannot be started.
    """
    path, start = binary(), time.perf_counter()
    with (folder / LOG_FILE).open("wb") as log:
        try:
            process = subprocess.Popen(
                _dying_with_parent([path, *words]),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C comes to us alone
            )
        except OSError as error:
            raise _cannot_run(path, error) from error
        killed = _wait(process, time_limit_s + max(GRACE_S, 0.1 * time_limit_s))
    return Run(
        code=process.returncode,
        elapsed_s=time.perf_counter() - start,
        killed=killed,
        header=_first_line(folder / STATUS_FILE),
        log=(folder / LOG_FILE).read_text(errors="replace"),
    )


def _cannot_run(path: str, error: OSError) -> SolverError:
    return SolverError(f"CBC cannot be run: {path}: {error.strerror}; expected the binary that PuLP brings")


def _dying_with_parent(command: list[str]) -> list[str]:
    """The command, under a program that first asks Linux to kill it when its parent dies.

    Not `Popen(preexec_fn=...)`: that forks, which takes 40 ms in a process with torch and may deadlock among threads.
    """
    if sys.platform != "linux":
        return command
    setpriv = shutil.which("setpriv")  # of util-linux; 2 ms, against 20 ms for Python
    if setpriv:
        return [setpriv, "--pdeathsig", "KILL", "--", *command]
    return [sys.executable, "-ISc", DIE_WITH_PARENT, str(os.getpid()), *command]


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end, or end it after `seconds`; whether that was needed.

    A timer, as `Popen.wait(timeout)` polls, up to 50 ms late.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), end)
    timer.daemon = True
    timer.start()
    try:
        process.wait()
    finally:
        timer.cancel()
        process.kill()
        process.wait()
    return late.is_set()


def _first_line(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open(errors="replace") as file:
        return file.readline().strip()


def read_result(model: LinearModel, options: SolverOptions, time_limit_s: float, run: Run, folder: Path) -> SolveResult:
    """The answer, without its times."""
    words = run.header.partition(" - objective value")[0]
    status, message = _status(model, time_limit_s, run, words)
    has_solution = status is Status.OPTIMAL or (
        model.is_mip and words.startswith("Stopped") and WITHOUT_SOLUTION not in words
    )
    x, row_duals = _read_solution(model, folder / SOLUTION_FILE) if has_solution else (None, None)
    objective = math.nan if x is None else model.objective(x)
    iterations = _last(r"- (\d+) iterations time", run.log) or _last(r"Total iterations: +(\d+)", run.log)
    nodes = _last(r"Enumerated nodes: +(\d+)", run.log) or _last(r"After (\d+) nodes", run.log)
    return SolveResult(
        status=status,
        objective=objective,
        dual_bound=_dual_bound(model, options, status, objective, run.log),
        x=x,
        row_duals=row_duals if status is Status.OPTIMAL and not model.is_mip else None,
        nodes=int(nodes) if nodes else None if model.is_mip else 0,
        simplex_iterations=int(iterations) if iterations else None,
        raw_status=words,
        message=message,
    )


def _status(model: LinearModel, time_limit_s: float, run: Run, words: str) -> tuple[Status, str]:
    if run.killed:
        return Status.TIME_LIMIT, f"CBC was killed, {run.elapsed_s - time_limit_s:.1f} s after its time limit"
    if run.code or not words:
        return Status.ERROR, f"CBC ended with code {run.code}; the end of its log: {run.log[-300:].strip()!r}"
    result = _last(r"^Result - (.*)", run.log)
    status = RESULTS.get(result, STATUSES.get(words.removesuffix(WITHOUT_SOLUTION), Status.UNKNOWN))
    if status is Status.INFEASIBLE and run.elapsed_s >= time_limit_s:
        return Status.TIME_LIMIT, f"CBC said {words!r}, which it also says when its time runs out in preprocessing"
    if status is Status.INFEASIBLE and (np.abs(model.A.data) <= SMALLEST_COEFFICIENT).any():
        return Status.UNKNOWN, f"CBC said {words!r}, but of the model without its coefficients up to 1e-14"
    if status is Status.UNBOUNDED and model.is_mip:
        return Status.INFEASIBLE_OR_UNBOUNDED, "the relaxation is unbounded; CBC did not look for an integer solution"
    return status, f"CBC said {words!r}" if status in (Status.ERROR, Status.UNKNOWN) else ""


def _read_solution(model: LinearModel, path: Path) -> tuple[Array, Array]:
    """`x` and the row duals from CBC's binary file.

    Two 32-bit counts of rows and columns, then doubles: the objective, the rows' activities and duals, the columns'
    values and reduced costs. Free rows are not in it.
    """
    data = path.read_bytes()
    rows, columns = np.frombuffer(data, np.int32, count=2).tolist()
    values = np.frombuffer(data, np.float64, offset=8)
    bounded = np.isfinite(model.row_lower) | np.isfinite(model.row_upper)
    duals = np.zeros(model.row_count)
    duals[bounded] = values[1 + rows : 1 + 2 * rows]
    return read_only(values[1 + 2 * rows : 1 + 2 * rows + columns]), read_only(duals)


def _dual_bound(model: LinearModel, options: SolverOptions, status: Status, objective: float, log: str) -> float:
    if status is Status.INFEASIBLE:
        return math.inf
    if status is Status.OPTIMAL:
        gap = options.mip_gap * max(1.0, abs(objective)) + INCREMENT
        return objective - gap if model.is_mip else objective
    if not model.is_mip or status not in (Status.TIME_LIMIT, Status.OTHER_LIMIT, Status.INTERRUPTED):
        return -math.inf
    best = _last(r"^Cbc00(?:10|05)I .*best possible (\S+?)\)?[ ,]", log)
    bound, digits = (best, 8) if best else (_last(r"^Continuous objective value is (\S+)", log), 6)
    if not bound or abs(float(bound)) > NO_BOUND:
        return -math.inf
    safe = float(bound) - 0.5 * 10.0 ** (1 - digits) * abs(float(bound))
    return safe if math.isnan(objective) else min(safe, objective)


def _last(pattern: str, text: str) -> str:
    found: list[str] = re.findall(pattern, text, flags=re.MULTILINE)
    return found[-1] if found else ""
