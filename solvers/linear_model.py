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

    Raises
    ------
    ModelError
        Shapes that do not fit, NaN anywhere, a `c`, `A` or `offset` that is not finite, a lower bound of +inf or an
        upper bound of -inf. (Crossed bounds are an infeasible model, which is a question like any other.)
    """

    c: Array
    A: sparse.csr_array
    row_lower: Array
    row_upper: Array
    col_lower: Array
    col_upper: Array
    integer: NDArray[np.bool_]
    offset: float

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
    ) -> None:
        matrix = sparse.csr_array(A, dtype=np.float64, copy=True)
        matrix.sum_duplicates()
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
        """Whether any variable is integral."""
        return bool(self.integer.any())

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
        """The largest violation by `x` of a row, a bound or integrality; NaN where `x` has NaN."""
        activity = self.A @ x
        parts = [
            self.row_lower - activity,
            activity - self.row_upper,
            self.col_lower - x,
            x - self.col_upper,
            np.abs(x - np.round(x))[self.integer],
        ]
        return float(np.max(np.concatenate([np.zeros(1), *parts])))

    def write_mps(self, path: str | Path) -> None:
        """Write a free-format MPS file with 17 digits, so that every double comes back equal."""
        from solvers.files import write_mps

        write_mps(self, Path(path))

    def write_lp(self, path: str | Path) -> None:
        """Write a CPLEX LP file with 17 digits, so that every double comes back equal."""
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
