"""Encoding and loading mnist_small's MILP, against cvxpy and against handing over ready arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.methods.bounding import propagate
from bench.methods.question import Question
from bench.methods.relaxation import encode_question
from bench.methods.settings import Settings
from networks import zoo
from networks.data import test_image as image_of  # not under a name that pytest collects
from networks.instance import Instance, ball
from solvers.backend import SolverOptions
from solvers.encoding import Encoding
from solvers.linear_model import LinearModel
from solvers.registry import get
from tests.benchmarks.timing import quietest
from tests.oracles import textbook_problem

EPSILON = 0.05
LEAST_SPEEDUP = 10.0  # over building and compiling the textbook problem in cvxpy
MOST_OVERHEAD = 3.0  # over the solver's own call with ready arrays
CVXPY_ROUNDS, ARRAY_ROUNDS = 5, 60
SOLVER = pytest.mark.parametrize("solver", ["highs", "gurobi"])


@pytest.fixture(scope="module")
def instance() -> Instance:
    return ball(zoo.load("mnist_small"), *image_of(0), EPSILON)


@pytest.fixture(scope="module")
def encode_only(instance: Instance) -> Callable[[], Encoding]:
    """Encoding, with lowering and bounds done."""
    question = Question.of(zoo.load("mnist_small"), instance)
    settings, bounds = Settings("milp", "highs", SolverOptions()), propagate(question, None)
    return lambda: encode_question(question, bounds, settings)


def sizes(encoding: Encoding) -> dict[str, int]:
    """What `relubench compare` holds to exactly, beside the times."""
    model = encoding.model
    counts = {"rows": model.row_count, "columns": model.column_count, "nonzeros": model.A.nnz}
    return counts | {"binaries": int(model.integer.sum()), "unstable": encoding.unstable_count}


def encode_and_load(encode_only: Callable[[], Encoding], solver: str) -> None:
    get(solver).load(encode_only().model, SolverOptions()).close()


@SOLVER
def test_encoding_and_loading_is_ten_times_faster_than_cvxpy(
    benchmark: BenchmarkFixture,
    capsys: pytest.CaptureFixture[str],
    instance: Instance,
    encode_only: Callable[[], Encoding],
    solver: str,
) -> None:
    def compile_textbook() -> None:
        problem, _ = textbook_problem(zoo.load("mnist_small"), instance, relaxation=False)
        problem.get_problem_data(solver.upper())

    def ours() -> None:
        encode_and_load(encode_only, solver)

    benchmark.pedantic(ours, rounds=5, warmup_rounds=1)
    ours_s, cvxpy_s = quietest(CVXPY_ROUNDS, 1 / LEAST_SPEEDUP, ours, compile_textbook)
    speedup = cvxpy_s / ours_s
    times = {"ours_s": ours_s, "cvxpy_s": cvxpy_s, "speedup": speedup}
    benchmark.extra_info.update(times | sizes(encode_only()))
    with capsys.disabled():
        print(f"\n{solver}: encoded and loaded {1e3 * ours_s:.2f} ms, cvxpy {1e3 * cvxpy_s:.1f} ms, {speedup:.0f}x")
    assert speedup >= LEAST_SPEEDUP


@SOLVER
def test_encoding_and_loading_is_within_three_times_of_handing_over_ready_arrays(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], encode_only: Callable[[], Encoding], solver: str
) -> None:
    hand_over = HAND_OVERS[solver](encode_only().model)

    def ours() -> None:
        encode_and_load(encode_only, solver)

    benchmark.pedantic(ours, rounds=20, warmup_rounds=1)
    ours_s, arrays_s, encode_s = quietest(ARRAY_ROUNDS, MOST_OVERHEAD, ours, hand_over, encode_only)
    overhead = ours_s / arrays_s
    times = {"ours_s": ours_s, "arrays_s": arrays_s, "encode_s": encode_s, "overhead": overhead}
    benchmark.extra_info.update(times | sizes(encode_only()))
    with capsys.disabled():
        print(
            f"\n{solver}: encoded and loaded {1e3 * ours_s:.2f} ms (encoded {1e3 * encode_s:.2f}), "
            f"ready arrays {1e3 * arrays_s:.2f} ms, {overhead:.2f}x"
        )
    assert overhead <= MOST_OVERHEAD


def highs_hand_over(model: LinearModel) -> Callable[[], None]:
    """The least program that gives HiGHS arrays which it can take as they are."""
    import highspy

    arrays = (model.c, model.col_lower, model.col_upper, model.row_lower, model.row_upper)
    start, index = model.A.indptr.astype(np.int32), model.A.indices.astype(np.int32)
    integrality = model.integer.astype(np.int32)
    sizes = (model.column_count, model.row_count, model.A.nnz)
    row_wise, minimize = int(highspy.MatrixFormat.kRowwise), int(highspy.ObjSense.kMinimize)

    def hand_over() -> None:
        highs = highspy.Highs()
        highs.setOptionValue("output_flag", False)
        highs.passModel(*sizes, row_wise, minimize, model.offset, *arrays, start, index, model.A.data, integrality)

    return hand_over


def gurobi_hand_over(model: LinearModel) -> Callable[[], None]:
    """The least program that gives Gurobi arrays which it can take as they are, in a silent environment."""
    import gurobipy

    columns = model.A.tocsc()
    equal = model.row_lower == model.row_upper
    assert np.isneginf(model.row_lower[~equal]).all()  # the other rows are all `<=`
    arrays: dict[str, Any] = {
        "numvars": model.column_count,
        "numconstrs": model.row_count,
        "objcon": model.offset,
        "obj": model.c,
        "lb": model.col_lower,
        "ub": model.col_upper,
        "vtype": np.where(model.integer, b"I", b"C"),
        "constr_csc": (columns.data, columns.indices, columns.indptr),
        "sense": np.where(equal, b"=", b"<"),
        "rhs": model.row_upper,
    }

    def hand_over() -> None:
        env = gurobipy.Env(empty=True)
        env.setParam("OutputFlag", 0)
        env.start()
        gurobipy.loadModel(env=env, **arrays).close()
        env.close()

    return hand_over


HAND_OVERS = {"highs": highs_hand_over, "gurobi": gurobi_hand_over}
