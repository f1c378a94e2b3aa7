"""The method `staged`: each target is asked of the cheapest stage that can decide it, and of no dearer one.

An attack looks for a witness. Interval and linear bounds close the targets whose margin they prove positive, then the
LP relaxation does; a solver tightens the pre-activation bounds for those left, which may close them in the LP, and the
MILP decides the rest, each only until its sign is known, the hardest first. A witness at any stage ends it all.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench.choices import BY_MILP, SLOPES, TIGHTENING_SHARE, applicable
from bench.methods import bounding, relaxation
from bench.methods.answer import Answer, at_targets, no_trace
from bench.methods.bounding import ROUNDS, Bounded, propagate, tightened, word_of_a_solver
from bench.methods.question import Question
from bench.methods.settings import Settings
from bench.methods.witness import linear_corners, strongest_inputs
from networks.layers import Array
from solvers.result import Status

FALSIFIED = "falsified"  # the status of a target that a candidate is classified as
SOURCES = {
    **bounding.SOURCES,
    "tighten": "linear bounds tightened by {}",
    "lp": relaxation.SOURCES[True],
    "milp": relaxation.SOURCES[False],
}


def solve(question: Question, settings: Settings, deadline: float = math.inf) -> Answer:
    """Lower bounds on all margins, as far as the verdict needs them, until `deadline` on `time.perf_counter()`."""
    state = _State(question, settings, deadline)
    for name, stage in _stages(settings):
        if state.falsified or not state.open.size or time.perf_counter() >= deadline:
            break
        state.run(name, stage)
    if time.perf_counter() >= deadline:
        state.run_out()
    return state.answer()


def _stages(settings: Settings) -> list[tuple[str, Callable[[_State], None]]]:
    """The stages in order, up to the bounds that the settings ask for."""
    stages = [("attack", _State.attack), ("interval", _State.interval)]
    if settings.bounds != "interval":
        stages.append(("linear", _State.linear))
    if settings.bounds == "alpha":
        stages.append(("alpha", _State.alpha))
    stages.append(("lp", _State.lp))
    if settings.bounds in ROUNDS:
        stages += [("tighten", _State.tighten), ("lp", _State.lp)]
    return [*stages, ("milp", _State.milp)]


@dataclass(slots=True)
class _State:
    """What is known of every target so far, and what it cost."""

    question: Question
    settings: Settings
    deadline: float
    bounded: Bounded | None = None  # of all targets, by the last stage that bounds
    points: list[Array] = field(default_factory=list)
    starts: Array | None = None
    beaten: NDArray[np.bool_] = field(init=False)  # targets that a candidate is classified as, rather than the label
    lower: Array = field(init=False)
    safety: Array = field(init=False)
    certified: Array = field(init=False)
    claimed: Array = field(init=False)
    gap: Array = field(init=False)
    status: list[str] = field(init=False)
    stage: list[str] = field(init=False)
    messages: list[str] = field(init=False)
    stage_s: dict[str, float] = field(default_factory=dict)
    build_s: float = 0.0
    solve_s: float = 0.0
    counters: dict[str, float] = field(default_factory=dict)
    traces: list[Array] = field(default_factory=list)
    violation: float | None = None

    def __post_init__(self) -> None:
        count = self.question.target_count
        self.lower, self.gap, self.safety = np.full(count, -np.inf), np.full(count, np.inf), np.zeros(count)
        self.certified, self.claimed = np.full(count, -np.inf), np.full(count, -np.inf)
        self.beaten = np.zeros(count, bool)
        self.status, self.stage, self.messages = [relaxation.SKIPPED] * count, [""] * count, [""] * count

    @property
    def open(self) -> NDArray[np.intp]:
        """The targets whose margin is not proved positive."""
        return np.flatnonzero(~(self.lower > self.safety))

    @property
    def falsified(self) -> bool:
        """Whether there is a witness."""
        return bool(self.beaten.any())

    def run(self, name: str, stage: Callable[[_State], None]) -> None:
        """One stage: what it decides, and its seconds."""
        before, start = self.open, time.perf_counter()
        stage(self)
        self.stage_s[name] = self.stage_s.get(name, 0.0) + time.perf_counter() - start
        for index in np.union1d(np.setdiff1d(before, self.open), np.flatnonzero(self.beaten)):
            self.stage[index] = name
        for index in np.flatnonzero(self.beaten):
            self.status[index] = FALSIFIED

    def run_out(self) -> None:
        """The time is over: say so of the targets still open, unless a witness has left them so."""
        if not self.falsified:
            for index in self.open:
                self.status[index] = Status.TIME_LIMIT.value

    def attack(self) -> None:
        """Targeted PGD towards every target at once."""
        self.starts = strongest_inputs(self.question)
        self._look_at(self.starts)

    def interval(self) -> None:
        self._propagate(None)

    def linear(self) -> None:
        self._propagate(SLOPES["linear"])

    def alpha(self) -> None:
        self._propagate(SLOPES["alpha"])

    def tighten(self) -> None:
        """Tighter pre-activation bounds, and the linear bounds that follow from them."""
        assert self.bounded is not None  # by the linear stage
        now = time.perf_counter()
        end = now + TIGHTENING_SHARE * (self.deadline - now)
        self._take(tightened(self.question, self.bounded, self.settings, end))

    def lp(self) -> None:
        self._ask_solver("lp")

    def milp(self) -> None:
        self._ask_solver("milp")

    def answer(self) -> Answer:
        """What the method hands back."""
        size = self.question.instance.image.size
        return Answer(
            lower=self.lower,
            status=tuple(self.status),
            candidates=np.concatenate([np.empty((0, size)), *self.points]),
            gap=self.gap,
            safety=self.safety,
            certified=self.certified,
            claimed=self.claimed,
            violation=self.violation,
            source=self._source(),
            bounds_s=sum(self.stage_s.get(name, 0.0) for name in ("interval", "linear", "alpha", "tighten")),
            build_s=self.build_s,
            solve_s=self.solve_s,
            counters=self.counters,
            messages=tuple(self.messages),
            stage=tuple(self.stage),
            stage_s=self.stage_s,
            trace=np.concatenate([no_trace(), *self.traces]),
        )

    def _propagate(self, slopes: str | None) -> None:
        self._take(propagate(self.question, slopes))

    def _take(self, bounded: Bounded) -> None:
        """Bounds on all margins."""
        self.bounded = bounded
        self.counters |= bounded.counters
        self.certified = np.maximum(self.certified, bounded.certified)
        safety = word_of_a_solver(self.question, bounded, self.settings)
        for index in self.open:
            self._improve(index, bounded.lower[index], safety[index])
            self.status[index] = "bounded"

    def _ask_solver(self, method: str) -> None:
        """The open targets by the relaxation or the MILP."""
        assert self.bounded is not None  # the interval stage comes before
        self._look_at(linear_corners(self.question.restricted(self.open), self.bounded.layers))
        if self.falsified:
            return
        targets, settings = self.open, self._settings(method)
        answer = relaxation.solve(
            self.question.restricted(targets),
            self.bounded.restricted(targets),
            settings,
            deadline=self.deadline,
            starts=self.starts[targets] if settings.start == "witness" and self.starts is not None else None,
        )
        self._look_at(answer.candidates)
        self.build_s += answer.build_s
        self.solve_s += answer.solve_s
        self.counters |= answer.counters | self._effort(answer.counters)
        self.traces.append(at_targets(answer.trace, targets))
        if answer.violation is not None:
            self.violation = max(answer.violation, self.violation or 0.0)
        self.certified[targets] = np.maximum(self.certified[targets], answer.certified)
        if answer.claimed is not None:
            self.claimed[targets] = answer.claimed
        for position, index in enumerate(targets):
            self._improve(index, answer.lower[position], answer.safety[position])
            self.gap[index], self.status[index] = answer.gap[position], answer.status[position]
            self.messages[index] = answer.messages[position]

    def _effort(self, counters: dict[str, float]) -> dict[str, float]:
        """What all stages together have done, these counters included; the model's size is that of the last one."""
        return {name: self.counters.get(name, 0) + counters[name] for name in relaxation.EFFORT if name in counters}

    def _settings(self, method: str) -> Settings:
        """What was asked, as far as it means something to the stage's own method."""
        asked = self.settings
        kept = {name: getattr(asked, name) for name in applicable(method, "verdict")}
        options = asked.options if method in BY_MILP else replace(asked.options, node_limit=None)
        return Settings(method, asked.solver, options, exact=asked.exact, **kept)

    def _improve(self, index: int, lower: float, safety: float) -> None:
        """Keep whichever lower bound says more beyond what it must exceed to count."""
        if lower - safety > self.lower[index] - self.safety[index]:
            self.lower[index], self.safety[index] = lower, safety

    def _look_at(self, points: Array) -> None:
        """Keep candidates; one that is misclassified ends the search."""
        self.points.append(points)
        if len(points):
            self.beaten |= (self.question.margins_at(points) < 0).any(axis=0)

    def _source(self) -> str:
        counts = Counter(name for name in self.stage if name in SOURCES)
        words = [f"{SOURCES[name].format(self.settings.solver)} ({count})" for name, count in counts.items()]
        return ", ".join(words)
