"""What `solvers.encode` makes of a network: a model, its objectives, and where the neurons stand in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from networks.layers import Array
from networks.lowering import Affine, BoundsPair
from solvers.linear_model import LinearModel

Indices = NDArray[np.int32]  # half of scipy's default, and what the solvers take
NONE = -1  # in the place of a column: the neuron has none
SMALLEST_ORDINARY, LARGEST_ORDINARY = 2.0**-4, 2.0**10  # sizes at which solvers' tolerances mean what they say


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    """Where a hidden layer stands in the model: the columns of z, p and v of every neuron, `NONE` where it has none."""

    affine: Affine
    z: Indices
    p: Indices
    v: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One model for all targets: they differ only in the objective.

    Attributes
    ----------
    model : LinearModel
        With the first objective. Its first columns are the input, flat.
    objectives : ndarray, shape (k, columns), float64
    offsets : ndarray, shape (k,), float64
        `objectives[i] @ x + offsets[i]` is the margin of target i; of the strongest target, with the query `maximum`,
        where k is 1.
    magnitudes : ndarray, shape (k,), float64
        The largest term that the bounds allow in each of these sums: what a solver's errors are relative to.
    neurons : tuple of Neurons
        One entry a hidden layer.
    input_count, unstable_count, active_count, inactive_count : int
        Columns of the input, and neurons by what their bounds say.
    choices : ndarray, shape (targets,) or (0,)
        The columns of a_t, with the query `maximum`.
    margins : ndarray, shape (targets, neurons of the last hidden layer), float64
        What the margins are made of.
    margin_offsets : ndarray, shape (targets,), float64
    box : (ndarray, ndarray), each of shape (columns,), float64
        Finite bounds on every column of what the network computes, also where the model itself has none.
    objective_errors : ndarray, shape (k,), float64
        By how much the objectives may differ from the network's margins, as their numbers are rounded sums.
    exact : bool
        Whether the rows hold of what the network computes in exact arithmetic; else only up to rounding, and nothing
        is certified.
    """

    model: LinearModel
    objectives: Array
    offsets: Array
    magnitudes: Array
    neurons: tuple[Neurons, ...]
    input_count: int
    unstable_count: int
    active_count: int
    inactive_count: int
    choices: Indices
    margins: Array
    margin_offsets: Array
    box: BoundsPair
    objective_errors: Array
    exact: bool

    def input_of(self, x: Array) -> Array:
        """The network's input, flat, out of a solution of the model."""
        return x[: self.input_count]

    def objective(self, index: int) -> tuple[Array, float, float]:
        """Cost vector and offset of objective `index`, and the power of two that both are divided by.

        Solvers' dual tolerances are absolute: they must be small against the costs.
        """
        c = self.objectives[index]
        scale = power_of_two(float(np.abs(c).max(initial=0.0)))
        return c / scale, float(self.offsets[index]) / scale, scale

    def is_objective(self, index: int, c: Array, offset: float, scale: float) -> bool:
        """Whether `c` and `offset` are objective `index`, or its negative, divided by `scale` without a rounding."""
        asked, constant = self.objectives[index], float(self.offsets[index])
        return any(
            np.array_equal(sign * c * scale, asked) and sign * offset * scale == constant for sign in (1.0, -1.0)
        )

    def solution_at(self, point: Array) -> Array:
        """The solution of the model that the network's input `point`, of shape (inputs,), stands for."""
        x = np.zeros(self.model.column_count)
        values = x[: self.input_count] = point
        for layer in self.neurons:
            s = layer.affine.A @ values + layer.affine.b
            values = np.maximum(s, 0.0)
            for columns, parts in ((layer.z, values), (layer.p, np.maximum(-s, 0.0)), (layer.v, s > 0)):
                there = columns != NONE
                x[columns[there]] = parts[there]
        if self.choices.size:
            margins = self.margins @ values + self.margin_offsets
            x[self.choices[margins.argmin()]] = 1.0
            x[-1] = margins.min() / self.objectives[0, -1]
        return x


def objective_at_most(model: LinearModel, limit: float) -> LinearModel:
    """The model with one row more: its objective, the offset included, is at most `limit`."""
    return LinearModel(
        model.c,
        sparse.vstack([model.A, sparse.csr_array(model.c[None])]),
        np.append(model.row_lower, -np.inf),
        np.append(model.row_upper, limit - model.offset),
        model.col_lower,
        model.col_upper,
        model.integer,
        model.offset,
        model.sos1,
        model.indicators,
    )


def power_of_two(size: float) -> float:
    """The power of two next to `size`; one where `size` is ordinary or zero."""
    ordinary = size == 0 or SMALLEST_ORDINARY <= size <= LARGEST_ORDINARY
    return 1.0 if ordinary else 2.0 ** round(math.log2(size))
