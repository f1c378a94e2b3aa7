"""The methods `lp` and `milp`: one model a question, loaded once, solved for one target after another."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench.methods.answer import OF_ALL, Answer, no_trace
from bench.methods.bounding import SOURCES as BOUNDS_SOURCES
from bench.methods.bounding import Bounded
from bench.methods.question import Question
from bench.methods.settings import Settings
from bench.replay import replay
from networks.errors import NumericsError
from networks.layers import Array
from solvers.backend import Session, SolverOptions
from solvers.certify import less, lower_bound
from solvers.encode import encode
from solvers.encoding import Encoding, objective_at_most
from solvers.linear_model import LinearModel
from solvers.registry import get
from solvers.result import BOUNDING, SolveResult, Status
from solvers.safety import enough

SOURCES = {True: "LP relaxation by {}", False: "MILP dual bound by {}"}
COUNTED = ("nodes", "simplex_iterations", "work")
EFFORT = ("solves", *COUNTED)  # the counters of what was done, which add up; the others are a model's size
# Unbounded is none of our models: the input is boxed, and all else follows from it.
NO_SOLUTION = {Status.INFEASIBLE, Status.INFEASIBLE_OR_UNBOUNDED}
UNSAFE = "numerically_unsafe"  # the status where the question makes no model in doubles
WITNESS_DEPTH = 2e-6  # an incumbent this far below zero, for its largest term, is likely to be a witness when replayed
SKIPPED = "skipped"  # the status of a target that was not asked, as another one had decided the instance


def solve(
    question: Question, bounded: Bounded, settings: Settings, *, deadline: float = math.inf, starts: Array | None = None
) -> Answer:
    """Lower bounds on all margins of the question, and the inputs that the solver found on its way.

    Parameters
    ----------
    bounded : Bounded
        What the model is made from. Its bounds on the margins count where the solver proves less.
    deadline : float
        On `time.perf_counter()`, for the encoding and all targets together. Of margins, each gets an equal share of
        what is left; for a verdict the hardest target may take it all.
    starts : ndarray, shape (k, inputs), optional
        An input for each target to start the MILP from.
    """
    start = time.perf_counter()
    try:
        encoding = encode_question(question, bounded, settings)
    except NumericsError as error:
        return _unsafe(question, bounded, settings, str(error), time.perf_counter() - start)
    search = _Search(question, encoding, bounded, settings, deadline, starts)
    found = search.run()
    elapsed_s = time.perf_counter() - start
    return _answer(search, found, elapsed_s)


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


@dataclass(frozen=True, slots=True)
class _Found:
    """What one objective came to, in the margin's units.

    `lower` must exceed `safety` to count as positive. `claimed` is the solver's own bound, and `certified` the one that
    holds in exact arithmetic; each is -inf where there is none.
    """

    status: str
    lower: float = -math.inf
    safety: float = 0.0
    claimed: float = -math.inf
    certified: float = -math.inf
    gap: float = math.inf
    message: str = ""


@dataclass(slots=True)
class _Search:
    """The solves of one encoding's objectives, in one session where no objective needs a row of its own."""

    question: Question
    encoding: Encoding
    bounded: Bounded
    settings: Settings
    deadline: float
    starts: Array | None
    session: Session | None = None
    image_margins: Array | None = None  # the image's own value of each objective, worked out when one is asked for
    safeties: Array | None = None  # of all objectives, worked out when one is asked for
    solves: list[SolveResult] = field(default_factory=list)  # every one, those that were taken up again included
    violation: float = -math.inf  # the largest of their solutions
    traces: list[Array] = field(default_factory=list)  # of each MILP: objective, seconds, incumbent and bound

    def run(self) -> list[_Found]:
        """What each objective came to."""
        found = [_Found(SKIPPED)] * len(self.encoding.offsets)
        order = self._order()
        try:
            for position, index in enumerate(order):
                result, found[index] = self._solve(index, len(order) - position)
                if self._verdict_wanted and self._is_witness(result):
                    break
        finally:
            self._close()
        return found

    @property
    def _verdict_wanted(self) -> bool:
        return self.settings.goal == "verdict"

    def _by_row(self, index: int) -> bool:
        """Whether the objective has a model of its own, without the points whose margin is beyond the limit.

        Not of an LP, whose optimum is cheap, and certified; nor where the image itself is one of the points that are
        left, as there is nothing to exclude then.
        """
        asked = self._verdict_wanted and self.settings.stop == "row" and not self.settings.relaxation
        return asked and self._can_verify(index)

    def _can_verify(self, index: int) -> bool:
        """Whether any bound could be enough: the image's own margin is one that no bound is above."""
        if self.image_margins is None:
            instance = self.question.instance
            margins = replay(self.question.network, instance, instance.image[None])[0]
            self.image_margins = margins.min(keepdims=True) if self.encoding.choices.size else margins
        return bool(self._limit(index) < self.image_margins[index])

    def _order(self) -> list[int]:
        """For a verdict the hardest targets first: one that is falsified spares the others."""
        count = len(self.encoding.offsets)
        if not self._verdict_wanted or count == 1:
            return list(range(count))
        return [int(index) for index in np.argsort(self.bounded.lower, kind="stable")]

    def _solve(self, index: int, left: int) -> tuple[SolveResult, _Found]:
        """Objective `index`, of which `left` are left to solve."""
        # A verdict needs every target: the hardest may take all the time there is.
        share = (self.deadline - time.perf_counter()) / (1 if self._verdict_wanted else left)
        if share <= 0:
            result = SolveResult(Status.TIME_LIMIT)
            return result, _Found(result.status.value, safety=self._safety(index))
        end = time.perf_counter() + share
        session, scale = self._at(index)
        before = len(self.solves)
        result = self._stopping(session, index, scale, end)
        self._keep_trace(index, self.solves[before:], scale)
        return result, self._found(index, session.model, result, scale)

    def _keep_trace(self, index: int, results: list[SolveResult], scale: float) -> None:
        """How the searches for one objective went, in the margin's units; the later one begins where the first ends."""
        begin = 0.0
        for result in results:
            if result.trace is not None:
                seconds, incumbent, bound = result.trace.T
                # Of a model without the points above the limit a bound says nothing of those.
                bound = np.minimum(bound * scale, self._limit(index) if self._by_row(index) else math.inf)
                place = np.full(len(seconds), OF_ALL if self.encoding.choices.size else float(index))
                self.traces.append(np.column_stack([place, begin + seconds, incumbent * scale, bound]))
            begin += result.solve_s

    def _found(self, index: int, model: LinearModel, result: SolveResult, scale: float) -> _Found:
        by_row = self._by_row(index)
        certifies = (
            self.bounded.rigorous and not by_row and self.encoding.is_objective(index, model.c, model.offset, scale)
        )
        box = self.encoding.box if certifies else None
        believed, certified = (bound * scale for bound in lower_bound(model, result, box, exact=self.settings.exact))
        limit, safety = self._limit(index), self._safety(index)
        if by_row:  # of a model without the points above the limit, which bounds the others by that at most
            searched = result.status in BOUNDING and result.dual_bound * scale >= limit  # infinite where all is pruned
            excluded = result.status in NO_SOLUTION or searched
            believed = limit if excluded else min(believed, limit)
        if certifies and math.isfinite(certified):
            # Less what the objective's own numbers may be off by, rounded down.
            believed = certified = less(certified, float(self.encoding.objective_errors[index]))
            safety = 0.0
        else:
            certified = -math.inf
        objective = result.objective * scale
        gap = replace(result, objective=objective, dual_bound=result.dual_bound * scale).gap
        claimed = -math.inf if result.status in NO_SOLUTION else result.dual_bound * scale
        return _Found(result.status.value, believed, safety, claimed, certified, gap, result.message)

    def _safety(self, index: int) -> float:
        """What a lower bound that is a solver's word must exceed to count as positive."""
        if self.safeties is None:
            self.safeties = self.encoding.safety(get(self.settings.solver).tolerance(self.settings.options))
        return float(self.safeties[index])

    def _at(self, index: int) -> tuple[Session, float]:
        """The session with objective `index`, and the unit of that objective."""
        c, offset, scale = self.encoding.objective(index)
        by_row = self._by_row(index)
        if self.session is not None and not by_row and self.session.model.row_count == self.encoding.model.row_count:
            self.session.set_objective(c, offset)
        else:
            self._close()
            model = self.encoding.model.with_objective(c, offset)
            model = objective_at_most(model, enough(self._safety(index), scale)) if by_row else model
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
        """What is enough of a lower bound: a margin above it is as good as verified."""
        return enough(self._safety(index))

    def _stopping(self, session: Session, index: int, scale: float, end: float) -> SolveResult:
        """Solve, for a verdict only until the sign is known.

        An incumbent below zero that its replay does not confirm has stopped the search too soon: it goes on then.
        """
        if not self._verdict_wanted or self.settings.relaxation:  # an LP is solved to its end
            return self._run(session, end)
        above = enough(self._safety(index), scale)
        below = min(above, WITNESS_DEPTH * max(1.0, float(self.encoding.magnitudes[index]) / scale))
        stop_above = {"stop_above": above} if self._can_verify(index) else {}
        result = self._run(session, end, stop_below=-below, **stop_above)
        if result.status is Status.TARGET_REACHED and result.dual_bound < above and not self._is_witness(result):
            return self._run(session, end, **stop_above)
        return result

    def _run(self, session: Session, end: float, **stops: float) -> SolveResult:
        left = end - time.perf_counter()
        if left <= 0:
            return SolveResult(Status.TIME_LIMIT)
        result = session.solve(left if math.isfinite(left) else None, **stops)
        self.solves.append(result)
        if result.x is not None:
            self.violation = max(self.violation, _violation(session.model, result.x))
        return result

    def _is_witness(self, result: SolveResult) -> bool:
        return result.x is not None and bool(
            (self.question.margins_at(self.encoding.input_of(result.x)[None]) < 0).any()
        )

    def _close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


def _answer(search: _Search, found: list[_Found], elapsed_s: float) -> Answer:
    encoding, bounded, settings = search.encoding, search.bounded, search.settings
    solve_s = sum(result.solve_s for result in search.solves)
    solutions = [encoding.input_of(result.x) for result in search.solves if result.x is not None]
    count = len(bounded.lower)  # the one objective of a maximum stands for all targets

    def each(name: str) -> Array:
        return np.array(np.broadcast_to([getattr(item, name) for item in found], count))

    lower, safety = each("lower"), each("safety")
    known = bounded.certified
    weaker = ~(lower - safety > known) & (known > -math.inf)
    return Answer(
        lower=np.where(weaker, known, lower),
        status=_spread(tuple(item.status for item in found), count),
        candidates=np.array(solutions).reshape(len(solutions), encoding.input_count),
        gap=each("gap"),
        safety=np.where(weaker, 0.0, safety),
        certified=np.maximum(each("certified"), known),
        claimed=each("claimed"),
        violation=search.violation if solutions else None,
        source=_source(settings, weaker),
        # Not the sum of the results' build_s: where no time was left for a target, no result has what was built for it.
        build_s=elapsed_s - solve_s,
        solve_s=solve_s,
        counters=_counters(encoding, search.solves) | bounded.counters,
        messages=_spread(tuple(item.message for item in found), count),
        trace=np.concatenate([no_trace(), *search.traces]),
    )


def _unsafe(question: Question, bounded: Bounded, settings: Settings, message: str, elapsed_s: float) -> Answer:
    """The answer where there is no model: what the bounds prove by themselves."""
    count = len(bounded.lower)
    nothing = np.full(count, -math.inf)
    return Answer(
        lower=bounded.certified,
        status=(UNSAFE,) * count,
        candidates=np.empty((0, question.instance.image.size)),
        gap=np.full(count, math.inf),
        safety=np.zeros(count),
        certified=bounded.certified,
        claimed=nothing,
        source=_source(settings, np.ones(count, bool)),
        build_s=elapsed_s,
        counters=bounded.counters,
        messages=(message,) * count,
    )


def _source(settings: Settings, by_bounds: NDArray[np.bool_]) -> str:
    """What gave the lower bounds, in words: the solver, or where it added nothing the bounds that it was given."""
    if by_bounds.all():
        return BOUNDS_SOURCES.get(str(settings.bounds), BOUNDS_SOURCES["linear"])
    return SOURCES[settings.relaxation].format(settings.solver)


def _violation(model: LinearModel, x: Array) -> float:
    """The largest violation of the model; the largest double for what is no solution at all."""
    worst = model.violation(x) if x.shape == (model.column_count,) else math.inf
    return worst if math.isfinite(worst) else sys.float_info.max


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
        "magnitude": float(encoding.magnitudes.max()),
        "solves": len(results),
    }
    for name in COUNTED:
        values = [getattr(result, name) for result in results if getattr(result, name) is not None]
        if values:
            counters[name] = sum(values)
    return counters
