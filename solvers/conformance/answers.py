"""Models with a known answer: is it the one that the back-end gives?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial

import numpy as np

from networks.errors import InputError
from solvers.backend import CONSTRAINTS, SolverOptions
from solvers.conformance import models
from solvers.conformance.candidate import TOLERANCE, Candidate, expect, expect_at_most, expect_near, expect_status
from solvers.conformance.models import INF, UNBOUNDED, TinyModel
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

# Of a MILP without a bound some solvers say no more than that they have failed, which is less, but not wrong: no
# verification asks it, as every column has bounds there.
SAYS_LESS = {Status.ERROR, Status.UNKNOWN}
EXTREME_COEFFICIENTS = (1e16, 1e-12)
SMALL_COEFFICIENTS, WIDTH = (5e-10, 5e-13, 5e-14, 5e-15), 1e7
EXTREME_OPTIONS = (
    SolverOptions(threads=2, seed=7),
    SolverOptions(seed=2**31 - 1, time_limit_s=60),
    SolverOptions(mip_gap=0, feasibility_tolerance=0, integrality_tolerance=0),
    SolverOptions(mip_gap=0.5, feasibility_tolerance=0.5, integrality_tolerance=0.5),
)
LEAK = 1e-5  # `leaking_model` leaks 0.05 through a tolerance of 5e-6, and 1e-5 through the 1e-9 asked for


def known_answer(candidate: Candidate, tiny: TinyModel) -> str | None:
    """The status, the optimum and the dual bound of a tiny model are the known ones."""
    result = candidate.solve(tiny.model)
    says_less = tiny.model.is_mip and tiny.statuses == UNBOUNDED and result.status in SAYS_LESS
    if not says_less:
        expect_status(result, tiny.statuses)
    if tiny.optimum is None:
        _expect_no_optimum(result)
    else:
        expect_near("objective", result.objective, tiny.optimum)
        _expect_bound(result, tiny.model, tiny.optimum, has_bound=candidate.backend.capabilities.dual_bound)
    return f"says only {result.status}, which is less, but not wrong" if says_less else None


def _expect_no_optimum(result: SolveResult) -> None:
    expect(result.x is None, f"x {result.x} of a model that is {result.status}", "none")
    bound = math.inf if result.status is Status.INFEASIBLE else -math.inf
    expect(result.dual_bound == bound, f"dual bound {result.dual_bound} of a model that is {result.status}", f"{bound}")


def _expect_bound(result: SolveResult, model: LinearModel, optimum: float, *, has_bound: bool) -> None:
    expect_at_most("dual bound", result.dual_bound, optimum)
    # Of a column without bounds, an interior-point method's duals prove nothing, and it may say so.
    open_column = bool(np.isinf([model.col_lower, model.col_upper]).any())
    if has_bound and not (result.dual_bound == -math.inf and open_column):
        expect_near("dual bound", result.dual_bound, optimum, 2 * TOLERANCE)


def extreme_coefficient(candidate: Candidate, size: float) -> str | None:
    """A coefficient that a solver refuses or drops does not make a feasible model infeasible."""
    result = candidate.solve(models.model([1], [[size]], [(size, INF)], [(-2, 2)]))
    expect_status(result, {Status.OPTIMAL, Status.ERROR, Status.UNKNOWN})
    if result.status is Status.OPTIMAL and size > 1:
        expect_near("objective", result.objective, 1.0)
    expect_at_most("dual bound", result.dual_bound, 1.0)
    return None if result.status is Status.OPTIMAL else f"{result.status}: {result.message or result.raw_status}"


def dropped_coefficient(candidate: Candidate) -> str | None:
    """A row whose only coefficient is so small that a solver drops it is not infeasible: its column is wide."""
    remarks = []
    for size in SMALL_COEFFICIENTS:
        model = models.model([1], [[size]], [(0.5 * size * WIDTH, INF)], [(0, WIDTH)])
        result = candidate.solve(model)
        expect_status(result, {Status.OPTIMAL, Status.ERROR, Status.UNKNOWN}, f"{size:g} x >= {model.row_lower[0]:g}")
        expect_at_most(f"{size:g}: dual bound", result.dual_bound, 0.5 * WIDTH)
        if result.status is not Status.OPTIMAL:
            remarks.append(f"{size:g}")
    return f"no answer with {', '.join(remarks)}" if remarks else None


def big_m_without_leakage(candidate: Candidate) -> None:
    """The optimum of a model with a big-M is not what a loose integrality tolerance makes of it."""
    result = candidate.solve(models.leaking_model())
    expect_status(result, {Status.OPTIMAL})
    expect(abs(result.objective) < LEAK, f"objective {result.objective:.3g}", "0: a tolerance of 5e-6 leaks 0.05")
    expect_at_most("dual bound", result.dual_bound, 0.0, LEAK)


def barely_firing_neuron(candidate: Candidate) -> str | None:
    """A neuron that fires only near a corner is lost, if at all, within what the back-end's tolerance accounts for."""
    encoding, margin = models.barely_firing()
    c, offset, scale = encoding.objective(0)
    with candidate.backend.load(encoding.model.with_objective(c, offset)) as session:
        bound = session.solve().dual_bound * scale
        safety = float(encoding.safety(session.tolerance)[0])
    expect(
        bound <= margin + safety, f"dual bound {bound:.3g}", f"at most {margin:.3g}, and {safety:.3g} for tolerances"
    )
    lost = bound > margin + TOLERANCE
    return f"the bound is {bound - margin:.2g} too high; verdicts allow for {safety:.2g}" if lost else None


def near_ties(candidate: Candidate) -> None:
    """Of solutions that differ by 4e-6 the best is found, as the gap of 1e-6 that is asked for demands."""
    for seed in models.NEAR_TIES:
        model = models.near_tie(seed)
        result = candidate.solve(model)
        expect_status(result, {Status.OPTIMAL}, f"near tie {seed}")
        optimum = models.least_of_binaries(model)
        expect_near(f"near tie {seed}: objective", result.objective, optimum)
        expect_at_most(f"near tie {seed}: dual bound", result.dual_bound, optimum)


def lacks_are_refused(candidate: Candidate) -> str:
    """What the capabilities deny is refused with InputError, and a MILP is not answered with its relaxation."""
    able, backend = candidate.backend.capabilities, candidate.backend
    if not able.start:
        with backend.load(models.LPS[0].model) as session:
            _expect_refusal("a start", lambda: session.set_start([0.0, 0.0]))
    for form, words in CONSTRAINTS.items():
        if not getattr(able, form):
            _expect_refusal(words, partial(backend.load, models.random_pairs(0, form)))
    if not able.mip:
        expect_status(candidate.solve(models.KNAPSACK), SAYS_LESS, "a MILP")
    lacked = [name for name in ("mip", "start", *CONSTRAINTS) if not getattr(able, name)]
    return f"refuses {', '.join(lacked)}" if lacked else "lacks nothing"


def _expect_refusal(words: str, action: Callable[[], object]) -> None:
    try:
        action()
    except InputError:
        return
    expect(False, f"took {words}, which its capabilities deny", "InputError")


def any_options(candidate: Candidate) -> str | None:
    """Options of every size are taken: what the solver does not accept is clipped."""
    remark = None
    for options in EXTREME_OPTIONS:
        result = candidate.backend.load(models.LPS[0].model, options).solve()
        strict = options.feasibility_tolerance == 0  # more than a method need reach: it may say so
        expect_status(result, {Status.OPTIMAL, Status.UNKNOWN} if strict else {Status.OPTIMAL}, f"{options}")
        if result.status is Status.UNKNOWN:
            remark = "says unknown with tolerances of zero"
        elif options.feasibility_tolerance < 0.1:
            expect_near(f"{options}: objective", result.objective, -9.0)
    return remark


def version(candidate: Candidate) -> None:
    """The solver's version begins with a number."""
    said = candidate.backend.version()
    expect(re.match(r"\d+\.\d+", said) is not None, f"version {said!r}", "one such as 1.2")
