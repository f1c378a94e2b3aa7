"""What every back-end must keep, whoever wrote it."""

from __future__ import annotations

import itertools
import math
import re
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from networks.layers import Array
from solvers.backend import Backend, SolverOptions
from solvers.linear_model import LinearModel, ModelError
from solvers.result import SolveResult, Status
from tests.solvers import tiny_models
from tests.solvers.tiny_models import INF, LPS, MIPS, TinyModel, leaking_model, market_split, random_lp, random_mip

TOLERANCE = 1e-6  # ten times the feasibility tolerance asked for
# Where a back-end's solver says less than it should, though nothing wrong.
SAYS_LESS = {"cvxpy": [(Status.ERROR, "unbounded integers")]}  # SciPy has one status for this and for any failure
MANY = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def solve(backend: Backend, model: LinearModel, options: SolverOptions | None = None) -> SolveResult:
    with backend.load(model, options) as session:
        return session.solve()


def assert_sound(result: SolveResult, model: LinearModel) -> None:
    """What holds of every result, however the solve ended."""
    assert (result.x is None) == math.isnan(result.objective)
    if result.x is not None:
        assert model.violation(result.x) < TOLERANCE
        assert result.objective == pytest.approx(model.objective(result.x), rel=1e-9, abs=1e-9)
        assert result.dual_bound <= result.objective + TOLERANCE * max(1.0, abs(result.objective))
    assert result.raw_status or result.message


def assert_answers(result: SolveResult, tiny: TinyModel, backend: Backend) -> None:
    assert_sound(result, tiny.model)
    assert result.status in tiny.statuses or (result.status, tiny.name) in SAYS_LESS.get(backend.name, [])
    if tiny.optimum is not None:
        assert result.objective == pytest.approx(tiny.optimum, abs=TOLERANCE, rel=TOLERANCE)
        assert result.dual_bound <= tiny.optimum + TOLERANCE
        if backend.capabilities.dual_bound and not (math.isinf(result.dual_bound) and has_open_column(tiny.model)):
            assert result.dual_bound == pytest.approx(tiny.optimum, abs=2 * TOLERANCE, rel=2 * TOLERANCE)
    else:
        assert result.x is None
        assert result.dual_bound == (math.inf if result.status is Status.INFEASIBLE else -math.inf)


def has_open_column(model: LinearModel) -> bool:
    """Whether a column has no bound: an interior-point method's duals then prove nothing, and it may say so."""
    return bool(np.isinf([model.col_lower, model.col_upper]).any())


@pytest.mark.parametrize("tiny", LPS, ids=lambda tiny: tiny.name)
def test_lp_has_its_known_answer(backend: Backend, tiny: TinyModel) -> None:
    assert_answers(solve(backend, tiny.model), tiny, backend)


@pytest.mark.parametrize("tiny", MIPS, ids=lambda tiny: tiny.name)
def test_mip_has_its_known_answer(mip_backend: Backend, tiny: TinyModel) -> None:
    assert_answers(solve(mip_backend, tiny.model), tiny, mip_backend)


@pytest.mark.parametrize("size", [1e16, 1e-12])
def test_extreme_coefficient_never_makes_a_feasible_model_infeasible(backend: Backend, size: float) -> None:
    model = tiny_models.model([1], [[size]], [(size, INF)], [(-2, 2)])
    result = solve(backend, model)
    assert result.status in (Status.OPTIMAL, Status.ERROR, Status.UNKNOWN)
    assert result.status is not Status.OPTIMAL or size < 1 or result.objective == pytest.approx(1, abs=TOLERANCE)
    assert result.dual_bound <= 1 + TOLERANCE


def test_integrality_does_not_leak_through_a_big_m(mip_backend: Backend) -> None:
    result = solve(mip_backend, leaking_model())
    assert result.status is Status.OPTIMAL
    assert abs(result.objective) < 1e-5
    assert result.dual_bound < 1e-5


def test_loose_integrality_does_leak_so_that_the_test_above_tests_something() -> None:
    from tests.solvers.conftest import backend_or_skip

    gurobi = backend_or_skip("gurobi")  # HiGHS did so too, until 1.15
    result = solve(gurobi, leaking_model(), SolverOptions(integrality_tolerance=1e-5))
    assert result.objective == pytest.approx(-0.05, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_lp_agrees_with_highs(backend: Backend, seed: int) -> None:
    from solvers.backends.highs_ import Highs

    model = random_lp(seed)
    result = solve(backend, model)
    assert_sound(result, model)
    assert result.objective == pytest.approx(solve(Highs(), model).objective, abs=TOLERANCE)


@pytest.mark.parametrize("seed", range(3))
def test_mip_agrees_with_highs(mip_backend: Backend, seed: int) -> None:
    from solvers.backends.highs_ import Highs

    model = random_mip(seed)
    result = solve(mip_backend, model)
    assert_sound(result, model)
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
    return tiny_models.model(c, A, sides, bounds, [1, 1, 1, 0], offset=draw(whole))


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
    assert_sound(result, model)
    if math.isinf(optimum):
        assert result.status in tiny_models.INFEASIBLE
    else:
        assert result.status is Status.OPTIMAL
        assert result.objective == pytest.approx(optimum, abs=TOLERANCE)
        assert result.dual_bound <= optimum + TOLERANCE


def objectives(column_count: int) -> list[tuple[Array, float]]:
    """Costs and offsets; the second turns the first round, so that an incumbent kept as a cutoff would be wrong."""
    first = np.random.default_rng(3).normal(size=column_count)
    return [(first, 0.0), (-first, 2.0), (np.zeros(column_count), -1.0), (np.roll(first, 1), 5.0)]


def assert_session_equals_fresh_solves(backend: Backend, model: LinearModel) -> None:
    with backend.load(model) as session:
        session.solve()
        for c, offset in objectives(model.column_count):
            session.set_objective(c, offset)
            warm = session.solve()
            fresh = solve(backend, model.with_objective(c, offset))
            assert_sound(warm, model.with_objective(c, offset))
            assert warm.status is fresh.status is Status.OPTIMAL
            assert warm.objective == pytest.approx(fresh.objective, abs=2 * TOLERANCE)
            assert warm.dual_bound <= fresh.objective + TOLERANCE


def test_lp_session_solved_for_several_objectives_equals_fresh_solves(backend: Backend) -> None:
    assert_session_equals_fresh_solves(backend, random_lp(1))


def test_mip_session_solved_for_several_objectives_equals_fresh_solves(mip_backend: Backend) -> None:
    assert_session_equals_fresh_solves(mip_backend, random_mip(1))


def test_mip_counts_are_of_one_solve_and_do_not_add_up(mip_backend: Backend) -> None:
    with mip_backend.load(random_mip(2, rows=10, columns=24)) as session:
        first, second = session.solve(), session.solve()
    assert (second.nodes, second.simplex_iterations) == (first.nodes, first.simplex_iterations)
    assert second.objective == first.objective
    assert second.work == pytest.approx(first.work, rel=0.5) if first.work is not None else second.work is None


def test_session_says_what_loading_and_solving_took(backend: Backend) -> None:
    with backend.load(random_lp(0)) as session:
        first = session.solve()
        unchanged = session.solve()
        session.set_objective(np.ones(20))
        changed = session.solve()
    assert min(first.build_s, first.solve_s, unchanged.solve_s, changed.build_s, changed.solve_s) > 0
    assert unchanged.build_s == 0


def test_objective_that_does_not_fit_is_refused(backend: Backend) -> None:
    with backend.load(random_lp(0)) as session:
        for c in (np.ones(3), np.full(20, np.nan), np.full(20, np.inf)):
            with pytest.raises(ModelError, match="c has"):
                session.set_objective(c)
        assert session.solve().status is Status.OPTIMAL


def test_session_may_be_closed_twice(backend: Backend) -> None:
    session = backend.load(random_lp(0))
    session.close()
    session.close()


def test_row_duals_are_the_change_of_the_optimum_per_unit_of_the_active_side(backend: Backend) -> None:
    if not backend.capabilities.row_duals:
        pytest.skip(f"{backend.name} gives no row duals")
    model, step = random_lp(5), 1e-4
    result = solve(backend, model)
    assert result.row_duals is not None
    assert result.row_duals.shape == (model.row_count,)
    assert np.count_nonzero(np.abs(result.row_duals) > 1e-3) > 3
    with_step = [solve(backend, shifted(model, row, step)).objective for row in range(model.row_count)]
    slopes = (np.array(with_step) - result.objective) / step
    np.testing.assert_allclose(result.row_duals, slopes, atol=1e-3)


def shifted(model: LinearModel, row: int, step: float) -> LinearModel:
    """The model with both sides of one row moved up."""
    move = np.zeros(model.row_count)
    move[row] = step
    lower, upper = model.row_lower + move, model.row_upper + move
    return LinearModel(model.c, model.A, lower, upper, model.col_lower, model.col_upper, model.integer, model.offset)


@pytest.mark.parametrize(
    ("cost", "sides", "sign"),
    [(1.0, (1.0, 3.0), 1), (-1.0, (1.0, 3.0), -1), (1.0, (1.0, INF), 1), (-1.0, (-INF, 3), -1)],
)
def test_row_dual_is_positive_at_a_lower_side_and_negative_at_an_upper_one(
    backend: Backend, cost: float, sides: tuple[float, float], sign: int
) -> None:
    if not backend.capabilities.row_duals:
        pytest.skip(f"{backend.name} gives no row duals")
    result = solve(backend, tiny_models.model([cost, 2 * cost], [[1, 2]], [sides], [(0, 9), (0, 9)]))
    assert result.row_duals == pytest.approx([sign * 1.0], abs=1e-5)


def test_capabilities_are_kept_by_an_lp(backend: Backend) -> None:
    result, says = solve(backend, random_lp(1)), backend.capabilities
    assert math.isfinite(result.dual_bound) == says.dual_bound
    assert (result.row_duals is not None) == says.row_duals
    assert isinstance(result.simplex_iterations, int) == says.simplex_iterations
    assert isinstance(result.work, float) == says.work


def test_capabilities_are_kept_by_a_mip(mip_backend: Backend) -> None:
    result, says = solve(mip_backend, random_mip(1)), mip_backend.capabilities
    assert math.isfinite(result.dual_bound) == says.dual_bound
    assert isinstance(result.nodes, int) == says.nodes
    assert isinstance(result.simplex_iterations, int) == says.simplex_iterations
    assert isinstance(result.work, float) == says.work
    assert result.row_duals is None


def test_back_end_solves_mips_or_says_that_it_does_not(backend: Backend, request: pytest.FixtureRequest) -> None:
    from tests.solvers.conftest import LP_ONLY

    assert backend.capabilities.mip == (request.node.callspec.params["backend"] not in LP_ONLY)


@pytest.mark.parametrize(
    "options",
    [
        SolverOptions(threads=2, seed=7),
        SolverOptions(seed=2**31 - 1, time_limit_s=60),
        SolverOptions(mip_gap=0, feasibility_tolerance=0, integrality_tolerance=0),
        SolverOptions(mip_gap=0.5, feasibility_tolerance=0.5, integrality_tolerance=0.5),
    ],
    ids=["threads and seed", "largest seed", "tolerances of zero", "loose tolerances"],
)
def test_options_of_every_size_are_accepted(backend: Backend, options: SolverOptions) -> None:
    result = solve(backend, LPS[0].model, options)
    # A tolerance of zero is more than a method need reach; the answer is there all the same.
    assert result.status is Status.OPTIMAL or (options.feasibility_tolerance == 0 and result.status is Status.UNKNOWN)
    if options.feasibility_tolerance < 0.1:
        assert result.objective == pytest.approx(-9, abs=TOLERANCE)


def test_tiny_time_limit_is_a_time_limit_or_an_optimum(backend: Backend) -> None:
    model = random_lp(0, rows=60, columns=90)
    optimum = solve(backend, model).objective
    result = solve(backend, model, SolverOptions(time_limit_s=1e-9))
    assert result.status in (Status.TIME_LIMIT, Status.OPTIMAL)
    assert result.dual_bound <= optimum + TOLERANCE


@pytest.mark.parametrize("limit_s", [1e-9, 0.5])
def test_time_limit_stops_a_hard_mip_with_an_honest_bound(mip_backend: Backend, limit_s: float) -> None:
    model = market_split()
    with mip_backend.load(model, SolverOptions(time_limit_s=60)) as session:
        result = session.solve(limit_s)
    assert_sound(result, model)
    assert result.status is Status.TIME_LIMIT
    assert result.solve_s < limit_s + 4
    assert result.dual_bound <= TOLERANCE  # the planted optimum is 0
    assert math.isnan(result.objective) or result.objective >= -TOLERANCE


def test_time_limit_holds_for_each_solve_and_not_for_all_together(backend: Backend) -> None:
    model = random_lp(0, rows=60, columns=90)
    rng = np.random.default_rng(0)
    with backend.load(model) as session:
        limit_s = max(0.3, 10 * session.solve().solve_s)
        end = time.perf_counter() + 1.5 * limit_s
        while time.perf_counter() < end:
            session.set_objective(rng.normal(size=model.column_count))
            assert session.solve(limit_s).status is Status.OPTIMAL


def test_second_time_limit_of_a_session_is_as_long_as_the_first(mip_backend: Backend) -> None:
    with mip_backend.load(market_split()) as session:
        taken = [session.solve(0.4).solve_s for _ in range(2)]
    assert min(taken) > 0.2
    assert max(taken) < 4


def test_version_is_a_number(backend: Backend) -> None:
    assert re.match(r"\d+\.\d+", backend.version())
