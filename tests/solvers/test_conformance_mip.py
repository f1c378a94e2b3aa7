"""Stops and starts of random MILPs, beyond what the conformance kit asks, and what the contract itself refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks.errors import InputError
from networks.layers import Array
from solvers.backend import Backend
from solvers.conformance.candidate import TOLERANCE, sound
from solvers.conformance.models import random_lp, random_mip
from solvers.conformance.searches import honest
from solvers.linear_model import LinearModel
from solvers.result import Status
from tests.solvers.test_conformance import MANY, solve

DISTANCES = st.sampled_from([-2.0, -0.5, -1e-3, -1e-5, 0.0, 1e-5, 1e-3, 0.5, 2.0])


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
    honest(sound(both, model), optimum, optimum + below, optimum + above)
    honest(sound(alone, model), optimum, above=optimum + above)
    honest(sound(after, model), optimum)


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
    honest(sound(result, model), best.objective, below=-math.inf if target is None else target)
    assert turned.status is without.status is Status.OPTIMAL
    assert turned.objective == pytest.approx(without.objective, abs=4 * TOLERANCE)


def test_start_that_does_not_fit_is_refused(backend: Backend) -> None:
    with backend.load(random_lp(0)) as session:
        for point in (np.ones(3), np.full(20, np.nan), np.full(20, np.inf)):
            with pytest.raises(InputError, match=r"x has|has no way to begin"):
                session.set_start(point)
