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
from solvers.duality import weak_duality_bound
from solvers.encode import Encoding, encode, power_of_two
from solvers.registry import get
from solvers.result import SolveResult, Status

# Searches that may end so have a bound to show; of any other end none is believed.
BOUNDING = {Status.OPTIMAL, Status.TIME_LIMIT, Status.OTHER_LIMIT, Status.TARGET_REACHED, Status.INTERRUPTED}
# A solver's bound counts as positive only beyond this share of the margin's largest term, and of one: ten times the
# feasibility tolerance that is asked of it.
SOLVER_SAFETY = 1e-6
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
    scales = _scales(encoding)
    model = encoding.model.with_objective(*_objective(encoding, 0, scales[0]))
    with backend.load(model, replace(settings.options, time_limit_s=None)) as session:
        results = [_solve_target(session, encoding, index, scale, deadline) for index, scale in enumerate(scales)]
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


def _solve_target(session: Session, encoding: Encoding, index: int, scale: float, deadline: float) -> SolveResult:
    if index > 0:  # the model is loaded with the first target's objective
        session.set_objective(*_objective(encoding, index, scale))
    share = (deadline - time.perf_counter()) / (len(encoding.offsets) - index)
    if share <= 0:
        return SolveResult(Status.TIME_LIMIT)
    result = session.solve(share if math.isfinite(share) else None)
    bound = _believed(session, result)
    return replace(result, objective=result.objective * scale, dual_bound=bound * scale)


def _scales(encoding: Encoding) -> list[float]:
    """What the objectives are divided by, so that a solver's dual tolerance of 1e-7 is small against their costs."""
    return [power_of_two(size) for size in np.abs(encoding.objectives).max(axis=1, initial=0.0).tolist()]


def _objective(encoding: Encoding, index: int, scale: float) -> tuple[Array, float]:
    return encoding.objectives[index] / scale, float(encoding.offsets[index]) / scale


def _believed(session: Session, result: SolveResult) -> float:
    """The dual bound, as far as the status lets a search have one, and an LP's own row duals prove it.

    INFEASIBLE says that no input exists at all, which a non-empty box contradicts: it is no bound here.
    """
    if result.status not in BOUNDING or not math.isfinite(result.dual_bound):
        return -math.inf
    if result.row_duals is None:
        return result.dual_bound
    proved = weak_duality_bound(session.model, result.row_duals)
    # Columns without bounds, as the textbook formulation has them, leave the duals nothing to prove.
    return min(result.dual_bound, proved) if math.isfinite(proved) else result.dual_bound


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
        lower=np.array([result.dual_bound for result in results]),
        status=tuple(result.status.value for result in results),
        candidates=_stacked(solutions, encoding.input_count),
        gap=np.array([result.gap for result in results]),
        safety=SOLVER_SAFETY * np.maximum(1.0, encoding.magnitudes),
        build_s=build_s,
        solve_s=sum(result.solve_s for result in results),
        counters=counters,
        messages=tuple(result.message for result in results),
    )


def _stacked(points: list[Array], size: int) -> Array:
    return np.array(points).reshape(len(points), size)
