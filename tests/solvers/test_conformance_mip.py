"""What every back-end must keep of a MILP's extras: stops, as far as its capabilities go."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks.errors import InputError
from solvers.backend import Backend
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status
from tests.solvers.test_conformance import MANY, TOLERANCE, assert_sound, solve
from tests.solvers.tiny_models import MIPS, TinyModel, market_split, random_lp, random_mip

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
