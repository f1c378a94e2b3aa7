"""What is Gurobi's own: its licence and its rows with two sides."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from solvers.backend import SolverOptions
from solvers.backends.gurobi_ import Gurobi, GurobiSession, solver_options
from solvers.conformance import models
from solvers.conformance.models import INF
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

pytestmark = pytest.mark.skipif(not Gurobi.installed(), reason=f"gurobi is not installed: {Gurobi.install}")

REPOSITORY = Path(__file__).parents[2]
WITHOUT_LICENCE = """
from solvers.backends.gurobi_ import Gurobi
from solvers.conformance.models import LPS
with Gurobi().load(LPS[0].model) as session:
    session.set_objective([1, 1])
    result = session.solve()
print(result.status, result.raw_status, result.x, result.dual_bound)
print(result.message)
"""


def solve_identity(columns: int, rows: int) -> SolveResult:
    """Solve `min sum x` over `x_i <= 1` in rows and `-1 <= x` in bounds."""
    A = sparse.eye_array(rows, columns).tocsr()
    ones = np.ones(columns)
    model = LinearModel(ones, A, np.full(rows, -INF), np.ones(rows), -ones, 2 * ones)
    with Gurobi().load(model) as session:
        return session.solve()


@pytest.mark.parametrize(("columns", "rows"), [(2001, 5), (5, 2001)])
def test_model_too_large_for_the_licence_says_so_with_its_size(columns: int, rows: int) -> None:
    result = solve_identity(columns, rows)
    if result.status is Status.OPTIMAL:
        pytest.skip("a Gurobi licence without size limit is installed here")
    assert result.status is Status.LICENCE
    assert result.message == f"licence too small: model has {columns} variables, {rows} constraints"
    assert result.x is None
    assert result.dual_bound == -INF


def test_model_of_the_largest_size_is_solved() -> None:
    assert solve_identity(2000, 2000).objective == -2000


def test_missing_licence_is_a_status_and_no_crash(tmp_path: Path) -> None:
    environment = os.environ | {"GRB_LICENSE_FILE": str(tmp_path / "none.lic")}
    command = [sys.executable, "-c", WITHOUT_LICENCE]
    answer = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    first, second = answer.stdout.splitlines()
    assert first == "licence NO_LICENSE None -inf"
    assert "none.lic" in second
    assert answer.stderr == ""


def test_an_option_that_gurobi_refuses_is_an_error_in_its_words_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solvers.backends.gurobi_.SMALLEST_TOLERANCE", 1e-12)  # less than Gurobi takes
    model = models.LPS[0].model
    with Gurobi().load(model, SolverOptions(feasibility_tolerance=1e-12)) as session:
        session.set_objective(model.c)
        result = session.solve()
    assert result.status is Status.ERROR
    assert "FeasibilityTol to value 1e-12" in result.message
    assert result.x is None


def test_row_with_two_sides_takes_a_column_and_no_row() -> None:
    model = models.model([1, 1], [[1, 1], [1, 2], [2, 1]], [(1, 3), (2, 2), (-INF, 9)], [(0, 4), (0, 4)])
    with GurobiSession(model, SolverOptions(), Gurobi()) as session:
        assert (session._model.NumVars, session._model.NumConstrs) == (3, 3)
        result = session.solve()
    assert result.x is not None
    assert result.x.shape == (2,)
    assert result.row_duals is not None
    assert result.row_duals.shape == (3,)


def test_side_that_gurobi_takes_for_infinite_makes_no_range() -> None:
    model = models.model([-1, -1], [[1, 1]], [(-1e30, 3)], [(0, 4), (0, 4)])
    with GurobiSession(model, SolverOptions(), Gurobi()) as session:
        assert session._model.NumVars == 2
        assert session.solve().objective == pytest.approx(-3)


def test_every_parameter_of_the_table_is_in_force_after_loading() -> None:
    options = SolverOptions(threads=3, seed=5, mip_gap=0.25, feasibility_tolerance=0.5, integrality_tolerance=1e-12)
    with GurobiSession(models.LPS[0].model, options, Gurobi()) as session:
        in_force = {name: session._model.getParamInfo(name)[2] for name in solver_options(options)}
    assert in_force == solver_options(options)
    assert (in_force["FeasibilityTol"], in_force["IntFeasTol"]) == (1e-2, 1e-9)  # Gurobi's own most and least
