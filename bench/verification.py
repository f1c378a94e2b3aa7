"""`verify`: one question, one method, one outcome."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from bench.methods.answer import Answer
from bench.methods.relaxation import Settings, encode_instance, solve
from bench.outcome import Outcome
from bench.replay import into_box, replay, replay_single
from bench.verdict import contradicted, decide
from networks.bounds.interval import interval_bounds, interval_margins
from networks.errors import InputError
from networks.instance import Clip, Instance, ball
from networks.layers import LayerList
from networks.lowering import BoundsPair, LoweredNetwork, lower
from networks.zoo import load_network
from solvers.backend import SolverOptions
from solvers.encode import FORMULATIONS, Encoding
from solvers.registry import get

METHODS = ("interval", "lp", "milp")
SOURCES = {"interval": "interval bounds", "lp": "LP relaxation by {solver}", "milp": "MILP dual bound by {solver}"}

_lowered: weakref.WeakKeyDictionary[LayerList, LoweredNetwork] = weakref.WeakKeyDictionary()


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
    formulation: str = "compact",
) -> Outcome:
    """Bound the worst-case margins of `network` around `x`, and say what follows.

    Parameters
    ----------
    network : LayerList, str or Path
        A layer list, a zoo name, or a layer-list file.
    x : array_like, shape (*input_shape)
    label : int
    epsilon : float
        Radius of the l-infinity ball.
    method : {"interval", "lp", "milp"}
    solver : str
        A back-end of `relubench solvers`, or a variant such as `cvxpy:CLARABEL`. Not used by `interval`.
    clip : (float, float) or None
        The range of valid inputs.
    targets : int or iterable of int, optional
        The classes to compare with; all but the label unless given.
    time_limit_s : float, optional
        Wall-clock seconds for the encoding and all targets' solves together.
    threads, seed : int
        Of the solver.
    formulation : {"compact", "textbook"}
        See `solvers.encode`.

    Raises
    ------
    InputError
        An argument that does not fit. What a solver says is in the outcome, never an exception.
    SolverNotInstalledError
        The message has the command that installs it.
    """
    check_method(method, formulation)
    layer_list = load_network(network)
    options = SolverOptions(time_limit_s=time_limit_s, threads=threads, seed=seed)
    instance = ball(layer_list, x, label, epsilon, clip=clip, targets=targets)
    if method == "interval":
        return _verify_interval(layer_list, instance)
    get(solver)  # an unknown or missing solver is told before any work
    settings = Settings(method == "lp", formulation, solver, options)
    return _verify_by_solver(layer_list, instance, method, settings)


def check_method(method: str, formulation: str) -> None:
    """Raise InputError unless both are known."""
    if method not in METHODS:
        raise InputError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    if formulation not in FORMULATIONS:
        raise InputError(f"formulation is {formulation!r}; expected one of {', '.join(FORMULATIONS)}")


def lowered_network(network: LayerList) -> LoweredNetwork:
    """The lowering of a network, made once."""
    if network not in _lowered:
        _lowered[network] = lower(network)
    return _lowered[network]


def instance_bounds(network: LayerList, instance: Instance) -> list[BoundsPair]:
    """The interval bounds of every layer for one instance, without a batch dimension."""
    batched = interval_bounds(network, instance.lower[None], instance.upper[None])
    return [(lower_bound[0], upper_bound[0]) for lower_bound, upper_bound in batched]


def instance_encoding(network: LayerList, instance: Instance, *, relaxation: bool, formulation: str) -> Encoding:
    """The model of one instance, from interval bounds."""
    bounds = instance_bounds(network, instance)
    return encode_instance(lowered_network(network), instance, bounds, relaxation, formulation)


def _verify_interval(network: LayerList, instance: Instance) -> Outcome:
    counters = _logit_range(network, instance)  # before the clock starts: they are no part of the method
    start = time.perf_counter()
    lower_bounds, _ = interval_margins(network, instance.lower[None], instance.upper[None], instance.margins)
    bounds_s = time.perf_counter() - start
    count = len(instance.targets)
    answer = Answer(
        lower=np.asarray(lower_bounds[0]),
        status=("bounded",) * count,
        candidates=np.empty((0, instance.image.size)),
        gap=np.full(count, np.inf),
        safety=np.zeros(count),
        counters=counters,
    )
    return _outcome(network, instance, answer, "interval", None, start, bounds_s)


def _logit_range(network: LayerList, instance: Instance) -> dict[str, float]:
    """The smallest and the largest value that the interval bounds allow any logit."""
    lower_bound, upper_bound = instance_bounds(network, instance)[-1]
    return {"logit_lower": float(lower_bound.min()), "logit_upper": float(upper_bound.max())}


def _verify_by_solver(network: LayerList, instance: Instance, method: str, settings: Settings) -> Outcome:
    lowered = lowered_network(network)
    start = time.perf_counter()
    bounds = instance_bounds(network, instance)
    bounds_s = time.perf_counter() - start
    answer = solve(lowered, instance, bounds, settings)
    return _outcome(network, instance, answer, method, settings, start, bounds_s)


def _outcome(
    network: LayerList,
    instance: Instance,
    answer: Answer,
    method: str,
    settings: Settings | None,
    start: float,
    bounds_s: float,
) -> Outcome:
    """Replay the candidates and judge. The image itself is the first candidate: its margins bound the minimum too."""
    points = np.concatenate([instance.image[None], into_box(instance, answer.candidates)])
    margins = replay(network, instance, points)
    worst = int(margins.min(axis=1).argmin())
    witness_margin, upper = float(margins[worst].min()), margins.min(axis=0)
    solver = settings.solver if settings else None
    verdict, evidence = decide(
        instance.targets,
        answer.lower,
        upper,
        witness_margin,
        answer.status,
        safety=answer.safety,
        source=SOURCES[method].format(solver=solver),
        messages=answer.messages,
    )
    witness = points[worst] if witness_margin < 0 else None
    return Outcome(
        method=method,
        solver=solver,
        formulation=settings.formulation if settings else None,
        label=instance.label,
        epsilon=instance.epsilon,
        verdict=verdict,
        evidence=evidence,
        targets=np.array(instance.targets),
        # An excess in the last digits is rounding; a larger one stays for all to see.
        lower=np.where(contradicted(answer.lower, upper, answer.safety), answer.lower, np.minimum(answer.lower, upper)),
        upper=upper,
        status=answer.status,
        witness=witness,
        worst_input=points[worst],
        witness_single=None if witness is None else replay_single(network, instance, witness) < 0,
        bounds_s=bounds_s,
        build_s=answer.build_s,
        solve_s=answer.solve_s,
        total_s=time.perf_counter() - start,
        gap=answer.gap,
        counters=answer.counters,
    )
