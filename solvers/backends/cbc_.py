"""CBC: the binary that PuLP brings, run on a model file.

What was measured with CBC 2.10.3 and shapes this file:

- The model goes over in COIN-OR's `FREEIEEE` numbers: CBC's reader changes the last bit of a fifth of all decimals.
- The solution comes back in `saveSolution`'s doubles: the printed one has 8 digits.
- When the time runs out in preprocessing, CBC says "Integer infeasible" of a feasible model. Infeasibility found after
  the time limit is therefore answered as TIME_LIMIT.
- CBC looks at its clock only after the root relaxation is solved; then its process is killed.
- With a cutoff, CBC's preprocessing has called models infeasible whose optimum was 0.1 below it; without preprocessing
  it has not.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path

import numpy as np

from networks.layers import Array, read_only
from solvers.backend import Backend, Capabilities, Limits, Session, SolverOptions
from solvers.backends.cbc_process import STATUS_FILE, Run, binary, cannot_run, run_cbc
from solvers.backends.dropped import infeasible_is_in_doubt
from solvers.backends.trace import Trace
from solvers.files import column_entries, ieee, write_mps
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

MODEL_FILE, START_FILE, SOLUTION_FILE = "model.mps", "start.txt", "solution.bin"
INCREMENT = 1e-9  # CBC's 1e-5 cuts off better solutions
SMALLEST_TOLERANCE = 1e-12  # CBC ignores a tolerance of 0
SMALLEST_COEFFICIENT = 1e-14  # CBC's reader drops coefficients up to this size
NO_BOUND = 1e49  # CBC writes 1e50 for no bound
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
# The log's "Result - " line, where it knows better: the solution file says "iterations" for an LP's time or Ctrl-C.
RESULTS = {"Stopped on time limit": Status.TIME_LIMIT, "User ctrl-cuser ctrl-c": Status.INTERRUPTED}
# What the log says of a search while it goes on: the root's relaxation, a solution, or a line now and then.
PROGRESS = re.compile(
    r"^(?:Continuous objective value is (?P<root>\S+) - (?P<seconds>[\d.]+) seconds"
    r"|Cbc\d{4}I Integer solution of (?P<found>\S+) found.*\((?P<a>[\d.]+) seconds\)"
    r"|Cbc0010I After .* (?P<best>\S+) best solution, best possible (?P<bound>\S+) \((?P<b>[\d.]+) seconds\))",
    re.MULTILINE,
)
WITHOUT_SOLUTION = " (no integer solution - continuous used)"


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
    capabilities = Capabilities(warm_objective=False, stop=True, start=True, node_limit=True)

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
            raise cannot_run(path, error) from error
        found = re.search(r"Version: (\S+)", answer.stdout)
        return found.group(1) if found else "unknown"

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> CbcSession:
        """Write the model's file."""
        return CbcSession(model, options or SolverOptions(), self)


class CbcSession(Session):
    """A model file in a temporary directory, which lives as long as the session."""

    def _load(self) -> None:
        folder = tempfile.mkdtemp(prefix="relubench-cbc-")
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._folder = Path(folder)
        # The text of the matrix, 27 bytes a non-zero: writing it again takes a seventh of making it again.
        self._columns = list(column_entries(self.model, ieee))
        self._write()

    def _change_objective(self, c: Array, offset: float) -> None:
        self._write()

    def _write(self) -> None:
        if not self.model.crossed:  # MPS has no form for it
            write_mps(self.model, self._folder / MODEL_FILE, ieee, self._columns)

    def _solve(self, limits: Limits) -> SolveResult:
        if self.model.crossed:
            return SolveResult(Status.INFEASIBLE, dual_bound=math.inf, message=self.model.crossed)
        for name in (STATUS_FILE, SOLUTION_FILE):
            (self._folder / name).unlink(missing_ok=True)
        start = self.start if self.model.is_mip else None
        if start is not None:
            write_start(start, self._folder / START_FILE)
        run = run_cbc(self._folder, arguments(self.options, limits, start=start is not None), limits)
        if self.options.log is not None:
            with self.options.log.open("a", encoding="utf-8") as log:
                log.write(run.log)
        return read_result(self.model, self.options, limits, run, self._folder)

    def close(self) -> None:
        """Remove the files."""
        self._remove()


def solver_options(options: SolverOptions, limits: Limits) -> dict[str, float | str]:
    """The options in CBC's own words."""
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
    if options.node_limit is not None:
        values["maxNodes"] = options.node_limit
    if math.isfinite(limits.time_limit_s):
        values["seconds"] = limits.time_limit_s
    if math.isfinite(limits.stop_above):
        # So much above that what CBC prunes is at least `stop_above`. See the module's docstring on preprocessing.
        values |= {"cutoff": limits.stop_above + _gap(options, limits.stop_above), "preprocess": "off"}
    if options.threads > 1:  # 1 starts a second thread that does all the work
        values["threads"] = options.threads
    return values


def arguments(options: SolverOptions, limits: Limits, *, start: bool = False) -> list[str]:
    """The command line; with a start it comes from `START_FILE`."""
    values = solver_options(options, limits) | ({"mipstart": START_FILE} if start else {})
    settings = [word for name, value in values.items() for word in (f"-{name}", str(value))]
    return [MODEL_FILE, *settings, "-solve", "-solution", STATUS_FILE, "-saveSolution", SOLUTION_FILE]


def read_result(model: LinearModel, options: SolverOptions, limits: Limits, run: Run, folder: Path) -> SolveResult:
    """The answer, without its times."""
    words = run.header.partition(" - objective value")[0]
    status, message = _status(model, options, limits.time_limit_s, run, words)
    has_solution = status is Status.OPTIMAL or (
        model.is_mip and words.startswith("Stopped") and WITHOUT_SOLUTION not in words
    )
    x, row_duals = _read_solution(model, folder / SOLUTION_FILE) if has_solution else (None, None)
    objective = math.nan if x is None else model.objective(x)
    iterations = _last(r"- (\d+) iterations time", run.log) or _last(r"Total iterations: +(\d+)", run.log)
    nodes = _last(r"Enumerated nodes: +(\d+)", run.log) or _last(r"After (\d+) nodes", run.log)
    return SolveResult(
        status=_with_stops(status, limits, run),
        objective=objective,
        dual_bound=_dual_bound(model, options, limits, status, objective, run.log),
        x=x,
        row_duals=row_duals if status is Status.OPTIMAL and not model.is_mip else None,
        nodes=int(nodes) if nodes else None if model.is_mip else 0,
        simplex_iterations=int(iterations) if iterations else None,
        trace=_trace(run.log) if model.is_mip else None,
        raw_status=words,
        message=message,
    )


def _trace(log: str) -> Array:
    """What the log says of the search, with its times in hundredths of a second."""
    trace, incumbent, bound = Trace(NO_BOUND), math.inf, -math.inf
    for line in PROGRESS.finditer(log):
        incumbent = float(line["found"] or line["best"] or incumbent)
        bound = float(line["root"] or line["bound"] or bound)
        trace.add(float(line["seconds"] or line["a"] or line["b"]), incumbent, bound)
    return trace.array()


def write_start(x: Array, path: Path) -> None:
    """Write a solution for `-mipstart`: a line that CBC skips, then each column's number, name, value and a zero."""
    lines = (f"{j} x{j} {value!r} 0\n" for j, value in enumerate(x.tolist()))
    path.write_text("Stopped on time - objective value 0\n" + "".join(lines), encoding="ascii")


def _status(
    model: LinearModel, options: SolverOptions, time_limit_s: float, run: Run, words: str
) -> tuple[Status, str]:
    if run.killed:
        return Status.TIME_LIMIT, f"CBC was killed, {run.elapsed_s - time_limit_s:.1f} s after its time limit"
    if run.code or not words:
        return Status.ERROR, f"CBC ended with code {run.code}; the end of its log: {run.log[-300:].strip()!r}"
    result = _last(r"^Result - (.*)", run.log)
    status = RESULTS.get(result, STATUSES.get(words.removesuffix(WITHOUT_SOLUTION), Status.UNKNOWN))
    if status is Status.INFEASIBLE and run.elapsed_s >= time_limit_s:
        return Status.TIME_LIMIT, f"CBC said {words!r}, which it also says when its time runs out in preprocessing"
    doubt = infeasible_is_in_doubt(model, SMALLEST_COEFFICIENT, options.feasibility_tolerance)
    if status is Status.INFEASIBLE and doubt:
        return Status.UNKNOWN, doubt
    if status is Status.UNBOUNDED and model.is_mip:
        return Status.INFEASIBLE_OR_UNBOUNDED, "the relaxation is unbounded; CBC did not look for an integer solution"
    return status, f"CBC said {words!r}" if status in (Status.ERROR, Status.UNKNOWN) else ""


def _with_stops(status: Status, limits: Limits, run: Run) -> Status:
    """TARGET_REACHED where CBC was interrupted at a good solution, or found none below its cutoff."""
    cut_off = status is Status.INFEASIBLE and limits.stop_above < math.inf
    return Status.TARGET_REACHED if cut_off or (status is Status.INTERRUPTED and run.stopped) else status


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


def _dual_bound(
    model: LinearModel, options: SolverOptions, limits: Limits, status: Status, objective: float, log: str
) -> float:
    if status is Status.INFEASIBLE:
        return limits.stop_above  # infinite without a cutoff
    if status is Status.OPTIMAL:
        return objective - _gap(options, objective) if model.is_mip else objective
    if not model.is_mip or status not in (Status.TIME_LIMIT, Status.OTHER_LIMIT, Status.INTERRUPTED):
        return -math.inf
    best = _last(r"^Cbc00(?:10|05)I .*best possible (\S+?)\)?[ ,]", log)
    bound, digits = (best, 8) if best else (_last(r"^Continuous objective value is (\S+)", log), 6)
    if not bound or abs(float(bound)) > NO_BOUND:
        return -math.inf
    safe = float(bound) - 0.5 * 10.0 ** (1 - digits) * abs(float(bound))
    safe = min(safe, limits.stop_above)  # CBC takes no account of what its cutoff pruned
    return safe if math.isnan(objective) else min(safe, objective)


def _gap(options: SolverOptions, objective: float) -> float:
    """How far below `objective` solutions may be that CBC prunes all the same."""
    return options.mip_gap * max(1.0, abs(objective)) + INCREMENT


def _last(pattern: str, text: str) -> str:
    found: list[str] = re.findall(pattern, text, flags=re.MULTILINE)
    return found[-1] if found else ""
