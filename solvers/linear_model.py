"""The one form in which every back-end gets a problem."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from networks.errors import InputError
from networks.layers import Array, read_only


class ModelError(InputError):
    """Arrays that do not make a linear model."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """`min c @ x + offset` over `row_lower <= A x <= row_upper`, `col_lower <= x <= col_upper`, `x[integer]` whole.

    Parameters
    ----------
    c : array_like, shape (columns,)
    A : sparse array, shape (rows, columns)
        Kept as CSR with sorted indices, explicit zeros dropped, duplicates summed.
    row_lower, row_upper : array_like, shape (rows,)
        May be infinite.
    col_lower, col_upper : array_like, shape (columns,)
        May be infinite.
    integer : array_like of bool, shape (columns,), optional
        None are integral unless given.
    offset : float
    sos1 : array_like of int, shape (m, 2), optional
        Special ordered sets of type 1: pairs of columns of which at most one may be other than zero.
    indicators : array_like of int, shape (m, 3), optional
        (binary column, 0 or 1, column): when the binary has that value, the column is zero.

    Raises
    ------
    ModelError
        Shapes that do not fit, NaN anywhere, a `c`, `A` or `offset` that is not finite, a lower bound of +inf or an
        upper bound of -inf; of `sos1` and `indicators`, columns that are not there or not distinct, and a binary that
        is not integral within [0, 1]. (Crossed bounds are an infeasible model, which is a question like any other.)
    """

    c: Array
    A: sparse.csr_array
    row_lower: Array
    row_upper: Array
    col_lower: Array
    col_upper: Array
    integer: NDArray[np.bool_]
    offset: float
    sos1: NDArray[np.int64]
    indicators: NDArray[np.int64]

    def __init__(
        self,
        c: ArrayLike,
        A: sparse.csr_array,
        row_lower: ArrayLike,
        row_upper: ArrayLike,
        col_lower: ArrayLike,
        col_upper: ArrayLike,
        integer: ArrayLike | None = None,
        offset: float = 0.0,
        sos1: ArrayLike | None = None,
        indicators: ArrayLike | None = None,
    ) -> None:
        matrix = sparse.csr_array(A, dtype=np.float64, copy=True)
        matrix.sum_duplicates()
        if not matrix.data.all():
            matrix.eliminate_zeros()
        flags = np.zeros(matrix.shape[1], bool) if integer is None else np.array(integer, dtype=bool)
        for array in (flags, matrix.data, matrix.indices, matrix.indptr):
            array.flags.writeable = False
        values = {
            "c": c,
            "row_lower": row_lower,
            "row_upper": row_upper,
            "col_lower": col_lower,
            "col_upper": col_upper,
        }
        for name, value in values.items():
            object.__setattr__(self, name, read_only(value))
        object.__setattr__(self, "A", matrix)
        object.__setattr__(self, "integer", flags)
        object.__setattr__(self, "offset", float(offset))
        object.__setattr__(self, "sos1", _columns("sos1", sos1, 2))
        object.__setattr__(self, "indicators", _columns("indicators", indicators, 3))
        self._check()

    @property
    def column_count(self) -> int:
        """The number of variables."""
        return int(self.A.shape[1])

    @property
    def row_count(self) -> int:
        """The number of constraints, variable bounds not counted."""
        return int(self.A.shape[0])

    @property
    def is_mip(self) -> bool:
        """Whether any variable is integral, or in a special ordered set or an indicator constraint."""
        return bool(self.integer.any() or self.sos1.size or self.indicators.size)

    @property
    def crossed(self) -> str:
        """Which lower bound is above its upper bound, in words: the model is infeasible. Empty where none is."""
        for name in ("row", "col"):
            crossed = np.flatnonzero(getattr(self, f"{name}_lower") > getattr(self, f"{name}_upper"))
            if crossed.size:
                return f"{name}_lower[{crossed[0]}] is above {name}_upper[{crossed[0]}]"
        return ""

    def with_objective(self, c: ArrayLike, offset: float) -> LinearModel:
        """The same model with another objective; everything else is shared, and not checked again."""
        model = object.__new__(LinearModel)
        for item in fields(self):
            object.__setattr__(model, item.name, getattr(self, item.name))
        object.__setattr__(model, "c", read_only(c))
        object.__setattr__(model, "offset", float(offset))
        model._check_objective()
        return model

    def objective(self, x: Array) -> float:
        """`c @ x + offset`."""
        return float(self.c @ x + self.offset)

    def violation(self, x: Array) -> float:
        """The largest violation by `x` of a row, a bound, integrality, a set or an indicator; NaN where `x` has NaN."""
        binary, value, zero = self.indicators.T
        with np.errstate(over="ignore", invalid="ignore"):
            activity = self.A @ x
            parts = [
                self.row_lower - activity,
                activity - self.row_upper,
                self.col_lower - x,
                x - self.col_upper,
                np.abs(x - np.round(x))[self.integer],
                np.abs(x[self.sos1]).min(axis=1),
                np.abs(x[zero])[np.round(x[binary]) == value],
            ]
        return float(np.max(np.concatenate([np.zeros(1), *parts])))

    def write_mps(self, path: str | Path) -> None:
        """Write a free-format MPS file with 17 digits, so that every double comes back equal.

        Raises
        ------
        ModelError
            What the format has no form for: see `solvers.files.write_mps`.
        """
        from solvers.files import write_mps

        write_mps(self, Path(path))

    def write_lp(self, path: str | Path) -> None:
        """Write a CPLEX LP file with 17 digits, so that every double comes back equal.

        Raises
        ------
        ModelError
            What the format has no form for: see `solvers.files.write_lp`.
        """
        from solvers.files import write_lp

        write_lp(self, Path(path))

    def _check_objective(self) -> None:
        if self.c.shape != (self.column_count,):
            raise ModelError(f"c has shape {self.c.shape}; expected ({self.column_count},) as A has that many columns")
        for name, values in (("c", self.c), ("offset", self.offset)):
            if not np.isfinite(values).all():
                raise ModelError(f"{name} has a value that is not finite; expected finite numbers")

    def _check(self) -> None:
        self._check_objective()
        sizes = {"row_lower": 0, "row_upper": 0, "col_lower": 1, "col_upper": 1, "integer": 1}
        for name, axis in sizes.items():
            shape = getattr(self, name).shape
            if shape != (self.A.shape[axis],):
                raise ModelError(
                    f"{name} has shape {shape}; expected ({self.A.shape[axis]},) as A has shape {self.A.shape}"
                )
        if not np.isfinite(self.A.data).all():
            raise ModelError("A has a value that is not finite; expected finite numbers")
        for name, forbidden in (("lower", np.inf), ("upper", -np.inf)):
            for axis_name in ("row", "col"):
                values = getattr(self, f"{axis_name}_{name}")
                if np.isnan(values).any() or (values == forbidden).any():
                    raise ModelError(f"{axis_name}_{name} has NaN or {forbidden}; expected numbers below or above it")
        if self.sos1.size or self.indicators.size:
            self._check_columns()

    def _check_columns(self) -> None:
        for name, columns in (("sos1", self.sos1), ("indicators", self.indicators[:, ::2])):
            absent = columns[(columns < 0) | (columns >= self.column_count)]
            if absent.size:
                raise ModelError(f"{name} has column {absent[0]}; expected columns from 0 to {self.column_count - 1}")
            if (columns[:, 0] == columns[:, 1]).any():
                raise ModelError(f"{name} has the same column twice in one row; expected two distinct columns")
        binary, value, _ = self.indicators.T
        wrong = value[(value != 0) & (value != 1)]
        if wrong.size:
            raise ModelError(f"indicators has value {wrong[0]} for a binary; expected 0 or 1")
        fits = self.integer[binary] & (self.col_lower[binary] >= 0) & (self.col_upper[binary] <= 1)
        if not fits.all():
            column = binary[~fits][0]
            raise ModelError(f"indicators has column {column} for a binary; expected an integral one within [0, 1]")


def _columns(name: str, given: ArrayLike | None, width: int) -> NDArray[np.int64]:
    """A read-only array of shape (m, width)."""
    array = np.array([] if given is None else given)
    if not array.size:
        array = np.empty((0, width), np.int64)
    if array.ndim != 2 or array.shape[1] != width or array.dtype.kind not in "iu":
        raise ModelError(f"{name} has shape {array.shape} of {array.dtype}; expected integers of shape (m, {width})")
    columns = array.astype(np.int64)
    columns.flags.writeable = False
    return columns
