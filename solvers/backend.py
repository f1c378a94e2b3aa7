"""The contract of a back-end: load a model once, then solve it for one objective after another."""

from __future__ import annotations

import importlib.util
import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from networks.errors import InputError
from networks.instance import is_finite_number, is_whole_number
from networks.layers import Array, read_only
from solvers.linear_model import LinearModel, ModelError
from solvers.result import BOUNDING, SolveResult, Status
from solvers.safety import Tolerance

# Asked of every solver alike. The margins of two solvers then agree to 1e-5: an integrality tolerance of 1e-9 times a
# big-M of 1,000 leaks 1e-6 into a logit, and solvers' own default gaps of 1e-4 would show in the fourth digit.
FEASIBILITY_TOLERANCE = 1e-7
INTEGRALITY_TOLERANCE = 1e-9
MIP_GAP = 1e-6  # relative, and absolute too: the margins that matter are near zero
MOST_THREADS = 1024  # OpenMP ends the process where it gets no more
# What not every solver has, by its name among the fields of a model and of `Capabilities`.
CONSTRAINTS = {"sos1": "SOS1 constraints", "indicators": "indicator constraints"}


@dataclass(frozen=True, slots=True)
class SolverOptions:
    """What is asked of a solver. Each back-end maps these in one table.

    Attributes
    ----------
    time_limit_s : float or None
        Wall-clock seconds for one solve.
    threads, seed : int
    node_limit : int or None
        After so many nodes of branch and bound a MILP ends with OTHER_LIMIT: the same everywhere, as a clock is not.
    mip_gap : float
        A MILP may stop when objective - bound is at most this, relative to the objective or absolutely.
    feasibility_tolerance, integrality_tolerance : float
    log : Path or None
        A file to which the solver's own log is appended, as far as it has one.

    Raises
    ------
    InputError
        A value out of range.
    """

    time_limit_s: float | None = None
    threads: int = 1
    seed: int = 0
    node_limit: int | None = None
    mip_gap: float = MIP_GAP
    feasibility_tolerance: float = FEASIBILITY_TOLERANCE
    integrality_tolerance: float = INTEGRALITY_TOLERANCE
    log: Path | None = None

    def __post_init__(self) -> None:
        check_time_limit(self.time_limit_s)
        if self.time_limit_s is not None:  # numpy's scalars are no option of HiGHS
            object.__setattr__(self, "time_limit_s", float(self.time_limit_s))
        if not is_whole_number(self.threads) or not 1 <= self.threads <= MOST_THREADS:
            raise InputError(f"threads is {self.threads!r}; expected a whole number from 1 to {MOST_THREADS}")
        if not is_whole_number(self.seed) or not 0 <= self.seed < 2**31:
            raise InputError(f"seed is {self.seed!r}; expected a whole number from 0 to {2**31 - 1}")
        if self.node_limit is not None and not (is_whole_number(self.node_limit) and 1 <= self.node_limit < 2**31):
            raise InputError(
                f"node limit is {self.node_limit!r}; expected a whole number from 1 to {2**31 - 1}, or none"
            )
        for name in ("mip_gap", "feasibility_tolerance", "integrality_tolerance"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a back-end can do; `relubench solvers` prints it and the conformance tests hold it to its word."""

    mip: bool = True
    warm_objective: bool = True  # a session keeps the basis when only the objective changes
    dual_bound: bool = True
    row_duals: bool = True
    nodes: bool = True
    simplex_iterations: bool = True
    work: bool = False
    threads: bool = True
    seed: bool = True
    stop: bool = False  # a MILP's search may end at `stop_below` or `stop_above`
    start: bool = False  # a MILP's search may begin with a given solution
    sos1: bool = False
    indicators: bool = False
    node_limit: bool = False  # a MILP's search ends after so many nodes
    ray: bool = False  # of an infeasible LP, the row duals that prove it


@dataclass(frozen=True, slots=True)
class Limits:
    """Where one solve may end before its optimum: infinite values stand for none.

    Attributes
    ----------
    time_limit_s : float
    stop_below : float
        A MILP may end with TARGET_REACHED once it has a solution whose objective is at most this.
    stop_above : float
        A MILP may end with TARGET_REACHED once its dual bound is at least this.
    """

    time_limit_s: float = math.inf
    stop_below: float = -math.inf
    stop_above: float = math.inf


class Session(ABC):
    """A model loaded into a solver. Use it as a context manager, or `close` it.

    The public methods time themselves; a back-end implements the ones with an underscore.
    """

    def __init__(self, model: LinearModel, options: SolverOptions, backend: Backend) -> None:
        begin = time.perf_counter()
        for name, words in CONSTRAINTS.items():
            if getattr(model, name).size:
                backend.require(name, words)
        if model.is_mip and options.node_limit is not None:
            backend.require("node_limit", "limit on nodes")
        self.model = model
        self.options = options
        self.backend = backend
        self.start: Array | None = None  # what `set_start` was given
        self._load()
        self._build_s = time.perf_counter() - begin

    @property
    def tolerance(self) -> Tolerance:
        """What the solver may be off by under the session's options."""
        return self.backend.tolerance(self.options)

    def set_objective(self, c: ArrayLike, offset: float = 0.0) -> None:
        """Replace the objective by `min c @ x + offset`, with `c` of shape (columns,).

        Raises
        ------
        ModelError
            `c` does not fit the model, or has values that are not finite.
        """
        begin = time.perf_counter()
        vector = self._fitting("c", c)
        self.model = self.model.with_objective(vector, offset)
        self._change_objective(vector, float(offset))
        self._build_s += time.perf_counter() - begin

    def set_start(self, x: ArrayLike | None) -> None:
        """Let the next solves of a MILP begin with the solution `x`, of shape (columns,); None stands for none again.

        A solver checks it: what is infeasible is mended or dropped. An LP makes no use of it.

        Raises
        ------
        ModelError
            `x` does not fit the model, or has values that are not finite.
        InputError
            The solver takes no such start.
        """
        self.backend.require("start", "way to begin with a given solution")
        self.start = None if x is None else self._fitting("x", x)

    def _fitting(self, name: str, values: ArrayLike) -> Array:
        vector = read_only(values)
        if vector.shape != (self.model.column_count,):
            raise ModelError(f"{name} has shape {vector.shape}; expected ({self.model.column_count},)")
        if not np.isfinite(vector).all():
            raise ModelError(f"{name} has a value that is not finite; expected finite numbers")
        return vector

    def solve(
        self,
        time_limit_s: float | None = None,
        *,
        stop_below: float | None = None,
        stop_above: float | None = None,
    ) -> SolveResult:
        """Solve for the present objective, within `time_limit_s` or else the options' limit.

        A MILP may end earlier, with TARGET_REACHED: with a solution whose objective is at most `stop_below`, or with a
        dual bound of at least `stop_above`, both with the offset. The result shows which, to within the solver's
        tolerances. An LP, and a MILP of a solver without the capability `stop`, is solved to its end.

        The result's `build_s` is what loading and changes of the objective took since the last solve.

        Raises
        ------
        InputError
            A time limit that is not above zero, or a stop that is not finite.
        """
        limits = self._limits(time_limit_s, stop_below, stop_above)
        begin = time.perf_counter()
        result = self._solve(limits)
        solve_s = time.perf_counter() - begin
        bound = result.dual_bound
        if result.status not in BOUNDING | {Status.INFEASIBLE} or math.isnan(bound):
            bound = -math.inf
        result = replace(result, dual_bound=bound, build_s=self._build_s, solve_s=solve_s)
        result = replace(result, trace=_ended(result, solve_s))
        self._build_s = 0.0
        return result

    def _limits(self, time_limit_s: float | None, stop_below: float | None, stop_above: float | None) -> Limits:
        check_time_limit(time_limit_s)
        check_stop("stop_below", stop_below)
        check_stop("stop_above", stop_above)
        seconds = self.options.time_limit_s if time_limit_s is None else time_limit_s
        limits = Limits(math.inf if seconds is None else float(seconds))
        if not self.model.is_mip:
            return limits
        return replace(
            limits,
            stop_below=-math.inf if stop_below is None else float(stop_below),
            stop_above=math.inf if stop_above is None else float(stop_above),
        )

    def close(self) -> None:  # noqa: B027 (nothing to free is a fair answer)
        """Free what the solver holds. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _load(self) -> None:
        """Hand `self.model` and `self.options` to the solver."""

    @abstractmethod
    def _change_objective(self, c: Array, offset: float) -> None:
        """Hand over a new objective; `self.model` has it already."""

    @abstractmethod
    def _solve(self, limits: Limits) -> SolveResult:
        """Solve and read, a MILP from `self.start`. An LP's limits have no stops. The caller fills in the times."""


class Backend(ABC):
    """A solver. One instance stands for one variant of it, e.g. cvxpy with CLARABEL."""

    name: ClassVar[str]
    package: ClassVar[str]  # the import name whose presence means installed
    install: ClassVar[str]  # the command that installs it
    licence: ClassVar[str]  # in words: what it permits without a licence file
    capabilities: Capabilities
    variant: str = ""  # of those that have some; the name is NAME:VARIANT then
    least_tolerance: float = 0.0  # what the solver works with whatever is asked of it

    def __init__(self, variant: str = "") -> None:
        if variant:
            raise InputError(f"solver {self.name}:{variant}: {self.name} has no variants; expected {self.name}")

    @classmethod
    def installed(cls) -> bool:
        """Whether the solver's package is there. Takes no licence, and imports nothing but a dotted name's parent."""
        try:
            return importlib.util.find_spec(cls.package) is not None
        except ModuleNotFoundError:  # of `a.b` where there is no `a`
            return False

    @classmethod
    def variants(cls) -> list[str]:
        """What may stand behind the name and a colon; empty where the back-end is one solver."""
        return []

    def require(self, capability: str, words: str) -> None:
        """Raise InputError unless the solver has the capability, which the message calls `words`."""
        if not getattr(self.capabilities, capability):
            full = ":".join(filter(None, (self.name, self.variant)))
            raise InputError(f"solver {full} has no {words}; `relubench solvers` lists what each one has")

    def tolerance(self, options: SolverOptions) -> Tolerance:
        """What the solver may be off by under these options."""
        asked = max(options.feasibility_tolerance, options.integrality_tolerance)
        return Tolerance(max(self.least_tolerance, asked), options.mip_gap)

    @abstractmethod
    def version(self) -> str:
        """The solver's own version."""

    @abstractmethod
    def load(self, model: LinearModel, options: SolverOptions | None = None) -> Session:
        """Load a model; the session solves it.

        Raises
        ------
        InputError
            The model has constraints that the solver lacks.
        """


def _ended(result: SolveResult, solve_s: float) -> Array | None:
    """The trace of a search with a last line: what the result says."""
    if result.trace is None:
        return None
    objective = math.inf if result.x is None else result.objective
    return read_only(np.vstack([result.trace.reshape(-1, 3), [solve_s, objective, result.dual_bound]]))


def check_time_limit(time_limit_s: float | None) -> None:
    """Raise InputError unless the limit is None or a number above zero."""
    if time_limit_s is not None and not (is_finite_number(time_limit_s) and time_limit_s > 0):
        raise InputError(f"time limit is {time_limit_s!r} s; expected a number above 0, or none for no limit")


def check_stop(name: str, value: float | None) -> None:
    """Raise InputError unless the value is None or a finite number."""
    if value is not None and not is_finite_number(value):
        raise InputError(f"{name} is {value!r}; expected a finite number, or none for no stop")
