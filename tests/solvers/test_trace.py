"""How a search went: its solutions and bounds over time, and the solver's own log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from solvers.backend import SolverOptions
from solvers.backends.trace import MOST_LINES, Trace
from solvers.conformance.models import market_split, random_lp, random_mip
from solvers.registry import get

TRACING = ("highs", "gurobi", "cbc")


def test_a_trace_keeps_changes_alone_and_infinities_as_such() -> None:
    trace = Trace(infinity=1e100)
    for seconds, incumbent, bound in ((0.1, 1e100, -1e100), (0.2, 1e100, -1e100), (0.3, 5.0, 2.0), (0.4, 5.0, 2.0)):
        trace.add(seconds, incumbent, bound)
    np.testing.assert_array_equal(trace.array(), [[0.1, np.inf, -np.inf], [0.3, 5.0, 2.0]])
    assert Trace().array().shape == (0, 3)


def test_a_trace_does_not_grow_without_end() -> None:
    trace = Trace()
    for number in range(MOST_LINES + 10):
        trace.add(number, 0.0, number)
    assert len(trace.array()) == MOST_LINES


@pytest.mark.parametrize("name", TRACING)
def test_a_search_tells_how_it_went_and_ends_with_its_result(name: str) -> None:
    with get(name).load(market_split()) as session:
        result = session.solve(0.7)
        again = session.solve(0.7)
    trace = result.trace
    assert trace is not None
    assert len(trace) > 1
    seconds, incumbent, bound = trace.T
    assert (np.diff(seconds) >= 0).all()
    assert (np.diff(bound[np.isfinite(bound)]) >= -1e-6 * np.abs(bound[np.isfinite(bound)][1:]).clip(1)).all()
    found = incumbent[np.isfinite(incumbent)]
    assert (np.diff(found) <= 1e-6 * np.abs(found[1:]).clip(1)).all()
    assert trace[-1].tolist() == [result.solve_s, result.objective if found.size else np.inf, result.dual_bound]
    assert again.trace is not None
    assert again.trace[0, 0] < 0.7  # each search has a clock of its own


@pytest.mark.parametrize("name", TRACING)
def test_an_lp_has_no_search(name: str) -> None:
    with get(name).load(random_lp(1)) as session:
        assert session.solve().trace is None


@pytest.mark.parametrize("name", TRACING)
def test_the_offset_is_in_the_trace(name: str) -> None:
    model = random_mip(1)
    with get(name).load(model.with_objective(model.c, 1000.0)) as session:
        result = session.solve()
    assert result.trace is not None
    bounds = result.trace[:, 2]
    assert bounds[np.isfinite(bounds)].min() > 1000 - 2 * abs(result.objective - 1000) - 100
    assert result.objective > 500


@pytest.mark.parametrize("name", TRACING)
def test_each_solve_appends_to_the_log_and_prints_nothing(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "solver.log"
    log.write_text("what was there before\n", encoding="utf-8")
    sizes = []
    for model in (random_mip(1), random_lp(1)):
        with get(name).load(model, SolverOptions(log=log)) as session:
            session.solve()
            sizes.append(log.stat().st_size)
            session.solve()
            sizes.append(log.stat().st_size)
    assert sizes == sorted(sizes)
    assert len(set(sizes)) >= 3  # HiGHS may say nothing of an LP that it has solved already
    assert log.read_text(encoding="utf-8", errors="replace").startswith("what was there before\n")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", TRACING)
def test_a_log_changes_nothing_of_a_search(name: str, tmp_path: Path) -> None:
    model = random_mip(2)
    results = []
    for options in (SolverOptions(), SolverOptions(log=tmp_path / "solver.log")):
        with get(name).load(model, options) as session:
            results.append(session.solve())
    first, second = results
    assert (first.nodes, first.simplex_iterations) == (second.nodes, second.simplex_iterations)
    assert first.objective == second.objective
