"""A MILP's search that is given a stop or a start, and its special constraints."""

from __future__ import annotations

import math

import numpy as np

from solvers.backend import SolverOptions
from solvers.conformance import models
from solvers.conformance.candidate import (
    TOLERANCE,
    Candidate,
    expect,
    expect_at_most,
    expect_near,
    expect_status,
    sound,
)
from solvers.conformance.models import INFEASIBLE, market_split, planted_solution, random_lp, random_mip, random_pairs
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

FAR = 1e-4  # further from a stop than any tolerance
DISTANCES = (-1.5, -FAR, FAR, 1.5)  # of a stop from the optimum
NODES = 20  # that a search is limited to
SOON_S = 20.0  # far more than a search takes that may stop at once
ENDED = {Status.OPTIMAL, Status.TARGET_REACHED}


def honest(result: SolveResult, optimum: float, below: float = -math.inf, above: float = math.inf) -> SolveResult:
    """The result itself, if it is true of a MILP with this optimum that might stop below and above these values.

    TARGET_REACHED must show the solution or the bound that it rests on.
    """
    expect_at_most("dual bound", result.dual_bound, optimum, 2 * TOLERANCE)
    expect_status(result, ENDED)
    if result.status is Status.OPTIMAL:
        expect_near("objective of an `optimal`", result.objective, optimum, 2 * TOLERANCE)
    else:
        reached = result.objective <= below + TOLERANCE or result.dual_bound >= above - TOLERANCE
        said = f"target_reached with objective {result.objective:.10g} and dual bound {result.dual_bound:.10g}"
        expect(reached, said, f"an objective of at most {below:g} or a bound of at least {above:g}")
    return result


def stops_around_the_optimum(candidate: Candidate) -> None:
    """No stop, on either side of the optimum, makes a wrong `optimal` or `infeasible`, or outlives its solve."""
    known = [(tiny.model, tiny.optimum) for tiny in models.MIPS if tiny.optimum is not None]
    made = [(mip, candidate.solve(mip).objective) for mip in map(random_mip, range(3))]
    for model, optimum in [*known, *made]:
        with candidate.backend.load(model) as session:
            for distance in DISTANCES:
                stop = optimum + distance
                honest(session.solve(stop_below=stop), optimum, below=stop)
                honest(session.solve(stop_above=stop), optimum, above=stop)
            honest(session.solve(), optimum)


def stop_of_an_infeasible_mip(candidate: Candidate) -> str | None:
    """No stop makes a solution of an infeasible MILP."""
    allowed = INFEASIBLE | {Status.TARGET_REACHED, Status.ERROR}
    remark = None
    for tiny in (tiny for tiny in models.MIPS if tiny.statuses == INFEASIBLE):
        with candidate.backend.load(tiny.model) as session:
            result = session.solve(stop_below=0.0, stop_above=1.0)
        expect_status(result, allowed, tiny.name)
        expect(result.x is None, f"{tiny.name}: x {result.x}", "none")
        if result.status is Status.TARGET_REACHED:
            expect_at_most(f"{tiny.name}: the stop", 1.0, result.dual_bound, 0.0)
        if result.status is Status.ERROR:
            remark = f"says only {result.status} of {tiny.name!r}, which is less, but not wrong"
    return remark


def stop_at_a_good_solution(candidate: Candidate) -> None:
    """A hard search ends at a good solution."""
    model = market_split()
    with candidate.backend.load(model) as session:
        result = sound(session.solve(SOON_S, stop_below=2000.0), model)
    expect_status(result, {Status.TARGET_REACHED})
    honest(result, 0.0, below=2000.0)


def stop_at_a_good_bound(candidate: Candidate) -> None:
    """A hard search ends at a good bound; the session's next one goes on without it."""
    with candidate.backend.load(market_split()) as session:
        result, limited = session.solve(SOON_S, stop_above=-1.0), session.solve(0.3)
    expect_status(result, {Status.TARGET_REACHED})
    honest(result, 0.0, above=-1.0)
    expect_status(limited, {Status.TIME_LIMIT}, "the next solve")


def node_limit(candidate: Candidate) -> None:
    """A hard search ends after so many nodes, at the same place each time, with a bound that is one."""
    model = market_split()
    with candidate.backend.load(model, SolverOptions(node_limit=NODES)) as session:
        first, second = (sound(session.solve(SOON_S), model) for _ in range(2))
    expect_status(first, {Status.OTHER_LIMIT})
    expect_at_most("dual bound", first.dual_bound, 0.0, 2 * TOLERANCE)
    if math.isfinite(first.dual_bound):  # not every solver says one
        expect_near("dual bound, the second time", second.dual_bound, first.dual_bound, TOLERANCE)
    if first.nodes is not None:
        expect_at_most("nodes", first.nodes, 2 * NODES, 0.0)


def stop_with_an_offset(candidate: Candidate) -> None:
    """A stop is a value of the objective with its offset."""
    with candidate.backend.load(models.KNAPSACK) as session:
        session.set_objective(models.KNAPSACK.c, offset=100.0)
        honest(session.solve(stop_below=87.5), 87.0, below=87.5)
        honest(session.solve(stop_above=86.5), 87.0, above=86.5)


def no_stop_of_an_lp(candidate: Candidate) -> None:
    """An LP is solved to its end, whatever the stops."""
    with candidate.backend.load(random_lp(1)) as session:
        optimum = session.solve().objective
        result = session.solve(stop_below=optimum + 1, stop_above=optimum - 1)
    expect_status(result, {Status.OPTIMAL})
    expect_near("objective", result.objective, optimum, 2 * TOLERANCE)


def start_is_the_incumbent(candidate: Candidate) -> None:
    """A search that begins with the solution has it; one that no longer does finds it not within its time."""
    model, point = market_split(), planted_solution()
    with candidate.backend.load(model) as session:
        session.set_start(point)
        result = sound(session.solve(SOON_S, stop_below=1e-3), model)
        session.set_start(None)
        without = session.solve(0.3)
    expect_status(result, ENDED)
    expect_near("objective", result.objective, 0.0, 1e-3)
    expect_status(without, {Status.TIME_LIMIT}, "without the start again")
    expect(not without.objective <= 0.5, f"objective {without.objective} without the start", "no solution so good")


def bad_start(candidate: Candidate) -> None:
    """A start that is not whole, infeasible or out of its bounds does no harm, nor to the next objective."""
    for seed, move in enumerate((0.0, 0.3, 1.0, 50.0)):
        model = random_mip(seed)
        optimum, turned = (candidate.solve(mip) for mip in (model, _scaled(model, -1.0)))
        expect(optimum.x is not None, f"{optimum.status} without x", "a solution")
        with candidate.backend.load(model) as session:
            session.set_start(np.asarray(optimum.x) + move)
            honest(sound(session.solve(), model), optimum.objective)
            session.set_objective(-model.c, -model.offset)
            honest(session.solve(), turned.objective)


def constraints_as_big_m(candidate: Candidate, form: str) -> None:
    """Special ordered sets or indicator constraints have the optimum of the same model with a big-M."""
    for seed in range(4):
        model = random_pairs(seed, form)
        with candidate.backend.load(model) as session:
            for factor in (1.0, -1.0):
                optimum = candidate.solve(_scaled(random_pairs(seed), factor)).objective
                session.set_objective(factor * model.c, factor * model.offset)
                result = honest(sound(session.solve(), session.model), optimum)
                expect(result.row_duals is None, "row duals of a MILP", "none")
                honest(session.solve(stop_above=optimum - 0.5), optimum, above=optimum - 0.5)


def _scaled(model: LinearModel, factor: float) -> LinearModel:
    """The model with its objective times a factor."""
    return model.with_objective(factor * model.c, factor * model.offset)
