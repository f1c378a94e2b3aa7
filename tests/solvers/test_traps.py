"""Traps of the solvers that have given wrong answers: without its guard each is sprung, and the kit's check sees it.

`docs/solvers.md` has the whole list, with the test of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from solvers.backends import cbc_, highs_
from solvers.conformance import answers, searches
from solvers.conformance.candidate import Candidate, NotConformingError
from solvers.conformance.models import random_mip
from solvers.registry import get


def test_cbc_s_own_increment_prunes_better_solutions(monkeypatch: pytest.MonkeyPatch) -> None:
    answers.near_ties(Candidate("cbc", get("cbc")))
    monkeypatch.setattr(cbc_, "INCREMENT", 1e-4)  # newer builds' default
    with pytest.raises(NotConformingError, match="near tie"):
        answers.near_ties(Candidate("cbc", get("cbc")))


def test_highs_is_never_told_an_objective_bound_on_a_mip() -> None:
    model = random_mip(3)
    with get("highs").load(model) as session:
        session.solve(stop_above=-1e3, stop_below=1e3)
        _, bound = session._highs.getOptionValue("objective_bound")  # type: ignore[attr-defined]
    assert bound == math.inf


def test_a_stop_of_highs_that_outlives_its_solve_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    searches.stops_around_the_optimum(Candidate("highs", get("highs")))

    @contextmanager
    def stopping(highs: Any, stop_above: float) -> Iterator[None]:
        if stop_above < math.inf:
            highs.cbMipInterrupt.subscribe(lambda event: event.interrupt())
        yield

    monkeypatch.setattr(highs_, "_stopping", stopping)
    with pytest.raises(NotConformingError):
        searches.stops_around_the_optimum(Candidate("highs", get("highs")))
