"""Units near the sizes of inputs and neurons."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from networks import zoo
from networks.lowering import Affine, LoweredNetwork, lower
from solvers.scaling import LARGEST_EXPONENT, near_one, powers_of_two


def test_units_are_powers_of_two_near_the_size_and_one_where_it_is_ordinary() -> None:
    sizes = np.array([0.0, 1.0, 0.1, 900.0, 1e-9, 3e7, 5e-324, 1e308])
    units = powers_of_two(sizes)
    assert (units[:4] == 1.0).all()
    assert (np.frexp(units)[0] == 0.5).all()
    assert (np.abs(np.log2(sizes[4:6] / units[4:6])) <= 0.5).all()
    np.testing.assert_array_equal(units[6:], [2.0**-LARGEST_EXPONENT, 2.0**LARGEST_EXPONENT])


@pytest.mark.parametrize("factor", [2.0**20, 2.0**-20])
def test_each_neuron_has_its_own_unit_and_nothing_is_rounded(factor: float) -> None:
    units = np.array([factor, 1.0])
    network = LoweredNetwork(
        (
            Affine(sparse.csr_array(units[:, None] * np.array([[1.5, -0.3], [0.7, 1.1]])), units * [0.1, -0.2], 0),
            Affine(sparse.csr_array(np.array([[1.0, -2.0]]) / units), np.array([0.25]), 2),
        )
    )
    box = -np.ones(2), np.ones(2)
    scaled = near_one(network, box, [(np.array([-2.0, -1.0]) * units, np.array([2.0, 2.0]) * units)])
    lower_bounds, upper_bounds = scaled.pre_activations[0]
    np.testing.assert_array_equal([lower_bounds, upper_bounds], [[-1.0, -1.0], [1.0, 2.0]])
    batch = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    np.testing.assert_array_equal(scaled.network.forward(batch), network.forward(batch))
    assert all(affine.rounding is None for affine in scaled.network.affines)


def test_tiny_inputs_have_units_of_their_own() -> None:
    network = LoweredNetwork((Affine(sparse.csr_array(np.array([[1e10, 1.0]])), np.zeros(1), -1),))
    scaled = near_one(network, (np.zeros(2), np.array([1e-10, 1.0])), [])
    assert 0.5 <= scaled.box[1][0] <= 2.0
    assert 0.5 <= scaled.network.last.A.toarray()[0, 0] <= 2.0


def test_ordinary_networks_stay_as_they_are() -> None:
    network = lower(zoo.load("mnist_small"))
    box = np.full(784, -0.5), np.full(784, 1.0)
    bounds = [(np.full(50, -3.0), np.full(50, 7.0)), (np.full(20, -9.0), np.full(20, 30.0))]
    scaled = near_one(network, box, bounds)
    assert all((units == 1.0).all() for units in scaled.units)
    for ours, theirs in zip(scaled.network.affines, network.affines, strict=True):
        np.testing.assert_array_equal(ours.A.data, theirs.A.data)


def test_what_cancels_to_nothing_is_not_blown_up() -> None:
    """A dead layer: bounds of 1e-305 beside weights of one are noise, and no unit."""
    network = LoweredNetwork(
        (
            Affine(sparse.csr_array(np.ones((1, 1))), np.array([-1.0]), -1),
            Affine(sparse.csr_array(np.ones((1, 1))), np.zeros(1), 1),
        )
    )
    scaled = near_one(network, (np.ones(1), np.ones(1)), [(np.array([-1e-305]), np.array([1e-305]))])
    assert np.abs(scaled.network.hidden[0].A.data).max() <= 2.0**30


def test_what_underflows_is_in_the_rounding() -> None:
    tiny = np.array([[5e-324]])
    network = LoweredNetwork(
        (
            Affine(sparse.csr_array(tiny), np.array([3e6]), -1),
            Affine(sparse.csr_array(np.ones((1, 1))), np.zeros(1), 1),
        )
    )
    scaled = near_one(network, (np.zeros(1), np.ones(1)), [(np.array([3e6]), np.array([3e6]))])
    hidden = scaled.network.hidden[0]
    assert hidden.A.toarray()[0, 0] == 0.0
    assert hidden.slack(np.ones(1))[0] >= 5e-324
