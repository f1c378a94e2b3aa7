"""What every back-end must keep of a MILP's extras: stops, starts, sets and indicators, where it has them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks.errors import InputError
from networks.layers import Array
from solvers.backend import CONSTRAINTS, Backend
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status
from tests.solvers.test_conformance import MANY, TOLERANCE, assert_sound, solve
from tests.solvers.tiny_models import MIPS, TinyModel, market_split, random_lp, random_mip, random_pairs

KNAPSACK = MIPS[0]  # optimum -13, of whole numbers: a solver may round its bounds up
DISTANCES = st.sampled_from([-2.0, -0.5, -1e-3, -1e-5, 0.0, 1e-5, 1e-3, 0.5, 2.0])
# CBC 2.10.3 says "Problem is infeasible - tightenPrimalBounds!" of it and crashes, where it may not preprocess.
CRASHES = [("cbc", "no whole number in the bounds", Status.ERROR)]
FAR = 1e-4  # further from a stop than any tolerance


def stopping(backend: Backend) -> None:
    if not backend.capabilities.stop:
        pytest.skip(f"{backend.name} has no stops")


def assert_honest(result: SolveResult, optimum: float, below: float = -math.inf, above: float = math.inf) -> None:
    """What holds of a solve with stops, given the true optimum."""
    assert result.dual_bound <= optimum + 2 * TOLERANCE * max(1.0, abs(optimum))
    assert result.status in (Status.OPTIMAL, Status.TARGET_REACHED)
    if result.status is Status.OPTIMAL:
        assert result.objective == pytest.approx(optimum, abs=2 * TOLERANCE, rel=2 * TOLERANCE)
    else:
        assert result.objective <= below + TOLERANCE or result.dual_bound >= above - TOLERANCE


@MANY
@given(seed=st.integers(0, 30), below=DISTANCES, above=DISTANCES)
def test_stops_are_honest_and_do_not_outlive_their_solve(
    mip_backend: Backend, seed: int, below: float, above: float
) -> None:
    from solvers.backends.highs_ import Highs

    model = random_mip(seed)
    optimum = solve(Highs(), model).objective
    with mip_backend.load(model) as session:
        both = session.solve(stop_below=optimum + below, stop_above=optimum + above)
        alone = session.solve(stop_above=optimum + above)
        after = session.solve()
    for result in (both, alone, after):
        assert_sound(result, model)
    assert_honest(both, optimum, optimum + below, optimum + above)
    assert_honest(alone, optimum, above=optimum + above)
    assert_honest(after, optimum)


@pytest.mark.parametrize("tiny", [tiny for tiny in MIPS if tiny.optimum is not None], ids=lambda tiny: tiny.name)
@pytest.mark.parametrize("distance", [-1.5, -FAR, FAR, 1.5])
def test_stops_around_a_known_optimum_are_honest(mip_backend: Backend, tiny: TinyModel, distance: float) -> None:
    assert tiny.optimum is not None
    with mip_backend.load(tiny.model) as session:
        stop = tiny.optimum + distance
        assert_honest(session.solve(stop_below=stop), tiny.optimum, below=stop)
        assert_honest(session.solve(stop_above=stop), tiny.optimum, above=stop)
        assert_honest(session.solve(), tiny.optimum)


def test_infeasible_model_has_no_solution_below_a_stop(mip_backend: Backend) -> None:
    for tiny in (tiny for tiny in MIPS if Status.INFEASIBLE in tiny.statuses):
        with mip_backend.load(tiny.model) as session:
            result = session.solve(stop_below=0.0, stop_above=1.0)
        crashed = (mip_backend.name, tiny.name, result.status) in CRASHES
        assert crashed or result.status in {*tiny.statuses, Status.TARGET_REACHED}
        assert result.x is None
        assert result.status is not Status.TARGET_REACHED or result.dual_bound >= 1.0


def test_good_solution_ends_a_hard_search(mip_backend: Backend) -> None:
    stopping(mip_backend)
    model = market_split()
    with mip_backend.load(model) as session:
        result = session.solve(60, stop_below=2000.0)
    assert_sound(result, model)
    assert result.status is Status.TARGET_REACHED
    assert result.objective <= 2000 + TOLERANCE
    assert result.dual_bound <= TOLERANCE  # the planted optimum is 0
    assert result.solve_s < 20


def test_good_bound_ends_a_hard_search(mip_backend: Backend) -> None:
    stopping(mip_backend)
    with mip_backend.load(market_split()) as session:
        result = session.solve(60, stop_above=-1.0)
        limited = session.solve(0.3)
    assert result.status is Status.TARGET_REACHED
    assert -1 - TOLERANCE <= result.dual_bound <= TOLERANCE
    assert result.solve_s < 20
    assert limited.status is Status.TIME_LIMIT


def test_stops_are_left_out_of_an_lp(backend: Backend) -> None:
    model = random_lp(1)
    with backend.load(model) as session:
        optimum = session.solve().objective
        result = session.solve(stop_below=optimum + 1, stop_above=optimum - 1)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(optimum, abs=2 * TOLERANCE)


def test_stop_follows_the_objective_and_its_offset(mip_backend: Backend) -> None:
    model: LinearModel = KNAPSACK.model
    with mip_backend.load(model) as session:
        session.set_objective(model.c, offset=100.0)
        assert_honest(session.solve(stop_below=87.5), 87.0, below=87.5)
        assert_honest(session.solve(stop_above=86.5), 87.0, above=86.5)


@pytest.mark.parametrize("stop", [math.nan, math.inf, -math.inf])
def test_stop_that_is_not_finite_is_refused(backend: Backend, stop: float) -> None:
    with backend.load(random_lp(0)) as session:
        with pytest.raises(InputError, match="stop_below is"):
            session.solve(stop_below=stop)
        with pytest.raises(InputError, match="stop_above is"):
            session.solve(stop_above=stop)


START_KINDS = ["optimal", "feasible", "not whole", "infeasible", "out of bounds"]


def start_of(kind: str, model: LinearModel, optimal: Array, rng: np.random.Generator) -> Array:
    """A point to start from, of one kind; `feasible` is the optimum of another objective."""
    if kind == "feasible":
        from solvers.backends.highs_ import Highs

        other = solve(Highs(), model.with_objective(rng.normal(size=model.column_count), 0.0)).x
        assert other is not None
        return other
    moves = {"optimal": 0.0, "not whole": 0.3, "infeasible": 1.0, "out of bounds": 50.0}
    return optimal + moves[kind] * rng.choice([-1.0, 1.0], model.column_count)


@MANY
@given(seed=st.integers(0, 30), kind=st.sampled_from(START_KINDS), stop=st.none() | DISTANCES)
def test_no_start_makes_a_wrong_answer(mip_backend: Backend, seed: int, kind: str, stop: float | None) -> None:
    if not mip_backend.capabilities.start:
        pytest.skip(f"{mip_backend.name} takes no start")
    from solvers.backends.highs_ import Highs

    model = random_mip(seed)
    best = solve(Highs(), model)
    assert best.x is not None
    target = None if stop is None else best.objective + stop
    with mip_backend.load(model) as session:
        session.set_start(start_of(kind, model, best.x, np.random.default_rng(seed)))
        result = session.solve(stop_below=target)
        session.set_objective(-model.c, -model.offset)
        turned = session.solve()
        session.set_start(None)
        without = session.solve()
    assert_sound(result, model)
    assert_honest(result, best.objective, below=-math.inf if target is None else target)
    assert turned.status is without.status is Status.OPTIMAL
    assert turned.objective == pytest.approx(without.objective, abs=4 * TOLERANCE)


def test_start_is_the_incumbent_of_a_search_without_time(mip_backend: Backend) -> None:
    if not mip_backend.capabilities.start:
        pytest.skip(f"{mip_backend.name} takes no start")
    model, point = market_split_with_solution()
    with mip_backend.load(model) as session:
        session.set_start(point)
        result = session.solve(60, stop_below=model.objective(point) + 1e-3)
        session.set_start(None)
        without = session.solve(0.3)
    assert result.status in (Status.OPTIMAL, Status.TARGET_REACHED)
    assert result.objective == pytest.approx(0.0, abs=1e-3)
    assert without.status is Status.TIME_LIMIT
    assert without.x is None or without.objective > 0.5


def market_split_with_solution() -> tuple[LinearModel, Array]:
    """The hard model and its planted optimum, which no search of seconds finds."""
    model = market_split()
    planted = np.zeros(model.column_count)
    rng = np.random.default_rng(0)  # as `market_split` draws
    rng.integers(1, 100, size=(5, 40))
    planted[:40] = rng.integers(0, 2, size=40)
    assert model.violation(planted) == 0
    return model, planted


def test_start_that_does_not_fit_is_refused(backend: Backend) -> None:
    with backend.load(random_lp(0)) as session:
        for point in (np.ones(3), np.full(20, np.nan), np.full(20, np.inf)):
            with pytest.raises(InputError, match=r"x has|has no way to begin"):
                session.set_start(point)


def test_start_is_refused_by_a_solver_that_takes_none(backend: Backend) -> None:
    with backend.load(random_lp(1)) as session:
        if backend.capabilities.start:
            session.set_start(np.zeros(20))  # of no use to an LP, and no harm
        else:
            with pytest.raises(InputError, match=f"solver {backend.name} has no .*; `relubench solvers` lists"):
                session.set_start(np.zeros(20))
        assert session.solve().status is Status.OPTIMAL


@pytest.mark.parametrize("form", CONSTRAINTS)
@pytest.mark.parametrize("seed", range(4))
def test_sets_and_indicators_have_the_optimum_of_big_m(mip_backend: Backend, form: str, seed: int) -> None:
    if not getattr(mip_backend.capabilities, form):
        pytest.skip(f"{mip_backend.name} has no {CONSTRAINTS[form]}")
    model = random_pairs(seed, form)
    with mip_backend.load(model) as session:
        for factor in (1.0, -1.0):
            expected = solve(mip_backend, scaled(random_pairs(seed), factor)).objective
            session.set_objective(factor * model.c, factor * model.offset)
            result = session.solve()
            assert_sound(result, session.model)
            assert_honest(result, expected)
            assert result.row_duals is None
            assert_honest(session.solve(stop_above=expected - 0.5), expected, above=expected - 0.5)


def scaled(model: LinearModel, factor: float) -> LinearModel:
    """The model with its objective times a factor."""
    return model.with_objective(factor * model.c, factor * model.offset)


@pytest.mark.parametrize("form", CONSTRAINTS)
def test_sets_and_indicators_are_refused_by_a_solver_without(backend: Backend, form: str) -> None:
    words = CONSTRAINTS[form]
    if getattr(backend.capabilities, form):
        pytest.skip(f"{backend.name} has {words}")
    with pytest.raises(InputError, match=f"solver {backend.name} has no {words}; `relubench solvers` lists"):
        backend.load(random_pairs(0, form))
