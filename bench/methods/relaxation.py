"""The methods `lp` and `milp`: one model a question, loaded once, solved for one target after another."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from bench.methods.answer import Answer
from networks.instance import Instance
from networks.layers import Array
from networks.lowering import BoundsPair, LoweredNetwork
from solvers.backend import Session, SolverOptions
from solvers.encode import Encoding, encode
from solvers.registry import get
from solvers.result import SolveResult, Status

COUNTED = ("nodes", "simplex_iterations", "work")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a relaxation is solved: which one, in which formulation, by which solver."""

    relaxation: bool
    formulation: str
    solver: str
    options: SolverOptions


def solve(lowered: LoweredNetwork, instance: Instance, bounds: list[BoundsPair], settings: Settings) -> Answer:
    """Lower bounds on all margins of `instance`, and the inputs that the solver found on its way.

    The time limit is for the encoding and all targets together: each target gets an equal share of what is left.
    """
    backend = get(settings.solver)
    deadline = _deadline(settings.options)
    start = time.perf_counter()
    encoding = encode_instance(lowered, instance, bounds, settings.relaxation, settings.formulation)
    with backend.load(encoding.model, replace(settings.options, time_limit_s=None)) as session:
        results = [_solve_target(session, encoding, index, deadline) for index in range(len(instance.targets))]
        elapsed_s = time.perf_counter() - start
    # Not the sum of the results' build_s: where no time was left for a target, no result has what was built for it.
    return _answer(encoding, results, elapsed_s - sum(result.solve_s for result in results))


def encode_instance(
    lowered: LoweredNetwork, instance: Instance, bounds: list[BoundsPair], relaxation: bool, formulation: str
) -> Encoding:
    """The model of an instance, given one pair of bounds a layer without a batch dimension."""
    box = instance.lower, instance.upper
    pre_activations = lowered.pre_activations(bounds, box)
    return encode(lowered, box, pre_activations, instance.margins, relaxation=relaxation, formulation=formulation)


def _solve_target(session: Session, encoding: Encoding, index: int, deadline: float) -> SolveResult:
    if index > 0:  # the model is loaded with the first target's objective
        session.set_objective(encoding.objectives[index], float(encoding.offsets[index]))
    share = (deadline - time.perf_counter()) / (len(encoding.offsets) - index)
    if share <= 0:
        return SolveResult(Status.TIME_LIMIT)
    return session.solve(share if math.isfinite(share) else None)


def _deadline(options: SolverOptions) -> float:
    return math.inf if options.time_limit_s is None else time.perf_counter() + options.time_limit_s


def _answer(encoding: Encoding, results: list[SolveResult], build_s: float) -> Answer:
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
    solutions = [encoding.input_of(result.x) for result in results if result.x is not None]
    return Answer(
        # INFEASIBLE says that no input exists at all, which a non-empty box contradicts: it is no bound here.
        lower=np.array([result.dual_bound if np.isfinite(result.dual_bound) else -np.inf for result in results]),
        status=tuple(result.status.value for result in results),
        candidates=_stacked(solutions, encoding.input_count),
        gap=np.array([result.gap for result in results]),
        build_s=build_s,
        solve_s=sum(result.solve_s for result in results),
        counters=counters,
        messages=tuple(result.message for result in results),
    )


def _stacked(points: list[Array], size: int) -> Array:
    return np.array(points).reshape(len(points), size)
