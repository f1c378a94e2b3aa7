"""Traps that no check of the conformance kit asks for, as they are one solver's own. docs/solvers.md lists them all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from solvers.backends.cbc_ import Cbc
from solvers.backends.highs_ import HighsSession
from solvers.certify import believed_bound
from solvers.conformance.models import market_split, model
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status
from tests.solvers.conftest import backend_or_skip


def test_cbc_s_solution_has_more_than_the_eight_digits_that_it_prints() -> None:
    plain = model([1, 1], [[3.0, 0.0], [0.0, 7e4]], [(1, math.inf), (123456789, math.inf)], [(0, 9e3)] * 2)
    with Cbc().load(plain) as session:
        x = session.solve().x
    assert x is not None
    assert x.tolist() == pytest.approx([1 / 3, 123456789 / 7e4], rel=1e-14)


def test_cbc_s_model_has_the_last_bit_of_every_double() -> None:
    lower = np.random.default_rng(0).random(200)
    plain = LinearModel(np.ones(200), sparse.csr_array((0, 200)), [], [], lower, lower + 1)
    with Cbc().load(plain) as session:
        result = session.solve()
    assert result.x is not None
    assert result.x.tolist() == lower.tolist()


def test_highs_stops_at_a_solution_whose_objective_is_exactly_the_stop() -> None:
    session = backend_or_skip("highs").load(market_split())
    assert isinstance(session, HighsSession)
    session.solve(0.1, stop_below=-1.0)
    assert session._highs.getOptionValue("objective_target")[1] == math.nextafter(-1.0, 0.0)


@pytest.mark.parametrize("status", [Status.TIME_LIMIT, Status.OTHER_LIMIT, Status.TARGET_REACHED, Status.OPTIMAL])
def test_the_bound_of_a_mip_is_its_dual_bound_and_never_its_incumbent(status: Status) -> None:
    stopped = SolveResult(status, objective=0.5, dual_bound=-2.0, x=np.zeros(50))
    assert believed_bound(market_split(), stopped) == -2.0
    assert believed_bound(market_split(), SolveResult(status, objective=0.5, x=np.zeros(50))) == -math.inf
