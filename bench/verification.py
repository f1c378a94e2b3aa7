"""`verify`: one question, one method, one outcome."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bench.choices import DEFAULT_BOUNDS, SLOPES
from bench.devices import threads_of_libraries
from bench.methods import relaxation, staged
from bench.methods.answer import Answer, at_targets
from bench.methods.bounding import SOURCES, bounded, margin_bounds
from bench.methods.question import Question
from bench.methods.settings import Settings
from bench.methods.witness import linear_corners, load_torch, strongest_inputs
from bench.outcome import Outcome
from bench.replay import into_box, is_wrong, least_margins, replay_double, replay_single
from bench.verdict import contradicted, decide, tier_of
from networks.bounds.interval import interval_bounds
from networks.instance import Clip, ball
from networks.layers import LayerList
from networks.zoo import load_network
from solvers.backend import SolverOptions
from solvers.encoding import Encoding


def verify(
    network: LayerList | str | Path,
    x: ArrayLike,
    label: int,
    epsilon: float,
    method: str = "milp",
    solver: str = "highs",
    *,
    clip: Clip | None = (0.0, 1.0),
    targets: int | Iterable[int] | None = None,
    time_limit_s: float | None = None,
    threads: int = 1,
    seed: int = 0,
    bounds: str = DEFAULT_BOUNDS,
    goal: str = "margin",
    formulation: str = "compact",
    stable: str | None = None,
    relu: str = "bigm",
    query: str = "each",
    stop: str = "row",
    start: str = "none",
    exact: bool = False,
    node_limit: int | None = None,
    log: Path | None = None,
) -> Outcome:
    """Bound the worst-case margins of `network` around `x`, and say what follows.

    The question is about every real input of the l-infinity ball, and the network in real arithmetic over its stored
    weights; where the least margin is a tie, it stays UNKNOWN. A run of the network in float32 or float64 rounds and
    may differ: the outcome says what such runs make of the worst input found.

    Parameters
    ----------
    network : LayerList, str or Path
        A layer list, a zoo name, or a layer-list file.
    x : array_like, shape (*input_shape)
    label : int
    epsilon : float
        Radius of the l-infinity ball.
    method : {"interval", "linear", "alpha", "dual", "lp", "milp", "staged"}
        `interval`, `linear` (CROWN), `alpha` (linear with optimised slopes) and `dual` (Wong and Kolter) propagate
        bounds; `lp` and `milp` ask a solver; `staged` attacks, then goes through all of these from the cheapest on,
        each only for the targets that are still open.
    solver : str
        A back-end of `relubench solvers`, or a variant such as `cvxpy:CLARABEL`. Not used by propagation.
    clip : (float, float) or None
        The range of valid inputs.
    targets : int or iterable of int, optional
        The classes to compare with; all but the label unless given.
    time_limit_s : float, optional
        Wall-clock seconds for the encoding and all targets' solves together.
    threads : int
        Of the solver, and of torch.
    seed : int
        Of the solver.
    bounds : {"linear", "interval", "alpha", "lp", "milp"}
        The pre-activation bounds that a model is made from: propagated, or tightened by the solver's LPs or by its
        MILPs (`solvers.tighten`; half of the time limit at most).
    goal : {"margin", "verdict"}
        With "verdict" each target ends as soon as its sign is known, the hardest comes first, and a falsified
        instance ends there. `staged` has no other goal.
    formulation : {"compact", "textbook"}
        This and the next three: see `solvers.encode`.
    stable : {"eliminate", "keep"}, optional
        By default compact eliminates stable neurons and textbook keeps them.
    relu : {"bigm", "indicator", "sos1"}
    query : {"each", "maximum"}
    stop : {"row", "cutoff"}
        With the goal "verdict", how a MILP is told what is enough: by a row that leaves no solution with a positive
        margin, or only by the solver's own stopping rules.
    start : {"none", "witness"}
        Whether a MILP starts from the worst input that an attack has found for each target.
    exact : bool
        Certify the bounds of LPs by rational arithmetic instead of by bounds on rounding errors.
    node_limit : int, optional
        Of each MILP's branch and bound: unlike a clock, it ends a search at the same place everywhere.
    log : Path, optional
        A file to which the solver's own log is appended, as far as it has one.

    Raises
    ------
    InputError
        An argument that does not fit. What a solver says is in the outcome, never an exception.
    SolverNotInstalledError
        The message has the command that installs it.
    """
    layer_list = load_network(network)
    settings = Settings(
        method,
        solver,
        SolverOptions(time_limit_s=time_limit_s, threads=threads, seed=seed, node_limit=node_limit, log=log),
        bounds=bounds,
        goal=goal,
        formulation=formulation,
        stable=stable,
        relu=relu,
        query=query,
        stop=stop,
        start=start,
        exact=exact,
    )
    question = Question.of(layer_list, ball(layer_list, x, label, epsilon, clip=clip, targets=targets))
    with threads_of_libraries(threads):
        # Before the clock starts: these are no part of the method.
        more = _logit_range(question) if method == "interval" else {}
        if method == "staged" or start == "witness":
            load_torch()
        start_s = time.perf_counter()
        answer = ANSWERS.get(method, _by_propagation)(question, settings)
        return _outcome(question, answer, settings, start_s, more)


def question_encoding(question: Question, settings: Settings) -> Encoding:
    """The model that `lp` or `milp` would hand to a solver, tightening by a solver included."""
    found = bounded(question, settings)
    return relaxation.encode_question(question, found, settings)


def _by_propagation(question: Question, settings: Settings) -> Answer:
    start = time.perf_counter()
    lower, _ = margin_bounds(question, SLOPES.get(settings.method))
    count = question.target_count
    return Answer(
        lower=lower,
        status=("bounded",) * count,
        candidates=np.empty((0, question.instance.image.size)),
        gap=np.full(count, np.inf),
        safety=np.zeros(count),
        certified=lower,
        source=SOURCES[settings.method],
        bounds_s=time.perf_counter() - start,
    )


def _logit_range(question: Question) -> dict[str, float]:
    """The smallest and the largest value that the interval bounds allow any logit."""
    lower, upper = interval_bounds(question.network, question.box[0][None], question.box[1][None])[-1]
    return {"logit_lower": float(lower.min()), "logit_upper": float(upper.max())}


def _by_solver(question: Question, settings: Settings) -> Answer:
    deadline, begin = relaxation.deadline_of(settings.options), time.perf_counter()
    found = bounded(question, settings)
    bounds_s = time.perf_counter() - begin
    candidates, starts, stage_s = [linear_corners(question, found.layers)], None, {}
    if settings.start == "witness":
        begin = time.perf_counter()
        starts = strongest_inputs(question)
        stage_s = {"attack": time.perf_counter() - begin}
        candidates.append(starts)
    answer = relaxation.solve(question, found, settings, deadline=deadline, starts=starts)
    candidates.append(answer.candidates)
    return replace(answer, bounds_s=bounds_s, candidates=np.concatenate(candidates), stage_s=stage_s)


def _staged(question: Question, settings: Settings) -> Answer:
    return staged.solve(question, settings, relaxation.deadline_of(settings.options))


ANSWERS = {"lp": _by_solver, "milp": _by_solver, "staged": _staged}


def _outcome(
    question: Question, answer: Answer, settings: Settings, start_s: float, more_counters: dict[str, Any]
) -> Outcome:
    """Replay the candidates and judge. The image itself is the first candidate: its margins bound the minimum too."""
    network, instance = question.network, question.instance
    points = np.concatenate([instance.image[None], into_box(instance, answer.candidates)])
    upper, worst = least_margins(network, instance, points)
    witness_margin = float(upper.min())
    decision = decide(
        instance.targets,
        answer.lower,
        upper,
        witness_margin,
        answer.status,
        safety=answer.safety,
        source=answer.source,
        messages=answer.messages,
    )
    witness_double, witness_single = (
        is_wrong(run(network, instance, points[worst])) for run in (replay_double, replay_single)
    )
    none = np.full(len(upper), -np.inf)
    return Outcome(
        method=settings.method,
        solver=settings.solver if settings.by_solver else None,
        switches=settings.switches,
        label=instance.label,
        epsilon=instance.epsilon,
        verdict=decision.verdict,
        evidence=decision.evidence,
        tier=tier_of(
            decision.verdict,
            answer.lower,
            answer.certified,
            witness_double=witness_double,
            witness_single=witness_single,
        ),
        reason=decision.reason,
        targets=np.array(instance.targets),
        # An excess within the safety is the solver's rounding; a larger one stays for all to see.
        lower=np.where(contradicted(answer.lower, upper, answer.safety), answer.lower, np.minimum(answer.lower, upper)),
        upper=upper,
        safety=answer.safety,
        claimed=none if answer.claimed is None else answer.claimed,
        certified=answer.certified,
        violation=answer.violation,
        bounds_used=settings.bounds_used,
        status=answer.status,
        stage=answer.stage,
        witness=points[worst] if witness_margin < 0 else None,
        worst_input=points[worst],
        witness_double=witness_double,
        witness_single=witness_single,
        bounds_s=answer.bounds_s,
        build_s=answer.build_s,
        solve_s=answer.solve_s,
        total_s=time.perf_counter() - start_s,
        stage_s=answer.stage_s,
        gap=answer.gap,
        counters=answer.counters | more_counters,
        trace=at_targets(answer.trace, instance.targets),
    )
