"""Model files, read back by HiGHS and by CBC."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import sparse

from networks.layers import Array
from solvers.backends.cbc_process import binary
from solvers.conformance.models import model as model_of
from solvers.conformance.models import random_pairs
from solvers.files import column_entries, ieee, write_lp, write_mps
from solvers.linear_model import LinearModel, ModelError
from tests.solvers.conftest import backend_or_skip

INF = np.inf
TOLERANCE = 1e-5  # ten times the feasibility tolerance that both take unless told otherwise
AWKWARD = [0.1, 1 / 3, -1e-9, 1.0000000000000002, 123456.789012345678, -2.5e-7, 1e10, 5e-11]


def awkward_model() -> LinearModel:
    """Every kind of row, bound and column, and doubles that need 17 digits."""
    rows = np.array(
        [
            [0.1, 1 / 3, 0, 0, 0, 0, 0, 0],
            [1.0, 0, 0.7, 0, 0, 0, 0, -1e-5],
            [0, 0, 1.1, 0, 1, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0],
            [1, 1, 1, 0, 1, 1, 0, 1],
            [0, 0, 0, 0, 0, 1, 0, 1],
        ]
    )
    return LinearModel(
        c=[0.1, -1 / 3, 1.1, 0, 0.3, -0.7, 0.9, -1e-3],
        A=sparse.csr_array(rows),
        row_lower=[-INF, 0.1, -0.25, -1, -INF, 1 / 3],
        row_upper=[1 / 3, INF, 0.4, 1, INF, 1 / 3],
        col_lower=[-INF, 0, -INF, 0, -3, 0, -5, 0],
        col_upper=[INF, INF, -0.1, INF, INF, 7, -2, 0.1],
        integer=[False, False, False, True, True, True, True, False],
        offset=0.1,
    )


def read_by_highs(path: Path) -> Any:
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("small_matrix_value", 1e-12)
    assert highs.readModel(str(path)) == highspy.HighsStatus.kOk
    return highs


def matrix_of(lp: Any) -> Array:
    shape = (lp.num_row_, lp.num_col_)
    triple = (lp.a_matrix_.value_, lp.a_matrix_.index_, lp.a_matrix_.start_)
    kind = sparse.csc_array if lp.a_matrix_.format_ == highspy.MatrixFormat.kColwise else sparse.csr_array
    dense: Array = kind(triple, shape=shape).toarray()
    return dense


def integers_of(lp: Any) -> list[bool]:
    return [kind == highspy.HighsVarType.kInteger for kind in lp.integrality_] or [False] * lp.num_col_


def optimum_of_arrays(model: LinearModel) -> float:
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.passModel(
        *(model.column_count, model.row_count, model.A.nnz, int(highspy.MatrixFormat.kRowwise), 1, model.offset),
        *(model.c, model.col_lower, model.col_upper, model.row_lower, model.row_upper),
        *(model.A.indptr, model.A.indices, model.A.data, model.integer.astype(np.int32)),
    )
    highs.run()
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(highs.getInfo().objective_function_value)


def optimum_of_highs(path: Path) -> float:
    highs = read_by_highs(path)
    highs.run()
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(highs.getInfo().objective_function_value)


def optimum_of_cbc(path: Path) -> float:
    words = [binary(), path.name, "-increment", "1e-9", "-solve", "-saveSolution", "solution.bin"]
    answer = subprocess.run(words, cwd=path.parent, capture_output=True, text=True, check=True)
    assert "###" not in answer.stdout  # CoinLpIO's complaints
    return float(np.frombuffer((path.parent / "solution.bin").read_bytes(), np.float64, count=1, offset=8)[0])


@st.composite
def models(draw: st.DrawFn) -> LinearModel:
    """Small feasible models: rows hold a random point of the box, sides may be infinite or equal."""
    columns, rows = draw(st.integers(1, 6)), draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    A = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.6)
    integer = rng.random(columns) < 0.4
    lower = np.round(rng.normal(size=columns) * 3) - np.where(integer, 0, rng.random(columns))
    upper = lower + np.where(rng.random(columns) < 0.2, 0, np.where(integer, 2, 0.7))
    activity = A @ lower
    slack = rng.random((2, rows))
    row_lower = np.where(rng.random(rows) < 0.3, -INF, activity - slack[0])
    row_upper = np.where(rng.random(rows) < 0.3, INF, activity + slack[1])
    offset = draw(st.sampled_from([0.0, 0.1, -7.3]))
    matrix = sparse.csr_array(A)
    return LinearModel(rng.normal(size=columns), matrix, row_lower, row_upper, lower, upper, integer, offset)


def test_highs_reads_every_double_of_an_mps_file_back_equal(tmp_path: Path) -> None:
    model, path = awkward_model(), tmp_path / "model.mps"
    model.write_mps(path)
    lp = read_by_highs(path).getLp()
    kept = np.isfinite(model.row_lower) | np.isfinite(model.row_upper)  # readers drop free rows
    assert list(lp.row_names_) == [f"r{i}" for i in np.flatnonzero(kept)]
    assert list(lp.col_names_) == [f"x{j}" for j in range(8)]
    np.testing.assert_array_equal(matrix_of(lp), model.A.toarray()[kept])
    for name in ("row_lower", "row_upper"):
        np.testing.assert_array_equal(getattr(lp, f"{name}_"), getattr(model, name)[kept])
    for name, ours in (("col_cost_", model.c), ("col_lower_", model.col_lower), ("col_upper_", model.col_upper)):
        np.testing.assert_array_equal(getattr(lp, name), ours)
    assert integers_of(lp) == model.integer.tolist()
    assert lp.offset_ == model.offset


def test_highs_reads_every_double_of_an_lp_file_back_equal(tmp_path: Path) -> None:
    model, path = awkward_model(), tmp_path / "model.lp"
    model.write_lp(path)
    lp = read_by_highs(path).getLp()
    assert list(lp.col_names_) == [*(f"x{j}" for j in range(8)), "one"]
    assert list(lp.row_names_) == ["r0", "r1", "r2", "r2_upper", "r3", "r3_upper", "r4", "r5"]
    split = [0, 1, 2, 2, 3, 3, 4, 5]
    np.testing.assert_array_equal(matrix_of(lp)[:, :8], model.A.toarray()[split])
    np.testing.assert_array_equal(lp.row_lower_, [-INF, 0.1, -0.25, -INF, -1, -INF, -INF, 1 / 3])
    np.testing.assert_array_equal(lp.row_upper_, [1 / 3, INF, INF, 0.4, INF, 1, INF, 1 / 3])
    np.testing.assert_array_equal(lp.col_cost_, [*model.c, model.offset])
    np.testing.assert_array_equal(lp.col_lower_, [*model.col_lower, 1])
    np.testing.assert_array_equal(lp.col_upper_, [*model.col_upper, 1])
    assert integers_of(lp) == [*model.integer.tolist(), False]


def test_cbc_reads_every_double_of_an_ieee_file_back_equal(tmp_path: Path) -> None:
    values = np.array(AWKWARD)
    ones = np.ones(values.size)
    model = LinearModel(values, sparse.diags_array(values).tocsr(), -INF * ones, values + 1, values, values, None, -0.1)
    write_mps(model, tmp_path / "model.mps", ieee)
    words = [binary(), "model.mps", "-presolve", "off", "-outputFormat", "5", "-export", "back.mps"]
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    lines = [line.split() for line in (tmp_path / "back.mps").read_text().splitlines()]
    back = {tuple(words[:2]): words[2] for words in lines if len(words) == 3}
    written = ieee(values)
    assert [back[f"x{j}", "OBJROW"] for j in range(values.size)] == written
    assert [back[f"x{j}", f"r{j}"] for j in range(values.size)] == written


def test_ieee_text_is_coin_or_s_code() -> None:
    assert ieee(np.array([0.0, 1.0, 2.0])) == ["000000000000", "M+3000000000", "004000000000"]


def test_mps_columns_kept_from_before_serve_another_objective(tmp_path: Path) -> None:
    model = awkward_model()
    entries = list(column_entries(model))
    other = model.with_objective(np.arange(8.0), 2.5)
    write_mps(other, tmp_path / "kept.mps", columns=entries)
    write_mps(other, tmp_path / "fresh.mps")
    assert (tmp_path / "kept.mps").read_bytes() == (tmp_path / "fresh.mps").read_bytes()


@pytest.mark.parametrize("write", [write_mps, write_lp])
@pytest.mark.parametrize(("row_upper", "col_upper"), [(-1.0, 1.0), (1.0, -1.0)])
def test_crossed_bounds_are_refused(write: Any, row_upper: float, col_upper: float, tmp_path: Path) -> None:
    model = LinearModel([1], sparse.csr_array([[1.0]]), [0], [row_upper], [0], [col_upper])
    with pytest.raises(ModelError, match=r"lower\[0\] is above"):
        write(model, tmp_path / "model")


def test_an_lp_file_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="without columns"):
        write_lp(LinearModel([], sparse.csr_array((1, 0)), [-1], [1], [], []), tmp_path / "model.lp")


@pytest.mark.parametrize("form", ["sos1", "indicators"])
@pytest.mark.parametrize("name", ["model.mps", "model.lp"])
def test_gurobi_finds_the_optimum_of_sets_and_indicators_in_a_file(form: str, name: str, tmp_path: Path) -> None:
    gurobi = backend_or_skip("gurobi")
    model = random_pairs(1, form)
    {"model.mps": model.write_mps, "model.lp": model.write_lp}[name](tmp_path / name)
    with gurobi.load(random_pairs(1)) as session:
        expected = session.solve().objective
    assert optimum_of_gurobi(tmp_path / name) == pytest.approx(expected, abs=1e-6)


def optimum_of_gurobi(path: Path) -> float:
    import gurobipy

    with gurobipy.Env(params={"OutputFlag": 0}) as env, gurobipy.read(str(path), env) as model:
        model.setParam("MIPGap", 1e-9)
        model.optimize()
        return float(model.ObjVal)


def with_constraints(
    plain: LinearModel, sos1: ArrayLike | None = None, indicators: ArrayLike | None = None
) -> LinearModel:
    """The model with special ordered sets and indicator constraints."""
    sides = plain.row_lower, plain.row_upper, plain.col_lower, plain.col_upper
    return LinearModel(plain.c, plain.A, *sides, plain.integer, plain.offset, sos1, indicators)


def test_cbc_reads_the_sets_of_an_mps_file(tmp_path: Path) -> None:
    columns = [(0.0, 3.0), (0.0, 4.0), (0.0, 1.0)]
    plain = model_of([-1, -2.5, -1], [[1, 1, 1]], [(-INF, 5)], columns)
    assert optimum_of(plain, tmp_path) == -11.0
    assert optimum_of(with_constraints(plain, sos1=[[0, 1], [1, 2]]), tmp_path) == -10.0


def optimum_of(model: LinearModel, folder: Path) -> float:
    write_mps(model, folder / "sets.mps")
    return optimum_of_cbc(folder / "sets.mps")


@pytest.mark.parametrize("form", ["sos1", "indicators"])
def test_sets_and_indicators_are_refused_in_coin_or_s_numbers(form: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="decimal numbers only"):
        write_mps(random_pairs(0, form), tmp_path / "model.mps", ieee)


def test_two_sided_rows_of_an_mps_file_are_right_to_the_last_bit_or_next_to_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lower = rng.normal(size=2000) * 10.0 ** rng.integers(-3, 4, 2000)
    upper = lower + 10.0 ** rng.integers(-3, 4, 2000) * rng.random(2000)
    A = sparse.csr_array(np.ones((2000, 1)))
    write_mps(LinearModel([1], A, lower, upper, [0], [1]), tmp_path / "model.mps")
    lp = read_by_highs(tmp_path / "model.mps").getLp()
    off = (np.array(lp.row_lower_) != lower) | (np.array(lp.row_upper_) != upper)
    assert off.mean() < 0.01
    np.testing.assert_allclose(lp.row_lower_, lower, rtol=0, atol=2e-12)
    np.testing.assert_allclose(lp.row_upper_, upper, rtol=0, atol=2e-12)


@settings(max_examples=25, deadline=None)
@given(model=models())
def test_both_readers_find_the_optimum_of_the_arrays(
    model: LinearModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    expected = optimum_of_arrays(model)
    write_mps(model, folder / "model.mps")
    write_mps(model, folder / "ieee.mps", ieee)
    write_lp(model, folder / "model.lp")
    for path in (folder / "model.mps", folder / "model.lp"):
        assert optimum_of_highs(path) == pytest.approx(expected, abs=TOLERANCE)
    for path in (folder / "model.mps", folder / "ieee.mps", folder / "model.lp"):
        assert optimum_of_cbc(path) == pytest.approx(expected, abs=TOLERANCE)
