"""Tiny models whose answers are known by hand, and makers of larger ones: what every back-end is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from networks.layers import Array
from networks.lowering import Affine, LoweredNetwork
from solvers.encode import encode
from solvers.encoding import Encoding
from solvers.linear_model import LinearModel
from solvers.result import Status

INF = np.inf
OPTIMAL = frozenset({Status.OPTIMAL})
# A solver may stop at "one of the two"; what it may not do is say the wrong one.
INFEASIBLE = frozenset({Status.INFEASIBLE, Status.INFEASIBLE_OR_UNBOUNDED})
UNBOUNDED = frozenset({Status.UNBOUNDED, Status.INFEASIBLE_OR_UNBOUNDED})


@dataclass(frozen=True, slots=True, eq=False)
class TinyModel:
    """A model, the statuses that are right for it, and the optimum where there is one."""

    name: str
    model: LinearModel
    statuses: frozenset[Status]
    optimum: float | None = None


def model(
    c: ArrayLike,
    A: ArrayLike,
    rows: Sequence[tuple[float, float]],
    columns: Sequence[tuple[float, float]],
    integer: ArrayLike | None = None,
    offset: float = 0.0,
) -> LinearModel:
    """A model from a dense `A` and (lower, upper) pairs."""
    sides = np.array(rows, dtype=float).reshape(-1, 2)
    bounds = np.array(columns, dtype=float).reshape(-1, 2)
    matrix = sparse.csr_array(np.array(A, dtype=float).reshape(len(sides), len(bounds)))
    return LinearModel(c, matrix, sides[:, 0], sides[:, 1], bounds[:, 0], bounds[:, 1], integer, offset)


BOX = [(0.0, 4.0), (0.0, 4.0)]
FREE = (-INF, INF)
KNAPSACK = model(
    [-5, -4, -3], [[2, 3, 1], [4, 1, 2], [3, 4, 2]], [(-INF, 5), (-INF, 11), (-INF, 8)], [(0, 9)] * 3, [1, 1, 1]
)

# By what they ask, in the order in which `relubench solvers --check` shows them.
TINY: dict[str, tuple[TinyModel, ...]] = {
    "optimal": (
        TinyModel("upper row", model([-1, -2], [[1, 1]], [(-INF, 5)], BOX), OPTIMAL, -9.0),
        TinyModel("lower row", model([1, 2], [[1, 1]], [(5, INF)], BOX), OPTIMAL, 6.0),
        TinyModel(
            "several rows",
            model([-3, -5], [[1, 0], [0, 2], [3, 2]], [(-INF, 4), (-INF, 12), (-INF, 18)], [(0, INF), (0, INF)]),
            OPTIMAL,
            -36.0,
        ),
        TinyModel("big coefficients", model([1e-3, 1], [[1e6, 1e6]], [(2e6, INF)], BOX), OPTIMAL, 2e-3),
    ),
    "infeasible": (
        TinyModel("infeasible rows", model([1, 1], [[1, 1], [1, 1]], [(3, INF), (-INF, 2)], BOX), INFEASIBLE),
        TinyModel("infeasible bounds of a row", model([1, 1], [[1, 1]], [(9, INF)], BOX), INFEASIBLE),
        TinyModel("infeasible row without non-zeros", model([1, 1], [[0, 0]], [(1, INF)], BOX), INFEASIBLE),
        TinyModel("crossed column bounds", model([1, 1], [[1, 1]], [(-INF, 5)], [(2, 1), (0, 4)]), INFEASIBLE),
        TinyModel("crossed row sides", model([1, 1], [[1, 1]], [(3, 2)], BOX), INFEASIBLE),
        TinyModel("no whole number in the bounds", model([1], [], [], [(0.4, 0.6)], [1]), INFEASIBLE),
        TinyModel("no whole number in the rows", model([1, 1], [[2, -2]], [(1, 1)], [(0, 9)] * 2, [1, 1]), INFEASIBLE),
        TinyModel("crossed bounds of an integer", model([1], [[1]], [(-INF, 5)], [(3, 2)], [1]), INFEASIBLE),
        TinyModel("infeasible relaxation", model([1, 1], [[1, 1]], [(9, INF)], BOX, [1, 0]), INFEASIBLE),
    ),
    "unbounded": (
        TinyModel("unbounded", model([-1, 0], [[1, -1]], [(-INF, 0)], [(0, INF), (0, INF)]), UNBOUNDED),
        TinyModel("unbounded without rows", model([-1], [], [], [(0, INF)]), UNBOUNDED),
        TinyModel(
            "unbounded integers", model([-1, 0], [[1, -1]], [(-INF, 0)], [(0, INF), (0, INF)], [1, 1]), UNBOUNDED
        ),
    ),
    "free rows and columns": (
        TinyModel("free row", model([1, 1], [[1, 1], [1, -1]], [FREE, (0.25, INF)], BOX), OPTIMAL, 0.25),
        TinyModel("free columns", model([1, 1], [[1, 2], [2, 1]], [(-3, INF), (-6, INF)], [FREE, FREE]), OPTIMAL, -3.0),
    ),
    "fixed columns": (
        TinyModel("fixed column", model([1, 1], [[1, 1]], [(3, INF)], [(2.5, 2.5), (0, 4)]), OPTIMAL, 3.0),
        TinyModel("negative bounds", model([1, 1], [[1, 1]], [(-7, INF)], [(-4, -1), (-INF, -2)]), OPTIMAL, -7.0),
    ),
    "empty A": (
        TinyModel("no rows", model([1, -1], [], [], BOX), OPTIMAL, -4.0),
        TinyModel("no non-zeros", model([1, -1], [[0, 0], [0, 0]], [(-1, INF), (-INF, 0)], BOX), OPTIMAL, -4.0),
        TinyModel("column in no row", model([1, -1], [[1, 0]], [(1, INF)], BOX), OPTIMAL, -3.0),
    ),
    "offset": (
        TinyModel("offset", model([1, 1], [[1, 1]], [(1, INF)], BOX, offset=-10.5), OPTIMAL, -9.5),
        TinyModel("no objective", model([0, 0], [[1, 1]], [(1, 2)], BOX, offset=2), OPTIMAL, 2.0),
    ),
    "equality and range rows": (
        TinyModel("equality row", model([1, -1], [[1, 1]], [(3, 3)], BOX), OPTIMAL, -3.0),
        TinyModel("range row at its lower side", model([1, 1], [[1, 2]], [(2, 6)], BOX), OPTIMAL, 1.0),
        TinyModel("range row at its upper side", model([-1, -1], [[1, 2]], [(2, 6)], BOX), OPTIMAL, -5.0),
    ),
    "integrality": (
        TinyModel("knapsack", KNAPSACK, OPTIMAL, -13.0),
        TinyModel("rounded up", model([1], [[1]], [(1.5, INF)], [FREE], [1], offset=0.25), OPTIMAL, 2.25),
        TinyModel("negative integers", model([1, 1], [[2, 2]], [(-7, INF)], [(-9, 9)] * 2, [1, 1]), OPTIMAL, -3.0),
        TinyModel("mixed", model([-1, -1], [[2, 1]], [(-INF, 4.5)], [(0, 9), (0, 1.25)], [1, 0]), OPTIMAL, -2.5),
        TinyModel("integers without rows", model([1, -1], [], [], [(0.5, 4), (0, 3.5)], [1, 1]), OPTIMAL, -2.0),
        TinyModel("range row of integers", model([-1, 1], [[3, 2]], [(4, 5)], [(0, 9)] * 2, [1, 1]), OPTIMAL, 0.0),
        TinyModel("equality row of integers", model([1, 1], [[3, 5]], [(19, 19)], [(0, 9)] * 2, [1, 1]), OPTIMAL, 5.0),
        TinyModel(
            "relu",
            model(
                [1, 0, 0],
                [[1, -1, 0], [1, -1, 2], [1, 0, -3]],
                [(0, INF), (-INF, 2), (-INF, 0)],
                [(0, 3), (-2, 3), (0, 1)],
                [0, 0, 1],
            ),
            OPTIMAL,
            0.0,
        ),
    ),
}
ALL = [tiny for group in TINY.values() for tiny in group]
LPS = [tiny for tiny in ALL if not tiny.model.is_mip]
MIPS = [tiny for tiny in ALL if tiny.model.is_mip]


def leaking_model() -> LinearModel:
    """Optimum 0; -0.05 for a solver that takes 5e-6 for a whole number: a big-M of 1e4 leaks 0.05 through it.

    `min v - y` over `y <= 1e4 v, y - t <= 0.05, y + t <= 0.05`, `v` binary. The bound `y <= 0.05` follows only from the
    last two rows together, so that presolve does not see it and tighten the big-M.
    """
    rows = [[1.0, 0, -1e4], [1.0, -1, 0], [1.0, 1, 0]]
    sides = [(-INF, 0), (-INF, 0.05), (-INF, 0.05)]
    return model([-1, 0, 1], rows, sides, [(-1e4, 1e4), (-1e4, 1e4), (0, 1)], [0, 0, 1])


def barely_firing() -> tuple[Encoding, float]:
    """The MILP of a network one of whose neurons fires only near a corner of its box, and the margin at that corner.

    There the neuron of range 1,500 reaches 5e-4 and takes the margin from 1 to about -1. A presolve that drops what is
    small against a row loses it.
    """
    rng = np.random.default_rng(0)
    slope, fires, box = 1e3, 5e-4, (np.full(4, 0.25), np.full(4, 0.75))
    first = np.vstack([rng.normal(size=(4, 4)), np.full((1, 4), slope)])
    second = np.zeros((4, 5))
    second[:3, :4], second[3, 4] = rng.normal(size=(3, 4)) / 3, 1.0
    last = np.array([[0.02, -0.05, 0.05, -2.0 / fires], np.zeros(4)])
    biases = (np.append(rng.normal(size=4), fires - 3.0 * slope), np.append(rng.normal(size=3) / 5, 0.0), [1.0, 0.0])
    layers = zip((first, second, last), biases, strict=True)
    network = LoweredNetwork(tuple(Affine(sparse.csr_array(W), np.asarray(b), 0) for W, b in layers))
    bounds, reach = [], box
    for affine in network.hidden:
        centre, radius = affine.A @ (reach[0] + reach[1]) / 2, abs(affine.A) @ (reach[1] - reach[0]) / 2 * (1 + 1e-9)
        bounds.append((centre - radius + affine.b, centre + radius + affine.b))
        reach = np.maximum(bounds[-1][0], 0.0), np.maximum(bounds[-1][1], 0.0)
    margins = np.array([[1.0, -1.0]])
    return encode(network, box, bounds, margins), float(network.forward(box[1][None])[0] @ margins[0])


NEAR_TIES = (19, 36, 43, 48)  # seeds for which CBC's increment, or a gap of 1e-4 in HiGHS, Gurobi or CBC, is wrong


def near_tie(seed: int) -> LinearModel:
    """A packing of 16 binaries whose best solutions differ by multiples of 4e-6, about an optimum of -1."""
    rng = np.random.default_rng(seed)
    A = rng.integers(1, 10, (6, 16)).astype(float)
    c = -(0.1 * rng.integers(1, 3, 16) + 4e-6 * rng.integers(0, 6, 16))
    ones = np.ones(16)
    return LinearModel(c, sparse.csr_array(A), np.full(6, -INF), np.floor(A.sum(axis=1) / 3), 0 * ones, ones, ones)


def least_of_binaries(model: LinearModel) -> float:
    """The optimum of a model of few binaries and whole coefficients, by trying every point."""
    numbers = np.arange(2**model.column_count)[:, None]
    points = ((numbers >> np.arange(model.column_count)) & 1).astype(float)
    activity = points @ model.A.toarray().T
    feasible = ((activity >= model.row_lower) & (activity <= model.row_upper)).all(axis=1)
    return float((points[feasible] @ model.c).min() + model.offset)


def market_split(columns: int = 40, rows: int = 5, seed: int = 0) -> LinearModel:
    """A MILP with the planted optimum 0 that no solver gets done with in the time of a test; its relaxation is 0 too.

    `min sum(over + under)` over `D v + under - over = D planted`, `v` binary.
    """
    D, planted = _split(columns, rows, seed)
    target = D @ planted
    A = sparse.hstack([sparse.csr_array(D), sparse.eye_array(rows), -sparse.eye_array(rows)]).tocsr()
    slack_count = 2 * rows
    return LinearModel(
        c=np.r_[np.zeros(columns), np.ones(slack_count)],
        A=A,
        row_lower=target,
        row_upper=target,
        col_lower=np.zeros(columns + slack_count),
        col_upper=np.r_[np.ones(columns), np.full(slack_count, INF)],
        integer=np.r_[np.ones(columns), np.zeros(slack_count)],
    )


def planted_solution(columns: int = 40, rows: int = 5, seed: int = 0) -> Array:
    """The planted optimum of `market_split`, which no search of seconds finds; shape (columns + 2 rows,)."""
    return np.concatenate([_split(columns, rows, seed)[1], np.zeros(2 * rows)])


def _split(columns: int, rows: int, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.integers(1, 100, size=(rows, columns)).astype(float), rng.integers(0, 2, size=columns).astype(float)


def random_lp(seed: int, rows: int = 12, columns: int = 20) -> LinearModel:
    """A feasible and bounded LP with lower, upper, range and equality rows."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.5)
    inside = A @ rng.uniform(-1, 1, columns)
    kind = rng.integers(0, 4, rows)
    lower = np.select([kind == 0, kind == 1], [-INF, inside], inside - rng.uniform(0, 0.5, rows))
    upper = np.select([kind == 1, kind == 2], [inside, INF], inside + rng.uniform(0, 0.5, rows))
    bounds = np.ones(columns)
    return LinearModel(rng.normal(size=columns), sparse.csr_array(A), lower, upper, -bounds, bounds, offset=1.5)


def random_mip(seed: int, rows: int = 6, columns: int = 12) -> LinearModel:
    """`random_lp` with half of its columns whole and wider boxes, so that it stays feasible."""
    lp = random_lp(seed, rows, columns)
    integer = np.arange(columns) % 2 == 0
    widened = lp.row_upper + np.where(lp.row_lower == lp.row_upper, 2.0, 0.5)
    return LinearModel(
        lp.c, lp.A, lp.row_lower - 0.5, widened, 3 * lp.col_lower, 3 * lp.col_upper, integer, offset=lp.offset
    )


def random_pairs(seed: int, form: str = "bigm", count: int = 8) -> LinearModel:
    """Columns within [0, 3] in pairs, of each of which one is zero; then a column for each pair.

    That is written down in one of three ways: by big-M rows of the last columns as binaries ("bigm"), by sets of the
    pairs ("sos1"), or by indicator constraints of the binaries ("indicators").
    """
    rng = np.random.default_rng(seed)
    first, second = np.arange(0, 2 * count, 2), np.arange(1, 2 * count, 2)
    binary = 2 * count + np.arange(count)
    choice = np.zeros((2 * count, 3 * count))
    choice[first, first] = choice[second, second] = 1.0
    choice[first, binary], choice[second, binary] = -3.0, 3.0
    resources = np.hstack([rng.random((5, 2 * count)), np.zeros((5, count))])
    A = np.vstack([resources, choice]) if form == "bigm" else resources
    upper = [*(0.7 * resources.sum(axis=1)), *[0.0, 3.0] * count][: len(A)]
    c = np.concatenate([rng.normal(-1, 0.5, 2 * count), np.zeros(count)])
    return LinearModel(
        c=c,
        A=sparse.csr_array(A),
        row_lower=np.full(len(A), -INF),
        row_upper=upper,
        col_lower=np.zeros(3 * count),
        col_upper=np.where(np.arange(3 * count) < 2 * count, 3.0, 1.0),
        integer=(np.arange(3 * count) >= 2 * count) & (form != "sos1"),
        offset=0.5,
        sos1=np.column_stack([first, second]) if form == "sos1" else None,
        indicators=_either(binary, first, second) if form == "indicators" else None,
    )


def _either(binary: NDArray[np.intp], first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Indicator constraints: with its binary at 0 the first column is zero, at 1 the second."""
    zeros = np.zeros_like(binary)
    return np.vstack([np.column_stack([binary, zeros, first]), np.column_stack([binary, zeros + 1, second])])
