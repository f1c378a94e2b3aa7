"""Ways to ask one question: methods, solvers and switches in a seeded mix, and what an outcome may not say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import Outcome, Verdict, verify
from bench.choices import BY_MILP, BY_PROPAGATION, SWITCHES
from bench.methods.settings import Settings
from networks.errors import InputError, SolverNotInstalledError
from solvers import registry
from solvers.backend import SolverOptions
from solvers.result import Status
from tests.soundness.exact import as_float, margins_at
from tests.soundness.hostile import LABEL, Case, Rng

Way = dict[str, Any]  # keywords of `verify`

SOLVERS = ("highs", "gurobi", "cbc", "cvxpy:SCIPY", "cvxpy:HIGHS", "cvxpy:GUROBI", "cvxpy:CLARABEL")
FIRST_ORDER = ("cvxpy:SCS", "cvxpy:OSQP")  # LPs only, and slow where numbers are far apart: asked now and then
FIRST_ORDER_SHARE = 0.1
TIME_LIMIT_S = 5.0
PATIENCE_S = 20.0  # beyond the limit, on a loaded machine
ENDS = {*(str(status.value) for status in Status), "bounded", "skipped", "falsified", "numerically_unsafe"}
NOT_SWITCHED = 0.5  # how often a switch is left as it is


def ways(rng: Rng) -> Iterator[Way]:
    """One way without a solver, and one for each solver that is there."""
    yield {"method": str(rng.choice(BY_PROPAGATION))}
    now_and_then = [solver for solver in FIRST_ORDER if rng.random() < FIRST_ORDER_SHARE]
    for solver in (*SOLVERS, *now_and_then):
        if _present(solver):
            yield _way(rng, solver)


def _present(solver: str) -> bool:
    try:
        registry.get(solver)
    except SolverNotInstalledError:
        return False
    return True


def _way(rng: Rng, solver: str) -> Way:
    """A method and switches that the solver has; those that it has not are drawn again."""
    while True:
        way: Way = {"solver": solver, "method": str(rng.choice(["lp", *BY_MILP], p=[0.25, 0.5, 0.25]))}
        way |= {name: str(rng.choice(choices)) for name, choices in SWITCHES.items() if rng.random() > NOT_SWITCHED}
        if way["method"] == "staged":
            way["goal"] = "verdict"
        if rng.random() < 0.2:
            way["exact"] = True
        if way["method"] in BY_MILP and rng.random() < 0.1:
            way["node_limit"] = int(rng.integers(1, 6))
        try:
            Settings(**{name: value for name, value in way.items() if name != "node_limit"}, options=_options(way))
        except InputError:
            continue
        return way


def _options(way: Way) -> SolverOptions:
    return SolverOptions(time_limit_s=TIME_LIMIT_S, node_limit=way.get("node_limit"))


def ask(case: Case, way: Way) -> Outcome:
    """What `verify` says."""
    question = case.question
    image = np.reshape(question.ball.image, question.network.input_shape)
    limit: Way = {} if way["method"] in BY_PROPAGATION else {"time_limit_s": TIME_LIMIT_S}
    return verify(question.network, image, LABEL, question.ball.epsilon, clip=question.ball.clip, **limit, **way)


def faults(case: Case, outcome: Outcome) -> list[str]:
    """What is wrong with the outcome, in a few words each."""
    return [*_wrong_verdict(case, outcome), *_wrong_bounds(case, outcome), *_out_of_form(outcome)]


def _wrong_verdict(case: Case, outcome: Outcome) -> Iterator[str]:
    least = min(case.most)
    if outcome.verdict is Verdict.VERIFIED and least <= 0:
        yield f"VERIFIED ({outcome.tier}), but the least margin is {as_float(least):.6g}"
    if outcome.verdict is Verdict.FALSIFIED:
        if case.known and least >= 0:
            yield f"FALSIFIED, but the least margin is {as_float(least):.6g}"
        yield from _no_witness(case, outcome)


def _no_witness(case: Case, outcome: Outcome) -> Iterator[str]:
    if outcome.witness is None:
        yield "FALSIFIED without a witness"
        return
    if not case.question.ball.contains(outcome.witness):
        yield "its witness lies outside the ball"
    margin = min(margins_at(case.question.network, LABEL, case.question.targets, outcome.witness))
    if margin >= 0:
        yield f"its witness has the margin {as_float(margin):.6g} in exact arithmetic"


def _wrong_bounds(case: Case, outcome: Outcome) -> Iterator[str]:
    for k, most in enumerate(case.most):
        lower, safety, certified = (float(values[k]) for values in (outcome.lower, outcome.safety, outcome.certified))
        if certified > most:
            yield f"certified {certified:.9g} is above the least margin {as_float(most):.9g}"
        if safety == 0 and lower > most:
            yield f"lower {lower:.9g} with no safety is above the least margin {as_float(most):.9g}"
        elif math.isfinite(safety) and lower - safety > most:
            yield f"lower {lower:.9g} less its safety {safety:.3g} is above the least margin {as_float(most):.9g}"


def _out_of_form(outcome: Outcome) -> Iterator[str]:
    for name in ("lower", "upper", "safety", "certified", "claimed"):
        if np.isnan(getattr(outcome, name)).any():
            yield f"{name} is NaN"
    if outcome.verdict is Verdict.UNKNOWN and (outcome.certified > 0).all():
        yield "UNKNOWN beside certified bounds above zero"
    if outcome.verdict is Verdict.UNKNOWN and not outcome.reason:
        yield "UNKNOWN without a reason"
    if unknown := set(outcome.status) - ENDS:
        yield f"ended with {', '.join(sorted(unknown))}"
    if outcome.total_s > TIME_LIMIT_S + PATIENCE_S:
        yield f"took {outcome.total_s:.0f} s with a limit of {TIME_LIMIT_S:g} s"
