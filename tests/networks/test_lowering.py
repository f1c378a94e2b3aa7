"""The lowered form computes what the layer list computes."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import sparse

from networks import zoo
from networks.layers import Array, Conv2d, Flatten, Layer, LayerList, Linear, ReLU
from networks.lowering import conv_affine, lower
from networks.torch_io import from_torch
from tests.networks.strategies import SEEDS, layer_lists


def relative_error(found: Array, expected: Array) -> float:
    """The largest difference, relative to max(1, |expected|)."""
    return float((np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max())


def linear(rows: int, columns: int) -> Linear:
    rng = np.random.default_rng(rows * 100 + columns)
    return Linear(rng.normal(size=(rows, columns)), rng.normal(size=rows))


@settings(max_examples=80, deadline=None)
@given(layer_lists(), SEEDS)
def test_lowered_network_computes_the_same_outputs(network: LayerList, seed: int) -> None:
    batch = np.random.default_rng(seed).normal(size=(5, *network.input_shape))
    found = lower(network).forward(batch.reshape(5, -1))
    assert relative_error(found, network.forward(batch).reshape(5, -1)) <= 1e-12


@settings(max_examples=40, deadline=None)
@given(layer_lists(), SEEDS)
def test_pre_activations_are_what_the_relus_take_in(network: LayerList, seed: int) -> None:
    """Point boxes: each layer's bounds are its outputs, so each hidden map must be given its own outputs."""
    point = np.random.default_rng(seed).normal(size=network.input_shape)
    outputs = [
        LayerList(network.input_shape, network.layers[: i + 1]).forward(point[None])[0]
        for i in range(len(network.layers))
    ]
    lowered = lower(network)
    pairs = lowered.pre_activations([(values, values + 1) for values in outputs], (point, point + 1))
    assert len(pairs) == len(lowered.hidden)
    values = point.reshape(1, -1)
    for affine, (lower_bound, upper_bound) in zip(lowered.hidden, pairs, strict=True):
        values = (affine.A @ values.T).T + affine.b
        assert lower_bound.shape == (affine.A.shape[0],)
        assert relative_error(lower_bound[None], values) <= 1e-12
        np.testing.assert_array_equal(upper_bound, lower_bound + 1)
        values = np.maximum(values, 0.0)


@pytest.mark.parametrize(
    ("layers", "hidden_sources", "last_source"),
    [
        pytest.param((ReLU(),), [-1], 0, id="only a ReLU"),
        pytest.param((Flatten(),), [], 0, id="only a Flatten"),
        pytest.param((Flatten(), linear(2, 12)), [], 1, id="only affine"),
        pytest.param((Flatten(), linear(3, 12), linear(2, 3)), [], 2, id="two affine layers"),
        pytest.param((Flatten(), ReLU(), linear(2, 12)), [-1], 2, id="ReLU first"),
        pytest.param((ReLU(), Flatten(), ReLU(), linear(2, 12)), [-1], 3, id="two ReLUs first"),
        pytest.param((Flatten(), linear(2, 12), ReLU()), [1], 2, id="ReLU last"),
        pytest.param((Flatten(), linear(2, 12), ReLU(), ReLU()), [1], 3, id="two ReLUs last"),
        pytest.param((Flatten(), linear(3, 12), ReLU(), ReLU(), linear(2, 3)), [1], 4, id="two ReLUs in a row"),
        pytest.param((Flatten(), linear(3, 12), ReLU(), linear(2, 3), ReLU()), [1, 3], 4, id="two hidden maps"),
        pytest.param(
            (Conv2d(np.ones((1, 3, 1, 1)), np.ones(1)), Flatten(), ReLU(), linear(2, 4)), [1], 3, id="conv then Flatten"
        ),
        pytest.param((Flatten(), linear(4, 12), linear(3, 4), ReLU(), Flatten()), [2], 4, id="Flatten last"),
    ],
)
def test_one_hidden_map_for_each_relu_that_matters(
    layers: tuple[Layer, ...], hidden_sources: list[int], last_source: int
) -> None:
    network = LayerList((3, 2, 2), layers)
    lowered = lower(network)
    assert [affine.source for affine in lowered.hidden] == hidden_sources
    assert lowered.last.source == last_source
    batch = np.random.default_rng(0).normal(size=(4, 3, 2, 2))
    assert relative_error(lowered.forward(batch.reshape(4, -1)), network.forward(batch).reshape(4, -1)) <= 1e-12


@settings(max_examples=40, deadline=None)
@given(layer_lists())
def test_affine_maps_fit_one_another_and_hold_no_zeros(network: LayerList) -> None:
    affines = lower(network).affines
    sizes = [int(np.prod(network.input_shape)), *(affine.A.shape[0] for affine in affines)]
    assert [affine.A.shape[1] for affine in affines] == sizes[:-1]
    assert sizes[-1] == network.class_count
    for affine in affines:
        assert isinstance(affine.A, sparse.csr_array)
        assert affine.A.dtype == np.float64
        assert affine.A.has_canonical_format
        assert (affine.A.data != 0).all()
        assert not affine.b.flags.writeable


def test_convolution_matrix_has_the_weights_where_the_formula_puts_them() -> None:
    layer = Conv2d(np.arange(1.0, 5.0).reshape(1, 1, 2, 2), np.array([7.0]), stride=(1, 2), padding=(0, 1))
    A, b = conv_affine(layer, (1, 2, 2))
    np.testing.assert_array_equal(A.toarray(), [[2.0, 0.0, 4.0, 0.0], [0.0, 1.0, 0.0, 3.0]])
    np.testing.assert_array_equal(b, [7.0, 7.0])


def test_largest_zoo_network_is_lowered_in_little_time_and_memory() -> None:
    network = from_torch(zoo.architecture("mnist_cnn"), zoo.INPUT_SHAPE)
    tracemalloc.start()
    start = time.perf_counter()
    lowered = lower(network)
    elapsed_s = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [affine.A.shape[0] for affine in lowered.affines] == [25088, 6272, 12544, 3136, 100, 10]
    assert peak < 0.5e9
    assert elapsed_s < 20  # a fraction of a second; a loop over the non-zeros would take minutes
