"""What a linear model accepts, and what it says of a point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from solvers.linear_model import LinearModel, ModelError

INF = np.inf


def arguments(**changes: Any) -> dict[str, Any]:
    """Two rows, three columns; the last column is whole."""
    given = {
        "c": [1.0, 2.0, 3.0],
        "A": sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, -1.0]]),
        "row_lower": [-INF, 0.0],
        "row_upper": [4.0, INF],
        "col_lower": [0.0, -INF, 0.0],
        "col_upper": [1.0, INF, 5.0],
        "integer": [False, False, True],
        "offset": 0.5,
    }
    return given | changes


def test_model_knows_its_size_and_kind() -> None:
    model = LinearModel(**arguments())
    assert (model.row_count, model.column_count, model.is_mip) == (2, 3, True)
    assert not LinearModel(**arguments(integer=None)).is_mip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"c": [1.0, 2.0]}, r"c has shape \(2,\); expected \(3,\)"),
        ({"c": [[1.0, 2.0, 3.0]]}, r"c has shape \(1, 3\)"),
        ({"row_lower": [0.0]}, r"row_lower has shape \(1,\); expected \(2,\)"),
        ({"col_upper": [0.0] * 4}, r"col_upper has shape \(4,\)"),
        ({"integer": [True]}, r"integer has shape \(1,\)"),
        ({"c": [1.0, np.nan, 3.0]}, "c has a value that is not finite"),
        ({"c": [1.0, INF, 3.0]}, "c has a value that is not finite"),
        ({"A": sparse.csr_array([[np.nan, 1.0, 0.0], [0.0, 1.0, -1.0]])}, "A has a value that is not finite"),
        ({"A": sparse.csr_array([[INF, 1.0, 0.0], [0.0, 1.0, -1.0]])}, "A has a value that is not finite"),
        ({"offset": np.nan}, "offset has a value that is not finite"),
        ({"row_lower": [np.nan, 0.0]}, "row_lower has NaN"),
        ({"row_lower": [INF, 0.0]}, "row_lower has NaN or inf"),
        ({"row_upper": [4.0, -INF]}, "row_upper has NaN or -inf"),
        ({"col_lower": [INF, 0.0, 0.0]}, "col_lower has NaN or inf"),
        ({"col_upper": [1.0, np.nan, 0.0]}, "col_upper has NaN"),
    ],
)
def test_arrays_that_do_not_make_a_model_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        LinearModel(**arguments(**changes))


def test_crossed_bounds_are_a_model_like_any_other() -> None:
    model = LinearModel(**arguments(row_lower=[5.0, 0.0], col_lower=[2.0, 0.0, 0.0]))
    assert model.violation(np.array([1.5, 0.0, 0.0])) > 0


def test_matrix_is_kept_sorted_without_zeros_and_with_duplicates_summed() -> None:
    data, rows, columns = [2.0, 1.0, 3.0, 4.0, -4.0, 0.0], [0, 0, 0, 1, 1, 1], [2, 0, 2, 1, 1, 2]
    A = sparse.coo_array((data, (rows, columns)), shape=(2, 3))
    model = LinearModel(**arguments(A=A))
    assert model.A.has_sorted_indices
    assert (model.A.nnz, model.A.indices.tolist(), model.A.data.tolist()) == (2, [0, 2], [1.0, 5.0])


def test_model_keeps_copies_that_cannot_be_written_to() -> None:
    given = arguments(c=np.ones(3))
    model = LinearModel(**given)
    given["c"][0] = 7
    given["A"].data[0] = 7
    assert model.c.tolist() == [1, 1, 1]
    assert model.A.data[0] == 1
    for array in (model.c, model.A.data, model.A.indices, model.row_lower, model.col_upper, model.integer):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("x", "violation"),
    [
        ([0.5, 1.0, 1.0], 0.0),
        ([0.5, 4.0, 1.0], 0.5),  # upper side of the first row
        ([0.5, 1.0, 3.0], 2.0),  # lower side of the second row
        ([-0.25, 1.0, 1.0], 0.25),  # lower bound
        ([1.0, 2.0, -1.0], 1.0),
        ([1.5, 2.0, 2.0], 0.5),  # upper bound
        ([0.5, 1.0, 0.75], 0.25),  # whole
    ],
)
def test_violation_is_the_largest_of_rows_bounds_and_integrality(x: list[float], violation: float) -> None:
    assert LinearModel(**arguments()).violation(np.array(x)) == pytest.approx(violation, abs=1e-15)


def test_violation_of_a_point_with_nan_is_nan() -> None:
    assert math.isnan(LinearModel(**arguments()).violation(np.array([0.5, np.nan, 1.0])))


def test_violation_of_a_model_without_rows_looks_at_the_bounds() -> None:
    empty = {"A": sparse.csr_array((0, 3)), "row_lower": [], "row_upper": []}
    model = LinearModel(**arguments(**empty))
    assert model.violation(np.array([2.0, 0.0, 1.0])) == 1.0


def special(**changes: Any) -> dict[str, Any]:
    """Two continuous columns and a binary; a pair of the first two, and one that the binary closes."""
    given = {
        "c": [1.0, 1.0, 0.0],
        "A": sparse.csr_array((0, 3)),
        **{name: [] for name in ("row_lower", "row_upper")},
        "col_lower": [-9.0, -9.0, 0.0],
        "col_upper": [9.0, 9.0, 1.0],
        "integer": [False, False, True],
        "sos1": [[0, 1]],
        "indicators": [[2, 1, 0]],
    }
    return given | changes


@pytest.mark.parametrize(
    ("x", "violation"),
    [
        ([0.0, 5.0, 1.0], 0.0),
        ([-3.0, 0.0, 0.0], 0.0),  # the binary has the other value
        ([-3.0, 0.25, 0.0], 0.25),  # two of the pair
        ([-3.0, 0.0, 1.0], 3.0),  # closed by the binary
        ([0.5, 0.0, 0.75], 0.5),  # and by what rounds to it
    ],
)
def test_violation_counts_sets_and_indicators(x: list[float], violation: float) -> None:
    assert LinearModel(**special()).violation(np.array(x)) == violation


@pytest.mark.parametrize("name", ["sos1", "indicators"])
def test_sets_and_indicators_make_a_mip_and_stay_with_another_objective(name: str) -> None:
    model = LinearModel(**special(**{"sos1": None, "indicators": None, name: special()[name]}))
    assert model.is_mip
    other = model.with_objective([0.0, 0.0, 1.0], 0.0)
    assert getattr(other, name) is getattr(model, name)
    with pytest.raises(ValueError, match="read-only"):
        getattr(model, name)[0, 0] = 1


def test_a_set_alone_makes_a_mip() -> None:
    assert LinearModel(**special(indicators=None, integer=None)).is_mip
    assert not LinearModel(**special(indicators=None, integer=None, sos1=[])).is_mip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sos1": [0, 1]}, r"sos1 has shape \(2,\) of int64; expected integers of shape \(m, 2\)"),
        ({"sos1": [[0.0, 1.0]]}, "sos1 has shape .* of float64"),
        ({"sos1": [[0, 3]]}, "sos1 has column 3; expected columns from 0 to 2"),
        ({"sos1": [[-1, 1]]}, "sos1 has column -1"),
        ({"sos1": [[0, 1], [1, 1]]}, "sos1 has the same column twice"),
        ({"indicators": [[2, 1]]}, r"indicators has shape \(1, 2\)"),
        ({"indicators": [[2, 1, 7]]}, "indicators has column 7"),
        ({"indicators": [[2, 1, 2]]}, "indicators has the same column twice"),
        ({"indicators": [[2, 2, 0]]}, "value 2 for a binary; expected 0 or 1"),
        ({"indicators": [[1, 1, 0]]}, "column 1 for a binary; expected an integral one within"),
        ({"col_upper": [9.0, 9.0, 2.0]}, "column 2 for a binary"),
        ({"col_lower": [-9.0, -9.0, -1.0]}, "column 2 for a binary"),
    ],
)
def test_sets_and_indicators_that_make_no_model_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        LinearModel(**special(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"row_lower": [5.0, 0.0]}, "row_lower[0] is above row_upper[0]"),
        ({"col_upper": [1.0, INF, -1.0]}, "col_lower[2] is above col_upper[2]"),
    ],
)
def test_crossed_bounds_are_named(changes: dict[str, Any], words: str) -> None:
    assert LinearModel(**arguments(**changes)).crossed == words


def test_objective_counts_the_offset() -> None:
    assert LinearModel(**arguments()).objective(np.array([1.0, 1.0, 2.0])) == 9.5


def test_another_objective_shares_everything_else_and_leaves_the_first_alone() -> None:
    model = LinearModel(**arguments())
    other = model.with_objective([0.0, 0.0, 1.0], -2.0)
    assert other.objective(np.array([1.0, 1.0, 3.0])) == 1.0
    assert model.objective(np.array([1.0, 1.0, 3.0])) == 12.5
    for name in ("A", "row_lower", "row_upper", "col_lower", "col_upper", "integer"):
        assert getattr(other, name) is getattr(model, name)


@pytest.mark.parametrize("c", [[1.0], [1.0, 2.0, np.nan], [1.0, 2.0, INF]])
def test_another_objective_is_checked_too(c: list[float]) -> None:
    with pytest.raises(ModelError, match="c has"):
        LinearModel(**arguments()).with_objective(c, 0.0)
