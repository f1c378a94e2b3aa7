"""HiGHS through highspy."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from networks.errors import SolverError
from networks.layers import Array, read_only
from solvers.backend import Backend, Capabilities, Limits, SolverOptions
from solvers.backends.library import LibrarySession
from solvers.backends.trace import Trace
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

# By the name of a `HighsModelStatus`. kModelEmpty is left out on purpose: HiGHS says it also of a model it refused.
STATUS = {
    "kOptimal": Status.OPTIMAL,
    "kInfeasible": Status.INFEASIBLE,
    "kUnbounded": Status.UNBOUNDED,
    "kUnboundedOrInfeasible": Status.INFEASIBLE_OR_UNBOUNDED,
    "kTimeLimit": Status.TIME_LIMIT,
    "kIterationLimit": Status.OTHER_LIMIT,
    "kSolutionLimit": Status.OTHER_LIMIT,
    "kMemoryLimit": Status.OTHER_LIMIT,
    "kObjectiveBound": Status.TARGET_REACHED,
    "kObjectiveTarget": Status.TARGET_REACHED,
    "kInterrupt": Status.INTERRUPTED,
    "kHighsInterrupt": Status.INTERRUPTED,
    "kLoadError": Status.ERROR,
    "kModelError": Status.ERROR,
    "kPresolveError": Status.ERROR,
    "kSolveError": Status.ERROR,
    "kPostsolveError": Status.ERROR,
}
# A MIP search that ended so has a bound to show.
BOUNDED = {Status.OPTIMAL, Status.TIME_LIMIT, Status.OTHER_LIMIT, Status.TARGET_REACHED, Status.INTERRUPTED}
SMALLEST_TOLERANCE = 1e-10  # HiGHS accepts none below
SMALLEST_COEFFICIENT = 1e-12  # HiGHS drops smaller ones, and accepts no smaller threshold; its default is 1e-9
LARGEST_COEFFICIENT = 1e15  # HiGHS refuses larger ones
NO_LIMIT = 2**31 - 1  # HiGHS's own default for counts
POLL_S = 0.1  # how often a waiting main thread looks for Ctrl-C where a signal does not wake it


def solver_options(options: SolverOptions) -> dict[str, Any]:
    """The options in HiGHS's own words, the time limit excepted."""
    feasibility = max(options.feasibility_tolerance, SMALLEST_TOLERANCE)
    return {
        "output_flag": options.log is not None,
        "log_to_console": False,
        "threads": options.threads,
        "parallel": "off" if options.threads == 1 else "choose",  # since 1.16 a MIP's search is parallel by default
        "random_seed": options.seed,
        "mip_max_nodes": NO_LIMIT if options.node_limit is None else options.node_limit,
        "mip_rel_gap": options.mip_gap,
        "mip_abs_gap": options.mip_gap,
        "primal_feasibility_tolerance": feasibility,
        "dual_feasibility_tolerance": feasibility,
        "mip_feasibility_tolerance": max(options.integrality_tolerance, SMALLEST_TOLERANCE),
        "small_matrix_value": SMALLEST_COEFFICIENT,
    }


class HighsSession(LibrarySession):
    """A `highspy.Highs` that holds the model."""

    dropped: ClassVar[float] = SMALLEST_COEFFICIENT

    def _load(self) -> None:
        import highspy

        self._highs = _quiet_highs()
        self._log = _open_log(self.options.log, self._highs)
        for name, value in solver_options(self.options).items():
            self._set_option(name, value)
        self._accepted = self._pass_model() != highspy.HighsStatus.kError

    def _pass_model(self) -> Any:
        import highspy

        model = self.model
        return self._highs.passModel(
            model.column_count,
            model.row_count,
            model.A.nnz,
            int(highspy.MatrixFormat.kRowwise),
            int(highspy.ObjSense.kMinimize),
            model.offset,
            model.c,
            model.col_lower,
            model.col_upper,
            model.row_lower,
            model.row_upper,
            model.A.indptr.astype(np.int32, copy=False),
            model.A.indices.astype(np.int32, copy=False),
            model.A.data,
            model.integer.astype(np.int32),
        )

    def _set_option(self, name: str, value: Any) -> None:
        import highspy

        # An option that this build lacks, or a value it refuses, would otherwise leave the old value in force.
        if self._highs.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise SolverError(f"HiGHS {self._highs.version()} refused the option {name} = {value!r}")

    def _change_objective(self, c: Array, offset: float) -> None:
        self._highs.changeColsCost(c.size, np.arange(c.size, dtype=np.int32), c)
        self._highs.changeObjectiveOffset(offset)

    def _solve(self, limits: Limits) -> SolveResult:
        if not self._accepted:
            return SolveResult(Status.ERROR, raw_status="kError", message=_refusal(self.model))
        if self.model.is_mip:
            self._prepare_mip(limits)
        else:
            # HiGHS holds an LP's limit against a clock that runs on from one solve to the next; a MIP's starts afresh.
            self._set_option("time_limit", self._highs.getRunTime() + limits.time_limit_s)
        self._trace = Trace()
        with _watching(self._highs, self._trace, limits.stop_above) if self.model.is_mip else nullcontext():
            _run_interruptibly(self._highs, self._highs.run)
        return self._read(limits)

    def _prepare_mip(self, limits: Limits) -> None:
        import highspy

        # The last tree's incumbent and basis would make a result depend on what was solved before it.
        self._highs.clearSolver()
        self._set_option("time_limit", limits.time_limit_s)
        # HiGHS stops strictly below its target.
        self._set_option("objective_target", math.nextafter(limits.stop_below, math.inf))
        if self.start is not None:
            solution = highspy.HighsSolution()
            solution.col_value = self.start.tolist()
            self._highs.setSolution(solution)

    def _read(self, limits: Limits) -> SolveResult:
        raw_status = self._highs.getModelStatus().name
        status = STATUS.get(raw_status, Status.UNKNOWN)
        if status is Status.INTERRUPTED and self._dual_bound(status) >= limits.stop_above:
            status = Status.TARGET_REACHED  # `_watching` did it: after Ctrl-C there is no reading
        return self._answer(status, raw_status)

    def _solution(self, status: Status) -> Array | None:
        import highspy

        feasible = self._highs.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        if not feasible or status in (Status.INFEASIBLE, Status.UNBOUNDED, Status.INFEASIBLE_OR_UNBOUNDED):
            return None
        return read_only(self._highs.getSolution().col_value)

    def _mip_bound(self, status: Status) -> float:
        info = self._highs.getInfo()
        searched = info.mip_node_count >= 0 and status in BOUNDED  # else the field holds a default of zero
        return float(info.mip_dual_bound) if searched else -math.inf

    def _lp_objective(self) -> float:
        return float(self._highs.getInfo().objective_function_value)

    def _lp_duals(self) -> Array:
        return read_only(self._highs.getSolution().row_dual)

    def _lp_ray(self) -> Array | None:
        """HiGHS may solve once more for it, and forgets the model's status where that fails: it comes last."""
        found: list[Any] = []
        _run_interruptibly(self._highs, lambda: found.append(self._highs.getDualRay()))
        _, there, ray = found[0]
        return read_only(ray) if there else None

    def _counts(self) -> dict[str, Any]:
        info = self._highs.getInfo()
        return {
            "nodes": max(0, info.mip_node_count),  # -1 for an LP
            "simplex_iterations": max(0, info.simplex_iteration_count),  # -1 where it never started
        }

    def close(self) -> None:
        """Free the model. A run that a second Ctrl-C left behind frees it at its own end."""
        self._highs = None
        if self._log is not None:
            self._log.close()


class Highs(Backend):
    """The open-source default: LP by the simplex method, MILP by branch and cut."""

    name: ClassVar[str] = "highs"
    package: ClassVar[str] = "highspy"
    install: ClassVar[str] = "pip install highspy"
    licence: ClassVar[str] = "MIT, no limits"
    capabilities = Capabilities(stop=True, start=True, node_limit=True, ray=True)

    def version(self) -> str:
        """The version of the HiGHS library."""
        return str(_quiet_highs().version())

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        """Load a model; a model that HiGHS refuses makes every solve an ERROR."""
        return HighsSession(model, options or SolverOptions(), self)


def _quiet_highs() -> Any:
    """A `highspy.Highs` that prints nothing; since 1.16 its constructor prints a banner when it enables callbacks."""
    import highspy

    class Quiet(highspy.Highs):  # type: ignore[misc]  # highspy has no types
        def enableCallbacks(self) -> None:  # noqa: N802 (highspy's name)
            self.setOptionValue("log_to_console", False)
            super().enableCallbacks()

    return Quiet()


def _open_log(path: Path | None, highs: Any) -> IO[bytes] | None:
    """The file to which this HiGHS appends its log. Its own option `log_file` would begin the file anew."""
    if path is None:
        return None
    log = path.open("ab", buffering=0)  # a process that is killed leaves what it said

    def write(event: Any) -> None:
        with suppress(OSError):  # an exception on its way through HiGHS ends the process
            log.write(event.message.encode())

    highs.cbLogging.subscribe(write)
    return log


@contextmanager
def _watching(highs: Any, trace: Trace, stop_above: float) -> Iterator[None]:
    """Within, a MILP's search is traced, and interrupted once its dual bound is at least `stop_above`.

    HiGHS's own option `objective_bound` is for LPs: on a MILP it has given a wrong optimum. HiGHS asks its callback
    some hundred times a second, which costs less than a thousandth of its time.
    """

    def look(event: Any) -> None:
        found = event.data_out
        trace.add(found.running_time, found.mip_primal_bound, found.mip_dual_bound)
        event.interrupt(found.mip_dual_bound >= stop_above)  # False too: HiGHS keeps an earlier solve's answer

    highs.cbMipInterrupt.subscribe(look)
    try:
        yield
    finally:
        highs.cbMipInterrupt.unsubscribe(look)


def _run_interruptibly(highs: Any, action: Callable[[], Any]) -> None:
    """Do with HiGHS what takes time so that Ctrl-C stops it, and then raise KeyboardInterrupt here.

    `run` in the main thread would hold a signal back until it ends. highspy's own `HandleKeyboardInterrupt` prints,
    shares one lock between all models of a process, and calls into Python at every simplex iteration; here the
    callbacks are switched on only once there is something to interrupt.
    """
    finished = threading.Event()  # not Thread.join: once interrupted, it takes a running thread for a finished one
    threading.Thread(target=_run, args=(highs, action, finished), daemon=True).start()
    try:
        _wait(finished)
    except KeyboardInterrupt:
        callbacks = (highs.cbSimplexInterrupt, highs.cbMipInterrupt, highs.cbIpmInterrupt)
        for callback in callbacks:
            callback.subscribe(_stop)
        _wait(finished)
        for callback in callbacks:
            callback.unsubscribe(_stop)
        raise


def _run(highs: Any, action: Callable[[], Any], finished: threading.Event) -> None:
    try:
        action()
        highs.resetGlobalScheduler(False)  # this thread's workers; left to its end, Windows may deadlock
    finally:
        finished.set()


def _wait(finished: threading.Event) -> None:
    while not finished.wait(POLL_S):
        pass


def _stop(event: Any) -> None:
    event.interrupt()


def _refusal(model: LinearModel) -> str:
    """Why HiGHS may have refused the model, in words."""
    largest = float(np.max(np.abs(model.A.data), initial=0.0))
    return (
        f"HiGHS refused the model: its largest coefficient is {largest:.3g} and its largest cost "
        f"{float(np.max(np.abs(model.c), initial=0.0)):.3g}; expected below {LARGEST_COEFFICIENT:g} and 1e20"
    )
