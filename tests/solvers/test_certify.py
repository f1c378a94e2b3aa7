"""Bounds from row duals, against rational arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from networks.layers import Array
from solvers import registry
from solvers.certify import certified_bound, certified_infeasible, exact_bound, lower_bound, weak_duality_bound
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

INF = math.inf


def random_model(seed: int, magnitude: float = 1.0) -> LinearModel:
    """A feasible LP with four rows, some with one side or none, and five columns in a box."""
    rng = np.random.default_rng(seed)
    scales = magnitude ** rng.uniform(-1.0, 1.0, 5)
    A = sparse.csr_array(rng.normal(size=(4, 5)) * scales)
    point = rng.random(5)
    lower = np.where(rng.random(4) < 0.4, -INF, A @ point - rng.random(4))
    upper = np.where(rng.random(4) < 0.4, INF, A @ point + rng.random(4))
    return LinearModel(rng.normal(size=5) * scales, A, lower, upper, np.zeros(5), np.ones(5), None, 0.3)


def rational_bound(model: LinearModel, duals: Array) -> Fraction:
    """The least of `c x - y (A x - side)` over the box, by the definition: y in rational numbers, row by row."""
    total = Fraction(model.offset)
    reduced = [Fraction(c) for c in model.c.tolist()]
    A = model.A.toarray()
    for i, y in enumerate(duals.tolist()):
        side = float(model.row_lower[i] if y > 0 else model.row_upper[i])
        if y == 0 or math.isinf(side):
            continue
        total += Fraction(y) * Fraction(side)
        for j, a in enumerate(A[i].tolist()):
            reduced[j] -= Fraction(y) * Fraction(a)
    box = zip(model.col_lower.tolist(), model.col_upper.tolist(), strict=True)
    return total + sum(min(r * Fraction(l), r * Fraction(u)) for r, (l, u) in zip(reduced, box, strict=True))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.sampled_from((0, 4, 8)))
def test_the_certified_bound_is_below_the_exact_one_by_no_more_than_rounding(seed: int, exponent: int) -> None:
    model = random_model(seed, 10.0**exponent)
    duals = np.random.default_rng(seed).normal(size=4) * 10.0 ** (exponent / 2)
    exact, certified = rational_bound(model, duals), certified_bound(model, duals)
    assert exact_bound(model, duals) == exact
    assert Fraction(certified) <= Fraction(certified_bound(model, duals, exact=True)) <= exact
    assert Fraction(math.nextafter(certified_bound(model, duals, exact=True), INF)) > exact
    sides = np.nan_to_num(np.abs([model.row_lower, model.row_upper]), posinf=0.0).max(axis=0)
    size = 1.0 + abs(model.c).sum() + (abs(model.A).T @ np.abs(duals)).sum() + np.abs(duals) @ sides
    assert float(exact) - certified <= 1e-12 * size


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_duals_give_a_bound_and_the_best_give_the_optimum(seed: int) -> None:
    model = random_model(seed)
    with registry.get("highs").load(model) as session:
        result = session.solve()
    assert result.row_duals is not None
    assert certified_bound(model, np.random.default_rng(seed).normal(size=4)) <= result.objective + 1e-9
    assert certified_bound(model, result.row_duals) == pytest.approx(result.objective, abs=1e-7)
    assert weak_duality_bound(model, result.row_duals) == pytest.approx(result.objective, abs=1e-7)
    certified = certified_bound(model, result.row_duals)
    assert lower_bound(model, result) == (certified, certified)
    # The solver's own word counts for nothing where its duals prove something.
    assert lower_bound(model, replace(result, dual_bound=result.dual_bound + 1.0)) == (certified, certified)


def free_column() -> LinearModel:
    return LinearModel([1.0], sparse.csr_array([[1.0]]), [2], [INF], [-INF], [INF])


def test_nothing_is_certified_of_a_column_without_bounds() -> None:
    assert certified_bound(free_column(), np.array([1.0])) == -INF
    result = SolveResult(Status.OPTIMAL, 2.0, 2.0, np.array([2.0]), np.array([1.0]))
    assert lower_bound(free_column(), result) == (2.0, -INF)
    assert exact_bound(free_column(), np.array([0.5])) is None
    box = np.array([0.0]), np.array([9.0])
    assert certified_bound(free_column(), np.array([0.5]), box) == pytest.approx(1.0, abs=1e-12)
    assert exact_bound(free_column(), np.array([0.5]), box) == 1


def test_a_column_without_bounds_costs_nothing_where_nothing_is_paid_for_it() -> None:
    model = LinearModel([1.0, 0.0], sparse.csr_array([[1.0, 0.0]]), [2], [INF], [0, -INF], [9, INF])
    assert certified_bound(model, np.array([1.0])) == pytest.approx(2.0)


def test_a_dual_of_a_side_that_is_not_there_counts_for_nothing() -> None:
    model = LinearModel([1.0], sparse.csr_array([[1.0]]), [2], [INF], [0], [9])
    assert certified_bound(model, np.array([-5.0])) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("duals", [np.array([math.nan]), np.array([1e308])])
def test_what_is_not_a_number_or_overflows_proves_nothing(duals: Array) -> None:
    model = LinearModel([1.0], sparse.csr_array([[1e10]]), [2], [INF], [0], [9])
    assert certified_bound(model, duals) in (-INF, pytest.approx(0.0, abs=1e-9))


@pytest.mark.parametrize("status", [Status.INFEASIBLE, Status.ERROR, Status.LICENCE, Status.UNKNOWN])
def test_no_bound_is_believed_of_a_search_that_has_none(status: Status) -> None:
    assert lower_bound(free_column(), SolveResult(status, dual_bound=5.0)) == (-INF, -INF)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exact=st.booleans())
def test_no_ray_proves_a_model_infeasible_that_has_a_solution(seed: int, exact: bool) -> None:
    ray = np.random.default_rng(seed).normal(size=4) * 1e3
    assert not certified_infeasible(random_model(seed), ray, exact=exact)


@pytest.mark.parametrize("exact", [False, True])
def test_a_ray_proves_a_model_infeasible_whose_rows_exclude_each_other(exact: bool) -> None:
    A = sparse.csr_array([[1.0, 1.0], [1.0, 1.0]])
    model = LinearModel([1.0, 1.0], A, [3.0, -INF], [INF, 2.0], [0, 0], [9, 9])
    assert certified_infeasible(model, np.array([1.0, -1.0]), exact=exact)
    assert not certified_infeasible(model, np.array([-1.0, 1.0]), exact=exact)  # of sides that are not there
    assert not certified_infeasible(model, np.array([1.0, 0.0]), exact=exact)
    nearly = LinearModel([1.0, 1.0], A, [2.0, -INF], [INF, 2.0], [0, 0], [9, 9])
    assert not certified_infeasible(nearly, np.array([1.0, -1.0]), exact=exact)


@pytest.mark.parametrize("solver", ["highs", "gurobi"])
@pytest.mark.parametrize("seed", range(5))
def test_solvers_rays_prove_that_their_lps_are_infeasible(solver: str, seed: int) -> None:
    lp = random_model(seed)
    # The sum of the columns is at most 5; two rows together ask for more, neither alone.
    A = sparse.vstack([lp.A, sparse.csr_array([[1.0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]), sparse.csr_array(np.ones((1, 5)))])
    infeasible = LinearModel(
        lp.c, A, [*lp.row_lower, 2.5, 1.5, -INF], [*lp.row_upper, INF, INF, 3.9], lp.col_lower, lp.col_upper
    )
    with registry.get(solver).load(infeasible) as session:
        result = session.solve()
    assert result.status is Status.INFEASIBLE
    assert result.ray is not None
    assert certified_infeasible(infeasible, result.ray)
    assert certified_infeasible(infeasible, result.ray, exact=True)
