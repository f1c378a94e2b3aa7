"""The back-end over CVXPY: its variants, what their words mean, and the bounds it vouches for."""

from __future__ import annotations

import subprocess
import sys

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from networks.errors import UnknownSolverError
from solvers import registry
from solvers.backend import SolverOptions
from solvers.backends.cvxpy_ import Cvxpy, scipy_status
from solvers.backends.cvxpy_options import OPTIONS, solver_options
from solvers.certify import weak_duality_bound
from solvers.linear_model import LinearModel
from solvers.result import Status

INF = np.inf
EXACT = ["HIGHS", "SCIPY", "GUROBI"]
INTERIOR = ["CLARABEL"]
FIRST_ORDER = ["SCS", "OSQP"]
MIP = EXACT


def needs(variant: str) -> Cvxpy:
    if variant not in cvxpy.installed_solvers():
        pytest.skip(f"CVXPY has no {variant} here")
    return Cvxpy(variant)


def ranges(offset: float = 1.5) -> LinearModel:
    """A range, an equality, a lower side and a free row; the optimum is 2.5, its duals -1, -3, 0, 0."""
    A = sparse.csr_array([[1.0, 1, 1], [1, -1, 0], [1, 1, -1], [0, 0, 1]])
    return LinearModel([1, 2, -1], A, [1, -1, -0.5, -INF], [2, -1, 0.5, INF], [0, 0, 0], [3, 3, 3], [False] * 3, offset)


def knapsacks(items: int = 40) -> LinearModel:
    rng = np.random.default_rng(0)
    A = rng.integers(1, 100, (20, items)) + rng.random((20, items)) * 0.1
    c = -rng.integers(20, 100, items) - rng.random(items)
    ones = np.ones(items)
    return LinearModel(c, sparse.csr_array(A), np.full(20, -INF), A.sum(axis=1) / 3, 0 * ones, ones, ones, 0.25)


@pytest.mark.parametrize("variant", EXACT + INTERIOR + FIRST_ORDER)
def test_an_lp_has_its_optimum_its_duals_and_a_bound_below_it(variant: str) -> None:
    with needs(variant).load(ranges()) as session:
        result = session.solve()
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(result.dual_bound, abs=1e-5)
    assert result.dual_bound <= 2.5 + 1e-12
    assert result.row_duals == pytest.approx([-1, -3, 0, 0], abs=1e-5)


@pytest.mark.parametrize("variant", MIP)
def test_a_mip_has_its_optimum_and_a_bound_below_it(variant: str) -> None:
    with needs(variant).load(knapsacks(15)) as session:
        result = session.solve()
    with registry.get("cbc").load(knapsacks(15)) as session:
        expected = session.solve()
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(expected.objective, abs=1e-6)
    assert result.objective - 2e-3 < result.dual_bound <= result.objective + 1e-9
    assert result.row_duals is None


@pytest.mark.parametrize("variant", ["", *EXACT, *INTERIOR])
def test_another_objective_gives_what_a_fresh_session_gives(variant: str) -> None:
    backend = needs(variant) if variant else Cvxpy()
    with backend.load(ranges()) as session:
        for c in ([1, 0, 0], [0, -1, 1], [0, 0, 0]):
            session.set_objective(c, offset=-2)
            with backend.load(ranges().with_objective(c, -2)) as fresh:
                assert session.solve().objective == pytest.approx(fresh.solve().objective, abs=1e-7)


@pytest.mark.parametrize("variant", INTERIOR + FIRST_ORDER)
def test_a_mip_for_a_solver_of_lps_is_an_error_that_says_so(variant: str) -> None:
    backend = needs(variant)
    assert not backend.capabilities.mip
    with backend.load(knapsacks()) as session:
        session.set_objective(np.ones(40))
        result = session.solve()
    assert result.status is Status.ERROR
    assert f"The solver {variant} cannot solve this problem" in result.message
    assert "40 integer columns" in result.message


@pytest.mark.parametrize("variant", MIP)
@pytest.mark.parametrize("limit", [1e-4, 0.05])
def test_a_time_limit_is_a_time_limit_whatever_cvxpy_makes_of_it(variant: str, limit: float) -> None:
    model = knapsacks(60)
    with needs(variant).load(model) as session:
        result = session.solve(time_limit_s=limit)
    assert result.status is Status.TIME_LIMIT
    if result.x is not None:
        assert model.violation(result.x) <= 1e-6
        assert result.dual_bound <= result.objective


@pytest.mark.parametrize("variant", EXACT)
def test_infeasible_is_told_from_unbounded(variant: str) -> None:
    A = sparse.csr_array([[1.0, -1]])
    infeasible = LinearModel([0, 0], A, [5], [INF], [0, 0], [1, 1])
    unbounded = LinearModel([-1, 0], A, [-INF], [1], [0, 0], [INF, INF])
    with needs(variant).load(infeasible) as session:
        result = session.solve()
    assert result.status is Status.INFEASIBLE
    assert result.dual_bound == INF
    with needs(variant).load(unbounded) as session:
        assert session.solve().status in (Status.UNBOUNDED, Status.INFEASIBLE_OR_UNBOUNDED)


def test_scipy_s_infeasible_for_a_refused_coefficient_is_an_error() -> None:
    model = LinearModel([1, 1], sparse.csr_array([[1e16, 1.0]]), [1], [INF], [0, 0], [1, 1], [True, False])
    with needs("SCIPY").load(model) as session:
        result = session.solve()
    assert result.status is Status.ERROR  # it is feasible; CVXPY says "infeasible"
    assert "Model error" in result.raw_status


def test_scipy_s_one_status_for_many_failures_is_told_apart() -> None:
    unbounded = LinearModel([-1, 0], sparse.csr_array([[1.0, -1]]), [-INF], [1], [0, 0], [INF, INF], [True, True])
    with needs("SCIPY").load(unbounded) as session:
        assert session.solve().status is Status.INFEASIBLE_OR_UNBOUNDED
    assert scipy_status("Solver stopped. (HiGHS Status 99: something new)") is Status.UNKNOWN
    assert scipy_status("") is Status.UNKNOWN


def test_a_model_beyond_gurobi_s_licence_is_an_error_with_a_hint() -> None:
    model = LinearModel(np.ones(2500), sparse.csr_array(np.ones((1, 2500))), [1], [INF], np.zeros(2500), np.ones(2500))
    with needs("GUROBI").load(model) as session:
        result = session.solve()
    if result.status is Status.OPTIMAL:
        pytest.skip("Gurobi has a full licence here")
    assert result.status is Status.ERROR
    assert "licence" in result.message


def test_a_solver_that_cvxpy_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(UnknownSolverError, match=r"cvxpy:NOSUCH.*expected one of .*CLARABEL"):
        registry.get("cvxpy:NOSUCH")


def test_variants_are_known_in_any_case_and_say_their_version() -> None:
    backend = registry.get("cvxpy:clarabel")
    assert "CLARABEL 0." in backend.version()
    assert registry.get("cvxpy").version() == cvxpy.__version__


def test_a_solver_whose_distribution_is_not_known_has_a_version_all_the_same() -> None:
    backend = registry.get("cvxpy")
    assert isinstance(backend, Cvxpy)
    backend.variant = "NOSUCH"  # stands for a solver that is installed under a name of its own
    assert backend.version() == f"{cvxpy.__version__}, NOSUCH of unknown version"


def test_the_options_are_said_in_each_solver_s_words() -> None:
    options = SolverOptions(threads=3, seed=7, mip_gap=1e-5, feasibility_tolerance=1e-8, integrality_tolerance=1e-12)
    highs = solver_options("HIGHS", options, 2.5)
    assert (highs["time_limit"], highs["threads"], highs["random_seed"]) == (2.5, 3, 7)
    assert highs["mip_rel_gap"] == highs["mip_abs_gap"] == 1e-5
    assert highs["mip_feasibility_tolerance"] == 1e-10  # HiGHS takes none below
    assert solver_options("HIGHS", SolverOptions(), INF)["parallel"] == "off"
    assert solver_options("SCIPY", options, INF) == {"scipy_options": {"mip_rel_gap": 1e-5}}
    assert solver_options("CLARABEL", options, INF)["max_threads"] == 3
    assert solver_options("NOT_IN_THE_TABLE", options, 2.5) == {}


def test_a_solver_that_takes_no_tolerance_works_with_its_own() -> None:
    options = SolverOptions(feasibility_tolerance=1e-8, integrality_tolerance=1e-9)
    assert registry.get("highs").tolerance(options).feasibility == 1e-8
    assert registry.get("cvxpy:SCIPY").tolerance(options).feasibility == 1e-6
    assert registry.get("cvxpy:HIGHS").tolerance(options).feasibility == 1e-8


@pytest.mark.parametrize("variant", sorted(OPTIONS))
def test_every_option_in_the_table_is_taken(variant: str) -> None:
    with needs(variant).load(ranges(), SolverOptions(time_limit_s=60, threads=1)) as session:
        result = session.solve()
    assert (result.status, result.message) == (Status.OPTIMAL, "")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_duals_give_a_bound_and_the_best_give_the_optimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = sparse.csr_array(rng.normal(size=(4, 5)))
    point = rng.random(5)
    lower = np.where(rng.random(4) < 0.4, -INF, A @ point - rng.random(4))
    upper = np.where(rng.random(4) < 0.4, INF, A @ point + rng.random(4))
    model = LinearModel(rng.normal(size=5), A, lower, upper, np.zeros(5), np.ones(5), None, 0.3)
    with registry.get("cbc").load(model) as session:
        result = session.solve()
    assert weak_duality_bound(model, rng.normal(size=4)) <= result.objective + 1e-9
    assert result.row_duals is not None
    assert weak_duality_bound(model, result.row_duals) == pytest.approx(result.objective, abs=1e-7)


def test_no_bound_follows_for_a_column_without_one() -> None:
    model = LinearModel([1.0], sparse.csr_array([[1.0]]), [2], [INF], [-INF], [INF])
    assert weak_duality_bound(model, np.array([1.0])) == 2.0
    assert weak_duality_bound(model, np.array([0.9])) == -INF


def test_looking_whether_it_is_installed_imports_nothing() -> None:
    code = (
        "import sys; from solvers.backends.cvxpy_ import Cvxpy; assert Cvxpy.installed(); "
        "assert not {'cvxpy', 'highspy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_highs_takes_another_number_of_threads_in_the_same_process() -> None:
    for threads in (2, 1, 3):
        with needs("HIGHS").load(knapsacks(15), SolverOptions(threads=threads)) as session:
            result = session.solve()
        assert (result.status, result.message) == (Status.OPTIMAL, "")
