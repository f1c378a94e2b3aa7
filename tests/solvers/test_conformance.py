"""What every back-end must keep: the table of `solvers.conformance`, and random models beyond it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from solvers.backend import Backend, SolverOptions
from solvers.conformance import models
from solvers.conformance.candidate import TOLERANCE, Candidate, Check, sound
from solvers.conformance.checks import CHECKS
from solvers.conformance.kit import run_check
from solvers.conformance.models import INF, leaking_model, random_lp, random_mip
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status
from tests.solvers.conftest import LP_ONLY, NAMES, backend_or_skip

# Remarks: where a back-end says less than it should, though nothing wrong. More than these is a change worth a look.
SAYS_LESS = {
    ("cvxpy:SCIPY", "unbounded integers"): "says only error",  # one status for this and for any failure
    ("cbc", "of an infeasible MILP"): "says only error",  # it crashes where it may not preprocess
    ("cvxpy:CLARABEL", "options of every size"): "says unknown with tolerances of zero",
}
# Behind CVXPY these are asked only for what CVXPY does with options and processes.
BEHIND_CVXPY = ("cvxpy:HIGHS", "cvxpy:GUROBI")
OF_BEHIND = {"extreme coefficients", "integrality", "manners", "interruption", "a nanosecond for an LP"}
CASES = [
    pytest.param(name, check, id=f"{name}-{check.group}: {check.name}")
    for name in (*NAMES, *BEHIND_CVXPY)
    for check in CHECKS
    if name in NAMES or {check.group, check.name} & OF_BEHIND
]
LEAK = 1e-5  # of SciPy's integrality tolerance of 1e-6, which cannot be set, by costs of up to 4
MANY = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def solve(backend: Backend, model: LinearModel, options: SolverOptions | None = None) -> SolveResult:
    with backend.load(model, options) as session:
        return sound(session.solve(), model)


@pytest.mark.parametrize(("name", "check"), CASES)
def test_back_end_conforms(name: str, check: Check) -> None:
    result = run_check(check, Candidate(name, backend_or_skip(name)))
    if result.outcome == "skipped":
        pytest.skip(f"{name}: {result.detail}")
    assert result.outcome == "passed", result.detail
    if "says" in result.detail:
        assert result.detail.startswith(SAYS_LESS[name, check.name])


def test_every_check_has_a_name_of_its_own_and_groups_stand_together() -> None:
    assert len({(check.group, check.name) for check in CHECKS}) == len(CHECKS)
    in_order = [group for group, _ in itertools.groupby(check.group for check in CHECKS)]
    assert len(set(in_order)) == len(in_order)


def test_loose_integrality_does_leak_so_that_the_check_of_leakage_checks_something() -> None:
    gurobi = backend_or_skip("gurobi")  # HiGHS did so too, until 1.15
    with gurobi.load(leaking_model(), SolverOptions(integrality_tolerance=1e-5)) as session:
        assert session.solve().objective == pytest.approx(-0.05, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_lp_agrees_with_highs(backend: Backend, seed: int) -> None:
    from solvers.backends.highs_ import Highs

    model = random_lp(seed)
    result = solve(backend, model)
    assert result.objective == pytest.approx(solve(Highs(), model).objective, abs=TOLERANCE)


@pytest.mark.parametrize("seed", range(3))
def test_mip_agrees_with_highs(mip_backend: Backend, seed: int) -> None:
    from solvers.backends.highs_ import Highs

    model = random_mip(seed)
    result = solve(mip_backend, model)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(solve(Highs(), model).objective, abs=2 * TOLERANCE)


@st.composite
def small_mips(draw: DrawFn) -> LinearModel:
    """Three whole columns and a continuous one, whole data: small enough to try every point."""
    whole = st.integers(-4, 4)
    row_count = draw(st.integers(0, 3))
    A = [draw(st.lists(whole, min_size=4, max_size=4)) for _ in range(row_count)]
    sides = [
        (draw(st.sampled_from([-INF, -6, -1, 1])), draw(st.sampled_from([INF, 1, 2, 7]))) for _ in range(row_count)
    ]
    bounds = [(draw(st.integers(-2, 0)), draw(st.integers(0, 2))) for _ in range(4)]
    c = draw(st.lists(whole, min_size=4, max_size=4))
    return models.model(c, A, sides, bounds, [1, 1, 1, 0], offset=draw(whole))


def brute_force(model: LinearModel) -> float:
    """The optimum by trying every whole point; the last column is then a problem of one interval. inf: infeasible."""
    A = model.A.toarray()
    ranges = [
        range(int(low), int(high) + 1) for low, high in zip(model.col_lower[:3], model.col_upper[:3], strict=True)
    ]
    best = math.inf
    for point in itertools.product(*ranges):
        low, high = model.col_lower[3], model.col_upper[3]
        fixed = A[:, :3] @ np.array(point, dtype=float)
        for a, rest_low, rest_high in zip(A[:, 3], model.row_lower - fixed, model.row_upper - fixed, strict=True):
            if a == 0:
                low = low if rest_low <= 0 <= rest_high else math.inf
            else:
                ends = sorted([rest_low / a, rest_high / a])
                low, high = max(low, ends[0]), min(high, ends[1])
        if low <= high:
            best = min(best, *(model.objective(np.array([*point, end], dtype=float)) for end in (low, high)))
    return best


@MANY
@given(model=small_mips())
def test_small_mip_agrees_with_brute_force(mip_backend: Backend, model: LinearModel) -> None:
    optimum = brute_force(model)
    result = solve(mip_backend, model)
    if math.isinf(optimum):
        assert result.status in models.INFEASIBLE
    else:
        assert result.status is Status.OPTIMAL
        assert result.objective == pytest.approx(optimum, abs=LEAK)
        assert result.dual_bound <= optimum + TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_back_end_solves_mips_or_says_that_it_does_not(name: str) -> None:
    assert backend_or_skip(name).capabilities.mip == (name not in LP_ONLY)
