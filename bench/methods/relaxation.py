"""The methods `lp` and `milp`: one model a question, loaded once, solved for one target after another."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np

from bench.methods.answer import Answer
from bench.methods.bounding import Bounded
from bench.methods.question import Question
from bench.methods.settings import Settings
from networks.layers import Array
from solvers.backend import Session, SolverOptions
from solvers.certify import SOLVER_SAFETY, believed_bound
from solvers.encode import encode
from solvers.encoding import Encoding, objective_at_most
from solvers.registry import get
from solvers.result import SolveResult, Status

SOURCES = {True: "LP relaxation by {}", False: "MILP dual bound by {}"}
COUNTED = ("nodes", "simplex_iterations", "work")
# Unbounded is none of our models: the input is boxed, and all else follows from it.
NO_SOLUTION = {Status.INFEASIBLE, Status.INFEASIBLE_OR_UNBOUNDED}
SKIPPED = "skipped"  # the status of a target that was not asked, as another one had decided the instance


def solve(
    question: Question, bounded: Bounded, settings: Settings, *, deadline: float = math.inf, starts: Array | None = None
) -> Answer:
    """Lower bounds on all margins of the question, and the inputs that the solver found on its way.

    Parameters
    ----------
    bounded : Bounded
        What the model is made from. A row of a solver has the solver's own bounds on the margins, not these.
    deadline : float
        On `time.perf_counter()`, for the encoding and all targets together. Of margins, each gets an equal share of
        what is left; for a verdict the hardest target may take it all.
    starts : ndarray, shape (k, inputs), optional
        An input for each target to start the MILP from.
    """
    start = time.perf_counter()
    encoding = encode_question(question, bounded, settings)
    search = _Search(question, encoding, settings, bounded.lower, deadline, starts)
    results = search.run()
    elapsed_s = time.perf_counter() - start
    return _answer(encoding, results, search.solves, bounded, settings, elapsed_s)


def encode_question(question: Question, bounded: Bounded, settings: Settings) -> Encoding:
    """The model of a question."""
    return encode(
        question.lowered,
        question.box,
        question.lowered.pre_activations(bounded.layers, question.box),
        question.instance.margins,
        relaxation=settings.relaxation,
        formulation=settings.form,
        margin_bounds=(bounded.lower, bounded.upper),
    )


def deadline_of(options: SolverOptions) -> float:
    """When the time limit is over, on `time.perf_counter()`."""
    return math.inf if options.time_limit_s is None else time.perf_counter() + options.time_limit_s


@dataclass(slots=True)
class _Search:
    """The solves of one encoding's objectives, in one session where no objective needs a row of its own."""

    question: Question
    encoding: Encoding
    settings: Settings
    known: Array  # lower bounds on the margins
    deadline: float
    starts: Array | None
    session: Session | None = None
    solves: list[SolveResult] = field(default_factory=list)  # every one, those that were taken up again included

    def run(self) -> list[SolveResult | None]:
        """A result for each objective, None where it was not asked."""
        results: list[SolveResult | None] = [None] * len(self.encoding.offsets)
        order = self._order()
        try:
            for position, index in enumerate(order):
                results[index] = result = self._solve(index, len(order) - position)
                if self._verdict_wanted and self._is_witness(result):
                    break
        finally:
            self._close()
        return results

    @property
    def _verdict_wanted(self) -> bool:
        return self.settings.goal == "verdict"

    @property
    def _by_row(self) -> bool:
        """Whether each objective has a model of its own. Not of an LP, whose optimum is cheap, and certified."""
        return self._verdict_wanted and self.settings.stop == "row" and not self.settings.relaxation

    def _order(self) -> list[int]:
        """For a verdict the hardest targets first: one that is falsified spares the others."""
        count = len(self.encoding.offsets)
        if not self._verdict_wanted or count == 1:
            return list(range(count))
        return [int(index) for index in np.argsort(self.known, kind="stable")]

    def _solve(self, index: int, left: int) -> SolveResult:
        """Objective `index`, of which `left` are left to solve; results in its unit."""
        # A verdict needs every target: the hardest may take all the time there is.
        share = (self.deadline - time.perf_counter()) / (1 if self._verdict_wanted else left)
        if share <= 0:
            return SolveResult(Status.TIME_LIMIT)
        end = time.perf_counter() + share
        session, scale = self._at(index)
        limit = self._limit(index)
        result = self._stopping(session, end, limit / scale)
        bound = believed_bound(session.model, result) * scale
        if self._by_row and (result.status in NO_SOLUTION or result.dual_bound >= limit / scale):
            bound = limit
        return replace(result, objective=result.objective * scale, dual_bound=bound)

    def _at(self, index: int) -> tuple[Session, float]:
        """The session with objective `index`, and the unit of that objective."""
        c, offset, scale = self.encoding.objective(index)
        if self.session is not None and not self._by_row:
            self.session.set_objective(c, offset)
        else:
            self._close()
            model = self.encoding.model.with_objective(c, offset)
            model = objective_at_most(model, self._limit(index) / scale) if self._by_row else model
            options = replace(self.settings.options, time_limit_s=None)
            self.session = get(self.settings.solver).load(model, options)
        if self.starts is not None:
            self.session.set_start(self.encoding.solution_at(self._start(self.starts, index)))
        return self.session, scale

    def _start(self, starts: Array, index: int) -> Array:
        """The input of smallest margin to the objective's target, or to any where the objective stands for all."""
        strongest = self.question.margins_at(starts).min(axis=1).argmin() if self.encoding.choices.size else index
        return np.asarray(starts[strongest])

    def _limit(self, index: int) -> float:
        """Twice what a lower bound must exceed to count as positive: a margin above it is as good as verified."""
        return 2 * SOLVER_SAFETY * max(1.0, float(self.encoding.magnitudes[index]))

    def _stopping(self, session: Session, end: float, limit: float) -> SolveResult:
        """Solve, for a verdict only until the sign is known.

        An incumbent below zero that its replay does not confirm has stopped the search too soon: it goes on then.
        """
        if not self._verdict_wanted:
            return self._run(session, end)
        result = self._run(session, end, stop_below=-limit, stop_above=limit)
        if result.status is Status.TARGET_REACHED and result.dual_bound < limit and not self._is_witness(result):
            return self._run(session, end, stop_above=limit)
        return result

    def _run(self, session: Session, end: float, **stops: float) -> SolveResult:
        left = end - time.perf_counter()
        if left <= 0:
            return SolveResult(Status.TIME_LIMIT)
        self.solves.append(session.solve(left if math.isfinite(left) else None, **stops))
        return self.solves[-1]

    def _is_witness(self, result: SolveResult) -> bool:
        return result.x is not None and bool(
            (self.question.margins_at(self.encoding.input_of(result.x)[None]) < 0).any()
        )

    def _close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


def _answer(
    encoding: Encoding,
    results: list[SolveResult | None],
    solves: list[SolveResult],
    bounded: Bounded,
    settings: Settings,
    elapsed_s: float,
) -> Answer:
    solve_s = sum(result.solve_s for result in solves)
    solutions = [encoding.input_of(result.x) for result in solves if result.x is not None]
    lower = np.array([-math.inf if result is None else result.dual_bound for result in results])
    status = tuple(SKIPPED if result is None else result.status.value for result in results)
    count = len(bounded.lower)  # the one objective of a maximum stands for all targets
    return Answer(
        lower=np.array(np.broadcast_to(lower, count)),
        status=_spread(status, count),
        candidates=np.array(solutions).reshape(len(solutions), encoding.input_count),
        gap=np.broadcast_to([math.inf if result is None else result.gap for result in results], count),
        safety=np.broadcast_to(SOLVER_SAFETY * np.maximum(1.0, encoding.magnitudes), count),
        source=SOURCES[settings.relaxation].format(settings.solver),
        # Not the sum of the results' build_s: where no time was left for a target, no result has what was built for it.
        build_s=elapsed_s - solve_s,
        solve_s=solve_s,
        counters=_counters(encoding, solves) | bounded.counters,
        messages=_spread(tuple("" if result is None else result.message for result in results), count),
    )


def _spread(words: tuple[str, ...], count: int) -> tuple[str, ...]:
    return words * count if len(words) == 1 else words


def _counters(encoding: Encoding, results: list[SolveResult]) -> dict[str, float]:
    model = encoding.model
    counters: dict[str, float] = {
        "rows": model.row_count,
        "columns": model.column_count,
        "nonzeros": model.A.nnz,
        "binaries": int(model.integer.sum()),
        "unstable": encoding.unstable_count,
        "active": encoding.active_count,
        "inactive": encoding.inactive_count,
    }
    for name in COUNTED:
        values = [getattr(result, name) for result in results if getattr(result, name) is not None]
        if values:
            counters[name] = sum(values)
    return counters
