"""One model solved several times: objectives, times, counts."""

from __future__ import annotations

import math

import numpy as np

from networks.layers import Array
from solvers.backend import SolverOptions
from solvers.conformance.candidate import (
    TOLERANCE,
    Candidate,
    expect,
    expect_at_most,
    expect_near,
    expect_status,
    sound,
)
from solvers.conformance.models import market_split, random_lp, random_mip
from solvers.linear_model import LinearModel, ModelError
from solvers.result import SolveResult, Status

LATE_S = 4.0  # what a solver may take beyond a limit of half a second
OPTIMAL = {Status.OPTIMAL}


def _objectives(column_count: int) -> list[tuple[Array, float]]:
    """Costs and offsets; the second turns the first round, so that an incumbent kept as a cutoff would be wrong."""
    first = np.random.default_rng(3).normal(size=column_count)
    return [(first, 0.0), (-first, 2.0), (np.zeros(column_count), -1.0), (np.roll(first, 1), 5.0)]


def changed_objectives(candidate: Candidate, model: LinearModel) -> None:
    """A session that goes from one objective to the next answers as fresh sessions do."""
    with candidate.backend.load(model) as session:
        session.solve()
        for number, (c, offset) in enumerate(_objectives(model.column_count), start=1):
            session.set_objective(c, offset)
            warm = sound(session.solve(), model.with_objective(c, offset))
            fresh = candidate.solve(model.with_objective(c, offset))
            for result in (warm, fresh):
                expect_status(result, OPTIMAL, f"objective {number}")
            expect_near(f"objective {number} of a session", warm.objective, fresh.objective, 2 * TOLERANCE)
            expect_at_most(f"dual bound of objective {number}", warm.dual_bound, fresh.objective)


def counts_of_one_solve(candidate: Candidate) -> None:
    """Solving a MILP twice costs the same twice: neither counts nor trees of the first solve are left."""
    with candidate.backend.load(random_mip(2, rows=10, columns=24)) as session:
        first, second = session.solve(), session.solve()
    for name in ("objective", "nodes", "simplex_iterations"):
        before, after = getattr(first, name), getattr(second, name)
        expect(before == after, f"{name} {after} of the second solve", f"{before} as of the first")
    if first.work is not None and second.work is not None:
        expect(0.5 * first.work <= second.work <= 1.5 * first.work, f"work {second.work}", f"about {first.work}")


def unfit_objective(candidate: Candidate) -> None:
    """Costs that do not fit are refused, and the session is as it was."""
    with candidate.backend.load(random_lp(0)) as session:
        for c in (np.ones(3), np.full(20, np.nan), np.full(20, np.inf)):
            try:
                session.set_objective(c)
            except ModelError:
                continue
            expect(False, f"took the costs {c[:3]} ... of shape {c.shape}", "ModelError")
        expect_status(session.solve(), OPTIMAL)


def times_and_closing(candidate: Candidate) -> None:
    """Loading and solving are timed apart, and a session may be closed twice."""
    with candidate.backend.load(random_lp(0)) as session:
        first, unchanged = session.solve(), session.solve()
        session.set_objective(np.ones(20))
        changed = session.solve()
    session.close()
    times = {
        "build_s of the first solve": first.build_s,
        "solve_s of the first solve": first.solve_s,
        "build_s after a change of the objective": changed.build_s,
        "solve_s of a solve again": unchanged.solve_s,
    }
    for name, seconds in times.items():
        expect(seconds > 0, f"{name} {seconds}", "above 0")
    expect(unchanged.build_s == 0, f"build_s {unchanged.build_s} of an unchanged model", "0")


def tiny_limit_of_an_lp(candidate: Candidate) -> None:
    """A time limit of a nanosecond is a time limit, or an optimum; its bound is one."""
    model = random_lp(0, rows=60, columns=90)
    optimum = candidate.solve(model).objective
    result = candidate.solve(model, SolverOptions(time_limit_s=1e-9))
    expect_status(result, {Status.TIME_LIMIT, Status.OPTIMAL})
    expect_at_most("dual bound", result.dual_bound, optimum)


def limit_of_a_hard_mip(candidate: Candidate, limit_s: float) -> None:
    """A MILP that is not done in time is a time limit, with a bound that is one; its optimum is 0."""
    model = market_split()
    with candidate.backend.load(model, SolverOptions(time_limit_s=30)) as session:
        result = sound(session.solve(limit_s), model)
    expect_status(result, {Status.TIME_LIMIT})
    _expect_in_time(result, limit_s)
    expect_at_most("dual bound", result.dual_bound, 0.0)


def limit_for_each_solve(candidate: Candidate) -> None:
    """A time limit holds for one solve: many of them in a session may take longer together."""
    model, rng = random_lp(0, rows=60, columns=90), np.random.default_rng(0)
    with candidate.backend.load(model) as session:
        limit_s, spent_s = max(0.2, 10 * session.solve().solve_s), 0.0
        while spent_s < 4 * limit_s:  # a good part of which is not the solver's
            session.set_objective(rng.normal(size=model.column_count))
            result = session.solve(limit_s)
            expect_status(result, OPTIMAL, "a solve of many in a session")
            spent_s += result.solve_s


def second_limit_as_long(candidate: Candidate) -> None:
    """The second time limit of a session of a MILP is as long as the first."""
    with candidate.backend.load(market_split()) as session:
        for which in ("first", "second"):
            result = session.solve(0.4)
            expect(result.solve_s > 0.2, f"the {which} solve within 0.4 s took {result.solve_s:.2f} s", "above 0.2 s")
            _expect_in_time(result, 0.4)


def _expect_in_time(result: SolveResult, limit_s: float) -> None:
    latest = limit_s + LATE_S
    expect(result.solve_s < latest, f"took {result.solve_s:.1f} s of a limit of {limit_s:g} s", f"below {latest:g} s")


def what_an_lp_tells(candidate: Candidate) -> None:
    """The capabilities say what the result of an LP has, no more and no less."""
    result, says = candidate.solve(random_lp(1)), candidate.backend.capabilities
    _expect_told("dual bound", math.isfinite(result.dual_bound), says.dual_bound)
    _expect_told("row duals", result.row_duals is not None, says.row_duals)
    _expect_told("simplex iterations", isinstance(result.simplex_iterations, int), says.simplex_iterations)
    _expect_told("work", isinstance(result.work, float), says.work)


def what_a_mip_tells(candidate: Candidate) -> None:
    """The capabilities say what the result of a MILP has; it has no row duals."""
    result, says = candidate.solve(random_mip(1)), candidate.backend.capabilities
    _expect_told("dual bound", math.isfinite(result.dual_bound), says.dual_bound)
    _expect_told("nodes", isinstance(result.nodes, int), says.nodes)
    _expect_told("simplex iterations", isinstance(result.simplex_iterations, int), says.simplex_iterations)
    _expect_told("work", isinstance(result.work, float), says.work)
    _expect_told("row duals", result.row_duals is not None, False)


def _expect_told(what: str, told: bool, promised: bool) -> None:
    expect(told == promised, f"{'' if told else 'no '}{what}", f"{'one' if promised else 'none'} by the capabilities")
