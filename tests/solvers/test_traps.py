"""Traps of the solvers that have given wrong answers: without its guard each is sprung, and the kit's check sees it.

`docs/solvers.md` has the whole list, with the test of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from solvers.backends import cbc_, highs_
from solvers.certify import lower_bound
from solvers.conformance import answers, searches
from solvers.conformance.candidate import Candidate, NotConformingError
from solvers.conformance.models import INF, market_split, model, random_mip
from solvers.linear_model import LinearModel
from solvers.registry import get
from solvers.result import SolveResult, Status


def test_cbc_s_own_increment_prunes_better_solutions(monkeypatch: pytest.MonkeyPatch) -> None:
    answers.near_ties(Candidate("cbc", get("cbc")))
    monkeypatch.setattr(cbc_, "INCREMENT", 1e-4)  # newer builds' default
    with pytest.raises(NotConformingError, match="near tie"):
        answers.near_ties(Candidate("cbc", get("cbc")))


def test_highs_is_never_told_an_objective_bound_on_a_mip() -> None:
    with get("highs").load(random_mip(3)) as session:
        session.solve(stop_above=-1e3, stop_below=1e3)
        _, bound = session._highs.getOptionValue("objective_bound")  # type: ignore[attr-defined]
    assert bound == math.inf


def test_a_stop_of_highs_that_outlives_its_solve_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    searches.stops_around_the_optimum(Candidate("highs", get("highs")))

    @contextmanager
    def watching(highs: Any, trace: object, stop_above: float) -> Iterator[None]:
        if stop_above < math.inf:
            highs.cbMipInterrupt.subscribe(lambda event: event.interrupt())
        yield

    monkeypatch.setattr(highs_, "_watching", watching)
    with pytest.raises(NotConformingError):
        searches.stops_around_the_optimum(Candidate("highs", get("highs")))


def test_cbc_s_solution_has_more_than_the_eight_digits_that_it_prints() -> None:
    with get("cbc").load(model([1, 1], np.diag([3, 7e4]), [(1, INF), (123456789, INF)], [(0, 9e3)] * 2)) as session:
        x = session.solve().x
    assert x == pytest.approx([1 / 3, 123456789 / 7e4], rel=1e-14)


def test_cbc_s_model_has_the_last_bit_of_every_double() -> None:
    lower = np.random.default_rng(0).random(200)
    plain = LinearModel(np.ones(200), sparse.csr_array((0, 200)), [], [], lower, lower + 1)
    with get("cbc").load(plain) as session:
        result = session.solve()
    assert result.x is not None
    assert result.x.tolist() == lower.tolist()


def test_highs_stops_at_a_solution_whose_objective_is_exactly_the_stop() -> None:
    with get("highs").load(market_split()) as session:
        session.solve(0.1, stop_below=-1.0)
        _, target = session._highs.getOptionValue("objective_target")  # type: ignore[attr-defined]
    assert target == math.nextafter(-1.0, 0.0)


@pytest.mark.parametrize("status", [Status.TIME_LIMIT, Status.OTHER_LIMIT, Status.TARGET_REACHED, Status.OPTIMAL])
def test_the_bound_of_a_mip_is_its_dual_bound_and_never_its_incumbent(status: Status) -> None:
    stopped = SolveResult(status, objective=0.5, dual_bound=-2.0, x=np.zeros(50))
    assert lower_bound(market_split(), stopped).believed == -2.0
    assert lower_bound(market_split(), SolveResult(status, objective=0.5, x=np.zeros(50))).believed == -math.inf
