"""What `solvers.encode` makes of a network: a model, its objectives, and where the neurons stand in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from networks.layers import Array
from networks.lowering import Affine, BoundsPair
from solvers.linear_model import LinearModel
from solvers.safety import FACTOR, Tolerance, margin_safety
from solvers.scaling import Scaled, powers_of_two

Indices = NDArray[np.int32]  # half of scipy's default, and what the solvers take
NONE = -1  # in the place of a column: the neuron has none


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
        The largest term that the bounds allow in each of these sums, the offset among them.
    neurons : tuple of Neurons
        One entry a hidden layer.
    scaled : Scaled
        The network in the units of the model's columns.
    unstable_count, active_count, inactive_count : int
        Neurons by what their bounds say.
    choices : ndarray, shape (targets,) or (0,)
        The columns of a_t, with the query `maximum`.
    margins : ndarray, shape (targets, neurons of the last hidden layer), float64
        What the margins are made of.
    margin_offsets : ndarray, shape (targets,), float64
    big_m : float
        The largest one of the choice of a target, in the margins' unit; zero without that choice.
    box : (ndarray, ndarray), each of shape (columns,), float64
        Finite bounds on every column of what the network computes, also where the model itself has none.
    objective_errors : ndarray, shape (k,), float64
        By how much the objectives may differ from the network's margins, as their numbers are rounded.

    Notes
    -----
    The rows hold of what the network computes in exact arithmetic, whatever was rounded on the way to them.
    """

    model: LinearModel
    objectives: Array
    offsets: Array
    magnitudes: Array
    neurons: tuple[Neurons, ...]
    scaled: Scaled
    unstable_count: int
    active_count: int
    inactive_count: int
    choices: Indices
    margins: Array
    margin_offsets: Array
    big_m: float
    box: BoundsPair
    objective_errors: Array

    @property
    def input_count(self) -> int:
        """How many columns the network's input has."""
        return len(self.scaled.units[0])

    @property
    def scales(self) -> Array:
        """The powers of two that the objectives are divided by: solvers' gaps are absolute too. Shape (k,)."""
        return powers_of_two(self.magnitudes)

    def input_of(self, x: Array) -> Array:
        """The network's input, flat, out of a solution of the model."""
        return x[: self.input_count] * self.scaled.units[0]

    def objective(self, index: int) -> tuple[Array, float, float]:
        """Cost vector and offset of objective `index`, and the power of two that both are divided by."""
        scale = float(self.scales[index])
        return self.objectives[index] / scale, float(self.offsets[index]) / scale, scale

    def safety(self, tolerance: Tolerance) -> Array:
        """How far a bound of a solver with this tolerance may be above the true minimum; shape (k,).

        What its tolerances can hide (`solvers.safety`), and what the objective itself may be off by. Of the strongest
        target, it is the largest of all targets', and what the choice adds.
        """
        if not self.choices.size:
            return margin_safety(self.scaled, self.margins, self.scales, tolerance) + self.objective_errors
        scales = np.broadcast_to(self.scales, len(self.margins))
        each = margin_safety(self.scaled, self.margins, scales, tolerance)
        return np.asarray(each.max(keepdims=True) + FACTOR * tolerance.feasibility * (self.scales + self.big_m))

    def is_objective(self, index: int, c: Array, offset: float, scale: float) -> bool:
        """Whether `c` and `offset` are objective `index`, or its negative, divided by `scale` without a rounding."""
        asked, constant = self.objectives[index], float(self.offsets[index])
        return any(
            np.array_equal(sign * c * scale, asked) and sign * offset * scale == constant for sign in (1.0, -1.0)
        )

    def solution_at(self, point: Array) -> Array:
        """The solution of the model that the network's input `point`, of shape (inputs,), stands for."""
        x = np.zeros(self.model.column_count)
        values = x[: self.input_count] = point / self.scaled.units[0]
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
