"""Linear bounds against points, interval bounds, dense matrices and one another; what they take and refuse."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import interval_bounds, interval_margins, linear_bounds, linear_margins, zoo
from networks.bounds import layerwise, linear
from networks.bounds.linear import SLOPES
from networks.data import samples
from networks.errors import InputError
from networks.layers import Array, Conv2d, Flatten, Layer, LayerList, Linear, ReLU, Shape
from networks.lowering import conv_affine
from tests.networks.strategies import SEEDS, boxes, layer_lists, points_in

CLOSE = 1e-9
EVERY_KIND_OF_SLOPE = pytest.mark.parametrize("slopes", SLOPES)

Bounds = list[tuple[Array, Array]]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bounds_contain_the_forward_pass_of_points(data: st.DataObject) -> None:
    network = data.draw(layer_lists())
    box = data.draw(boxes(network.input_shape))
    values = points_in(box, 20, data.draw(SEEDS))
    bounds = linear_bounds(network, box[0][None], box[1][None], slopes=data.draw(st.sampled_from(SLOPES)))
    for layer, (low, high) in zip(network.layers, bounds, strict=True):
        values = layer.forward(values)
        assert (low <= values).all()
        assert (values <= high).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bounds_and_margins_are_nowhere_wider_than_intervals(data: st.DataObject) -> None:
    network = data.draw(layer_lists())
    box = data.draw(boxes(network.input_shape))
    batch = box[0][None], box[1][None]
    slopes = data.draw(st.sampled_from(SLOPES))
    C = np.random.default_rng(data.draw(SEEDS)).normal(size=(3, network.class_count))
    ours = [*linear_bounds(network, *batch, slopes=slopes), linear_margins(network, *batch, C, slopes=slopes)]
    wider = [*interval_bounds(network, *batch), interval_margins(network, *batch, C)]
    for inner, outer in zip(ours, wider, strict=True):
        assert_within(inner, outer)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bounds_are_those_of_the_network_with_matrices_for_convolutions(data: st.DataObject) -> None:
    body, rng = data.draw(layer_lists(max_layers=8)), np.random.default_rng(data.draw(SEEDS))
    last = Linear(rng.normal(size=(3, body.class_count)), rng.normal(size=3))
    network = LayerList(body.input_shape, (*body.layers, Flatten(), last))
    dense = with_matrices(network)
    three = [data.draw(boxes(network.input_shape)) for _ in range(3)]
    low, high = np.stack([box[0] for box in three]), np.stack([box[1] for box in three])
    slopes = data.draw(st.sampled_from(("adaptive", "parallel")))
    assert_close(linear_bounds(network, low, high, slopes=slopes), linear_bounds(dense, low, high, slopes=slopes)[1:])
    C = rng.normal(size=(2, 3))
    assert_close([linear_margins(network, low, high, C)], [linear_margins(dense, low, high, C)])


@pytest.mark.parametrize("first", [{}, {"stride": (2, 1), "padding": (1, 2)}], ids=str)
@pytest.mark.parametrize(
    "second",
    [
        {"padding": (1, 1)},
        {"stride": (2, 2), "padding": (1, 0)},
        {"stride": (3, 3)},
        {"dilation": (2, 1), "padding": (2, 2)},
        {"groups": 2, "padding": (0, 1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("slopes", ["adaptive", "parallel"])
def test_patches_give_the_bounds_of_whole_maps(first: dict[str, Any], second: dict[str, Any], slopes: str) -> None:
    network = convolutional((first, second, {"padding": (1, 1)}), size=12)
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 1, (2, 2, 12, 12))
    high = low + 0.05
    assert_close(
        linear_bounds(network, low, high, slopes=slopes),
        linear_bounds(with_matrices(network), low, high, slopes=slopes)[1:],
    )


def test_a_convolution_that_sees_nothing_but_padding_gives_its_bias() -> None:
    rng = np.random.default_rng(10)
    blind = Conv2d(rng.normal(size=(2, 2, 1, 1)), np.array([0.5, -0.5]), stride=(5, 5), padding=(2, 2))
    layers = (
        ReLU(),
        Conv2d(rng.normal(size=(2, 1, 1, 1)), np.ones(2)),
        ReLU(),
        blind,
        Flatten(),
        linear_layer([[1, 1]]),
    )
    for slopes in SLOPES:
        low, high = linear_bounds(
            LayerList((1, 1, 1), layers), -np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1)), slopes=slopes
        )[-1]
        np.testing.assert_allclose([low, high], 0.0, atol=CLOSE)


@EVERY_KIND_OF_SLOPE
def test_a_batch_gives_what_its_boxes_give_one_at_a_time(slopes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, rng = convolutional(({"padding": (1, 1)}, {"stride": (2, 2)}), size=5), np.random.default_rng(6)
    low = rng.uniform(0, 1, (7, 2, 5, 5))
    high = low + rng.uniform(0, 0.3, (7, 1, 1, 1))
    C = rng.normal(size=(7, 3, 4))
    alone = [linear_bounds(network, low[[i]], high[[i]], slopes=slopes) for i in range(7)]
    alone_margins = [linear_margins(network, low[[i]], high[[i]], C[[i]], slopes=slopes) for i in range(7)]
    monkeypatch.setattr(linear, "CPU_LINE_NUMBERS", 3 * linear.NUMBERS_A_NEURON * 250)  # several chunks of boxes
    monkeypatch.setattr(layerwise, "CPU_NUMBERS", 2**11)  # and of rows
    close = 1e-2 if slopes == "optimised" else CLOSE  # a sign that roundings decide sends the ascent another way
    together = linear_bounds(network, low, high, slopes=slopes)
    assert_close(together, [joined(pairs) for pairs in zip(*alone, strict=True)], close)
    assert_close([linear_margins(network, low, high, C, slopes=slopes)], [joined(tuple(alone_margins))], close)


def test_margins_of_its_own_for_every_box_agree_with_shared_ones() -> None:
    network, rng = dense((6, 8, 4), seed=4), np.random.default_rng(5)
    low = rng.uniform(-1, 1, (7, 6))
    C = rng.normal(size=(3, 4))
    assert_close(
        [linear_margins(network, low, low + 0.2, np.tile(C, (7, 1, 1)))], [linear_margins(network, low, low + 0.2, C)]
    )


def test_margins_from_given_bounds_are_those_of_their_own_bounds() -> None:
    network, low, high = images(zoo.load("mnist_small"), 3)
    C = np.eye(10)[:4]
    given_bounds = linear_margins(network, low, high, C, bounds=linear_bounds(network, low, high))
    assert_close([given_bounds], [linear_margins(network, low, high, C)])


def test_known_bounds_tighten_the_layers_behind_them() -> None:
    network, rng = dense((6, 10, 10, 4), seed=7), np.random.default_rng(7)
    low = rng.uniform(-1, 1, (4, 6))
    high = low + 0.5
    plain = linear_bounds(network, low, high)
    known = [(np.full_like(l, -np.inf), np.full_like(u, np.inf)) for l, u in plain]
    values = network.layers[0].forward(points_in((low[0], high[0]), 1000, seed=1))
    known[0] = plain[0][0].copy(), plain[0][1].copy()
    known[0][0][0], known[0][1][0] = values.min(axis=0), values.max(axis=0)
    tighter = linear_bounds(network, low, high, known=known)
    np.testing.assert_array_equal(tighter[0][0][0], known[0][0][0])
    for layer in (2, 4):
        assert np.subtract(*tighter[layer][::-1])[0].mean() < 0.995 * np.subtract(*plain[layer][::-1])[0].mean()
    assert_close([(l[1:], u[1:]) for l, u in tighter], [(l[1:], u[1:]) for l, u in plain])


def test_known_bounds_on_outputs_and_on_flattened_inputs_are_taken() -> None:
    network = LayerList((1, 2, 1), (Flatten(), linear_layer([[1, -1], [1, 1]]), ReLU(), linear_layer([[1, -1]])))
    box = np.full((1, 1, 2, 1), -1.0), np.full((1, 1, 2, 1), 1.0)
    known = [(np.full_like(l, -np.inf), np.full_like(u, np.inf)) for l, u in linear_bounds(network, *box)]
    known[0] = np.zeros((1, 2)), np.ones((1, 2))
    known[3] = np.array([[-0.5]]), np.array([[np.inf]])
    bounds = linear_bounds(network, *box, known=known)
    np.testing.assert_array_equal(bounds[0][0], known[0][0])
    np.testing.assert_allclose(np.array(bounds[1])[:, 0], [[-1, 0], [1, 2]], atol=CLOSE)
    assert bounds[3][0] == -0.5


@pytest.mark.parametrize("order", sorted({"".join(order) for order in itertools.permutations("RLRF")}))
def test_layers_may_come_in_any_order(order: str) -> None:
    rng = np.random.default_rng(8)
    kinds: dict[str, Layer] = {"R": ReLU(), "L": Linear(rng.normal(size=(4, 4)), rng.normal(size=4)), "F": Flatten()}
    network = LayerList((4,), tuple(kinds[kind] for kind in order))
    box = -np.ones(4), np.ones(4)
    for layer_bounds, values in zip(
        linear_bounds(network, box[0][None], box[1][None]), all_values(network, points_in(box, 50, seed=0)), strict=True
    ):
        assert (layer_bounds[0] <= values).all()
        assert (values <= layer_bounds[1]).all()


def test_without_a_relu_bounds_are_exact() -> None:
    rng = np.random.default_rng(9)
    W, V = rng.normal(size=(5, 4)), rng.normal(size=(3, 5))
    low, high = linear_bounds(
        LayerList((4,), (Linear(W, np.ones(5)), Linear(V, np.ones(3)))), -np.ones((1, 4)), np.ones((1, 4))
    )[-1]
    np.testing.assert_allclose(high[0] - V.sum(1) - 1, np.abs(V @ W).sum(1), rtol=CLOSE)
    np.testing.assert_allclose(low[0] - V.sum(1) - 1, -np.abs(V @ W).sum(1), rtol=CLOSE)


def test_flattening_alone_gives_the_box() -> None:
    network = LayerList((1, 2, 2), (Flatten(),))
    low = np.arange(4.0).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(linear_bounds(network, low, low + 1)[0], [low.reshape(1, 4), low.reshape(1, 4) + 1])
    assert_close([linear_margins(network, low, low + 1, np.eye(4))], [(low.reshape(1, 4), low.reshape(1, 4) + 1)])


def test_arrays_give_arrays_and_tensors_give_tensors() -> None:
    network = convolutional(({}, {}), size=5)
    low = np.zeros((3, 2, 5, 5))
    arrays = linear_bounds(network, low, low + 1)
    tensors = linear_bounds(network, torch.zeros(3, 2, 5, 5, requires_grad=True), torch.ones(3, 2, 5, 5))
    for array, tensor, shape in zip(arrays, tensors, network.shapes, strict=True):
        for one, other in zip(array, tensor, strict=True):
            assert isinstance(one, np.ndarray)
            assert one.shape == (3, *shape)
            assert one.dtype == np.float64
            assert not other.requires_grad
            np.testing.assert_array_equal(one, other.numpy())
    assert isinstance(linear_margins(network, low, low, np.eye(4))[0], np.ndarray)
    assert isinstance(
        linear_margins(network, torch.zeros(1, 2, 5, 5), torch.ones(1, 2, 5, 5), np.eye(4))[0], torch.Tensor
    )


def test_bounds_never_share_memory_with_the_callers_arrays() -> None:
    network, low = dense((2, 3), seed=0), np.zeros((1, 2))
    flat = LayerList((2,), (Flatten(), *network.layers))
    first, _ = linear_bounds(flat, low, low + 1)[0]
    assert not np.shares_memory(first, low)


def test_an_empty_batch_has_empty_bounds() -> None:
    network, nothing = convolutional(({}, {}), size=5), np.empty((0, 2, 5, 5))
    assert [low.shape for low, _ in linear_bounds(network, nothing, nothing)] == [(0, *s) for s in network.shapes]
    assert linear_margins(network, nothing, nothing, np.eye(4))[1].shape == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slopes": "steep"}, "slopes is 'steep'; expected one of adaptive, parallel, optimised"),
        ({"lower": np.zeros((1, 3))}, r"lower has shape \(1, 3\); expected \(n, \*\(2,\)\)"),
        ({"lower": np.full((1, 2), 2.0)}, r"lower\[0, 0\] is 2.0, above its upper bound 1.0"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    box = {"lower": np.zeros((1, 2)), "upper": np.ones((1, 2))}
    with pytest.raises(InputError, match=message):
        linear_bounds(dense((2, 3), seed=0), **{**box, **arguments})
    with pytest.raises(InputError, match=message):
        linear_margins(dense((2, 3), seed=0), margins=np.eye(3), **{**box, **arguments})


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (None, "is of type int; expected a list of 1 pairs"),
        ([], "is 0 entries; expected a list of 1 pairs, one a layer"),
        ([(np.zeros((1, 3)),)], r"\[0\] has 1 entries; expected \(lower, upper\)"),
        ([(np.zeros((1, 2)), np.zeros((1, 3)))], r"\[0\] has shape \(1, 2\); expected \(1, 3\)"),
        ([(np.full((1, 3), np.nan), np.zeros((1, 3)))], r"\[0\]\[0, 0\] is \[nan, 0.0\]"),
        (
            [(np.ones((1, 3)), np.zeros((1, 3)))],
            r"\[0\]\[0, 0\] is \[1.0, 0.0\]; expected a lower bound up to an upper",
        ),
    ],
)
def test_layer_bounds_that_do_not_fit_are_refused(pairs: Any, message: str) -> None:
    network, low = dense((2, 3), seed=0), np.zeros((1, 2))
    pairs = 1 if pairs is None else pairs
    with pytest.raises(InputError, match=f"known{message}" if message[0] == "\\" else f"known {message}"):
        linear_bounds(network, low, low + 1, known=pairs)
    with pytest.raises(InputError, match=f"bounds{message}" if message[0] == "\\" else f"bounds {message}"):
        linear_margins(network, low, low + 1, np.eye(3), bounds=pairs)


def test_known_bounds_that_cannot_hold_are_refused() -> None:
    network = LayerList((1,), (linear_layer([[1]]),))
    with pytest.raises(
        InputError, match=r"known\[0\]\[0, 0\] is \[5.0, 6.0\], which does not hold: the value is in \["
    ):
        linear_bounds(network, [[0.0]], [[1.0]], known=[(np.array([[5.0]]), np.array([[6.0]]))])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@EVERY_KIND_OF_SLOPE
def test_a_gpu_gives_the_bounds_of_the_cpu(slopes: str) -> None:
    network, rng = convolutional(({"padding": (1, 1)}, {"stride": (2, 2)}), size=12), np.random.default_rng(8)
    low = rng.uniform(0, 1, (4, 2, 12, 12))
    on_gpu = linear_bounds(network, low, low + 0.1, device="cuda", slopes=slopes)
    on_cpu = linear_bounds(network, low, low + 0.1, slopes=slopes)
    assert_close(on_gpu, on_cpu, 1e-2 if slopes == "optimised" else CLOSE)


def assert_within(inner: tuple[Array, Array], outer: tuple[Array, Array]) -> None:
    """Up to the roundings of an interval step on other numbers."""
    tolerance = 1e-13 * (1 + np.abs(outer[0]) + np.abs(outer[1]))
    assert (inner[0] >= outer[0] - tolerance).all()
    assert (inner[1] <= outer[1] + tolerance).all()


def assert_close(ours: Bounds, theirs: Bounds, close: float = CLOSE) -> None:
    for one, other in zip(ours, theirs, strict=True):
        for bound, expected in zip(one, other, strict=True):
            np.testing.assert_allclose(bound.ravel(), expected.ravel(), rtol=close, atol=close)


def joined(pairs: tuple[tuple[Array, Array], ...]) -> tuple[Array, Array]:
    return np.concatenate([low for low, _ in pairs]), np.concatenate([high for _, high in pairs])


def all_values(network: LayerList, values: Array) -> list[Array]:
    return [values := layer.forward(values) for layer in network.layers]


def images(network: LayerList, count: int) -> tuple[LayerList, Array, Array]:
    """The network and boxes of radius 0.02 around the first shipped images."""
    centres = samples().images[:count].astype(np.float64).reshape(count, *zoo.INPUT_SHAPE)
    return network, np.clip(centres - 0.02, 0, 1), np.clip(centres + 0.02, 0, 1)


def with_matrices(network: LayerList) -> LayerList:
    """A Flatten, and then the same network with a convolution's matrix for each convolution."""
    layers: list[Layer] = [Flatten()]
    for layer, shape in zip(network.layers, (network.input_shape, *network.shapes), strict=False):
        if isinstance(layer, Conv2d):
            A, b = conv_affine(layer, shape)
            layers.append(Linear(A.toarray(), b))
        else:
            layers.append(layer)
    return LayerList(network.input_shape, tuple(layers))


def linear_layer(weight: list[list[float]]) -> Linear:
    return Linear(np.array(weight, float), np.zeros(len(weight)))


def dense(widths: tuple[int, ...], seed: int) -> LayerList:
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [Linear(rng.normal(size=(outputs, inputs)), rng.normal(size=outputs)), ReLU()]
    return LayerList(widths[:1], tuple(layers[:-1]))


def convolutional(settings: tuple[dict[str, Any], ...], size: int) -> LayerList:
    """A convolution of 4 channels for each of the settings, then 4 classes."""
    rng = np.random.default_rng(9)
    shape: Shape = (2, size, size)
    layers: list[Layer] = []
    for options in settings:
        weight = rng.normal(0, 0.3, (4, shape[0] // options.get("groups", 1), 3, 3))
        convolution = Conv2d(weight, rng.normal(0, 0.3, 4), **options)
        layers += [convolution, ReLU()]
        shape = convolution.output_shape(shape)
    outputs = Linear(rng.normal(0, 0.3, (4, int(np.prod(shape)))), rng.normal(size=4))
    return LayerList((2, size, size), (*layers, Flatten(), outputs))
