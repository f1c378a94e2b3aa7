"""Interval bounds against exact rational arithmetic, forward passes and one another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import interval_bounds, interval_margins, zoo
from networks.bounds import interval
from networks.errors import InputError
from networks.layers import Array, Conv2d, Flatten, LayerList, Linear, ReLU
from networks.lowering import conv_affine
from tests.networks.exact_intervals import ExactBox, exact_bounds, exact_margins
from tests.networks.strategies import SEEDS, Box, boxes, layer_lists, points_in

CLOSE = 1e-12  # excess width in units of the largest sum of absolute products, a thousand roundings or so
TINY, HUGE = 5e-324, 1e300


@contextmanager
def denormals_flushed(flushed: bool) -> Iterator[None]:
    """Numbers below 2^-1022 count as zero in here, where asked and where the processor can."""
    if not torch.set_flush_denormal(flushed) and flushed:
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


FLUSHED = pytest.mark.parametrize("flushed", [False, True], ids=["denormals kept", "denormals flushed"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bounds_contain_the_exact_interval_and_hardly_more(data: st.DataObject) -> None:
    network = data.draw(layer_lists(max_layers=5))
    box = data.draw(boxes(network.input_shape))
    tolerances = [CLOSE * high[0].ravel() for _, high in magnitudes(network, box)]
    exact = exact_bounds(network, box)
    for computed, (low, high), tolerance in zip(bounds_of(network, box), exact, tolerances, strict=True):
        assert_contains(computed, (low, high))
        assert_close(computed, (low, high), tolerance)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bounds_contain_the_forward_pass_of_points_and_corners(data: st.DataObject) -> None:
    network = data.draw(layer_lists())
    box = data.draw(boxes(network.input_shape))
    values = np.concatenate([points_in(box, 20, data.draw(SEEDS)), corners(box, 20, data.draw(SEEDS))])
    for layer, (low, high) in zip(network.layers, bounds_of(network, box), strict=True):
        values = layer.forward(values)
        assert (low <= values).all()
        assert (values <= high).all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_margins_contain_the_exact_interval_and_hardly_more(data: st.DataObject) -> None:
    network = data.draw(layer_lists(max_layers=4))
    box = data.draw(boxes(network.input_shape))
    C = np.random.default_rng(data.draw(SEEDS)).normal(size=(3, network.class_count))
    computed = interval_margins(network, box[0][None], box[1][None], C)
    exact = exact_margins(network, box, C)
    assert_contains(computed, exact)
    assert_close(computed, exact, CLOSE * np.abs(C) @ magnitudes(network, box)[-1][1].ravel())


@FLUSHED
@pytest.mark.parametrize("scale", [1e-320, 1e-308, 1e-300, 1e-160, 1e-20, 1e20, 1e150, HUGE])
@pytest.mark.parametrize("inputs", [1e-320, 1e-160, 1.0, HUGE])
def test_bounds_contain_the_exact_interval_at_any_scale(scale: float, inputs: float, flushed: bool) -> None:
    rng = np.random.default_rng(1)
    network = LayerList((2, 3, 3), (Flatten(), *(_scaled(rng, scale, *size) for size in ((5, 18), (4, 5), (3, 4)))))
    centre, radius = rng.normal(size=(2, 3, 3)), rng.uniform(0, 0.5, (2, 3, 3))
    assert_sound(network, (inputs * (centre - radius), inputs * (centre + radius)), rng.normal(size=(2, 3)), flushed)


@FLUSHED
@pytest.mark.parametrize(
    ("weight", "inputs", "margin"),
    [
        (TINY, 1e308, 1.0),
        (1e-310, 1e308, 1.0),
        (2.0**-1022, 1e308, 1.0),
        (HUGE, 1e-310, 1.0),
        (HUGE, 1.0, 1e-310),
        (1e-200, HUGE, 1e-200),
        (1e-160, 1e-160, HUGE),
        (1e-310, 1.0, HUGE),
    ],
)
def test_what_underflows_or_is_flushed_is_not_lost(weight: float, inputs: float, margin: float, flushed: bool) -> None:
    network = LayerList((2,), (Linear(np.full((2, 2), weight), np.zeros(2)),))
    assert_sound(network, (np.full(2, inputs), np.full(2, 1.5 * inputs)), np.full((1, 2), margin), flushed)


def test_the_rounding_of_the_radius_itself_is_counted() -> None:
    rng = np.random.default_rng(10)
    network = LayerList((30,), (Linear(rng.normal(size=(40, 30)), np.zeros(40)),))
    radius = rng.uniform(0, 1, 30)  # around zero, so that the centre has no error to hide behind
    assert_sound(network, (-radius, radius), rng.normal(size=(20, 40)))


def test_the_rounding_of_the_folded_margins_is_counted() -> None:
    rng = np.random.default_rng(11)
    weight = rng.normal(size=(1, 6)) + 1e-14 * rng.normal(size=(8, 6))  # classes that hardly differ
    C = rng.normal(size=(20, 8))
    C -= C.mean(axis=1, keepdims=True)
    point = rng.uniform(0, 1, 6)
    assert_sound(LayerList((6,), (Linear(weight, np.zeros(8)),)), (point, point), C)


@pytest.mark.parametrize("big", [1e16, 1e100, 1e307])
def test_cancellation_keeps_the_exact_value_inside(big: float) -> None:
    network = LayerList((3,), (linear([[big, 1.0, -big], [1.0, big, -big]], [0.1, -0.3]),))
    for box in ((np.ones(3), np.ones(3)), (np.full(3, 0.1), np.full(3, 0.7))):
        assert_contains(bounds_of(network, box)[0], exact_bounds(network, box)[0])


@pytest.mark.parametrize("lower", [0.0, 1.0])
def test_a_sum_that_overflows_bounds_nothing_wrongly(lower: float) -> None:
    rows = [[1.7e308, 1.7e308, -1.7e308], [1.0, 0.0, 0.0]]
    layers = (linear(rows, [0, 0]), ReLU(), linear([[1, 0], [0, 1]], [0, 0]))
    bounds = bounds_of(LayerList((3,), layers), (np.full(3, lower), np.ones(3)))
    (low, high), *_ = bounds
    if lower < 1.0:  # the radius overflows in any order; the centre, all that a point has, where two terms meet first
        assert (low[0, 0], high[0, 0]) == (-np.inf, np.inf)
    assert low[0, 0] <= 1.7e308 <= high[0, 0]
    assert low[0, 1] <= lower <= 1.0 <= high[0, 1] < 1.0 + 1e-12
    assert not any(np.isnan(bound).any() for pair in bounds for bound in pair)
    assert bounds[1][0][0, 0] >= 0.0


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_point_has_an_interval_a_few_roundings_wide(data: st.DataObject) -> None:
    network = data.draw(layer_lists())
    point = data.draw(boxes(network.input_shape, max_radius=0.0))
    sizes = magnitudes(network, point)
    for (low, high), (_, size) in zip(bounds_of(network, point), sizes, strict=True):
        assert (high - low <= 2 * CLOSE * size).all()


def test_folding_the_margins_is_never_looser_and_here_tighter() -> None:
    network, rng = dense((6, 8, 8, 4), seed=2), np.random.default_rng(3)
    lower = rng.uniform(-1, 1, (5, 6))
    upper = lower + 0.3
    C = np.eye(4)[0] - np.eye(4)[1:]
    low, high = interval_margins(network, lower, upper, C)
    last_low, last_high = interval_bounds(network, lower, upper)[-1]
    unfolded_low = last_low @ np.maximum(C, 0).T + last_high @ np.minimum(C, 0).T
    unfolded_high = last_high @ np.maximum(C, 0).T + last_low @ np.minimum(C, 0).T
    assert (low > unfolded_low).all()
    assert (high < unfolded_high).all()


def test_margins_behind_a_last_relu_combine_its_bounds() -> None:
    network = LayerList((6,), (*dense((6, 8, 4), seed=2).layers, ReLU()))
    lower, upper = np.full((1, 6), -0.5), np.full((1, 6), 0.5)
    C = np.array([[1.0, -1.0, 0.0, 0.0], [0.5, 0.0, 2.0, -3.0]])
    last_low, last_high = interval_bounds(network, lower, upper)[-1]
    low, high = interval_margins(network, lower, upper, C)
    np.testing.assert_allclose(low, last_low @ np.maximum(C, 0).T + last_high @ np.minimum(C, 0).T, rtol=1e-13)
    np.testing.assert_allclose(high, last_high @ np.maximum(C, 0).T + last_low @ np.minimum(C, 0).T, rtol=1e-13)


def test_margins_of_its_own_for_every_box_agree_with_shared_ones() -> None:
    network, rng = dense((6, 8, 4), seed=4), np.random.default_rng(5)
    lower = rng.uniform(-1, 1, (7, 6))
    C = rng.normal(size=(7, 3, 4))
    own = np.array(interval_margins(network, lower, lower + 0.2, C))
    shared = [interval_margins(network, lower[[i]], lower[[i]] + 0.2, C[i]) for i in range(7)]
    np.testing.assert_allclose(own, np.concatenate(shared, axis=1), rtol=1e-12, atol=1e-12)


def test_a_batch_gives_what_its_boxes_give_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "LEAST_BOXES", 4)
    monkeypatch.setattr(interval, "THREAD_NUMBERS", 1)  # several chunks, the last one smaller
    network, rng = convolutional(), np.random.default_rng(6)
    lower = rng.uniform(0, 1, (11, 2, 5, 5))
    upper = lower + rng.uniform(0, 0.1, lower.shape)
    together = interval_bounds(network, lower, upper)
    for i in range(len(lower)):
        for whole, alone in zip(together, interval_bounds(network, lower[[i]], upper[[i]]), strict=True):
            np.testing.assert_allclose(np.array(whole)[:, i], np.array(alone)[:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [{}, {"stride": (2, 1), "padding": (1, 2)}, {"dilation": (2, 1)}, {"groups": 2, "padding": (1, 1)}],
    ids=str,
)
def test_a_convolution_has_the_bounds_of_its_sparse_matrix(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(7)
    layer = Conv2d(rng.normal(size=(4, 2 // settings.get("groups", 1), 3, 2)), rng.normal(size=4), **settings)
    A, b = conv_affine(layer, (2, 6, 5))
    lower = rng.uniform(-1, 1, (3, 2, 6, 5))
    upper = lower + rng.uniform(0, 0.5, lower.shape)
    direct = np.array(interval_bounds(LayerList((2, 6, 5), (layer,)), lower, upper)[0]).reshape(2, 3, -1)
    matrix = interval_bounds(LayerList((2, 6, 5), (Flatten(), Linear(A.toarray(), b))), lower, upper)[-1]
    np.testing.assert_allclose(direct, matrix, rtol=1e-12, atol=1e-12)


def test_a_network_may_begin_and_end_with_relu() -> None:
    network = LayerList((2,), (ReLU(), linear([[1, -1]], [0.5]), ReLU()))
    bounds = interval_bounds(network, [[-1.0, -2.0]], [[1.0, -1.0]])
    expected = [np.array([[0, 0], [1, 0]]), np.array([[0.5], [1.5]]), np.array([[0.5], [1.5]])]
    for pair, values in zip(bounds, expected, strict=True):
        np.testing.assert_allclose(np.array(pair)[:, 0], values, rtol=1e-12)


def test_arrays_give_arrays_and_tensors_give_tensors() -> None:
    network = convolutional()
    lower = np.zeros((3, 2, 5, 5))
    lower.flags.writeable = False
    arrays = interval_bounds(network, lower, lower + 1)
    tensors = interval_bounds(network, torch.zeros(3, 2, 5, 5, requires_grad=True), torch.ones(3, 2, 5, 5))
    for array, tensor, shape in zip(arrays, tensors, network.shapes, strict=True):
        for one, other in zip(array, tensor, strict=True):
            assert isinstance(one, np.ndarray)
            assert one.shape == (3, *shape)
            assert one.dtype == np.float64
            assert other.dtype == torch.float64
            assert not other.requires_grad
            np.testing.assert_array_equal(one, other.numpy())
    assert isinstance(interval_margins(network, lower, lower, np.eye(4))[0], np.ndarray)
    assert isinstance(
        interval_margins(network, torch.zeros(1, 2, 5, 5), torch.ones(1, 2, 5, 5), np.eye(4))[0], torch.Tensor
    )


def test_an_empty_batch_has_empty_bounds() -> None:
    nothing = np.empty((0, 2, 5, 5))
    network = convolutional()
    assert [low.shape for low, _ in interval_bounds(network, nothing, nothing)] == [(0, *s) for s in network.shapes]
    assert interval_margins(network, nothing, nothing, np.eye(4))[1].shape == (0, 4)


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        (np.zeros(2), np.zeros(2), r"lower has shape \(2,\); expected \(n, \*\(2,\)\)"),
        (np.zeros((1, 2)), np.zeros((1, 3)), r"upper has shape \(1, 3\)"),
        (np.zeros((1, 2)), np.zeros((2, 2)), "lower has 1 boxes and upper 2"),
        ([[0.0, np.nan]], [[1.0, 1.0]], r"lower\[0, 1\] is nan; expected a finite number"),
        ([[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [np.inf, 1.0]], r"upper\[1, 0\] is inf"),
        ([[0.0, 0.0], [0.0, 0.5]], [[1.0, 1.0], [1.0, 0.0]], r"lower\[1, 1\] is 0.5, above its upper bound 0.0"),
        ([["a", "b"]], [["c", "d"]], "lower is not an array of numbers"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(lower: Any, upper: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        interval_bounds(dense((2, 3), seed=0), lower, upper)
    with pytest.raises(InputError, match=message):
        interval_margins(dense((2, 3), seed=0), lower, upper, np.eye(3))


def test_a_refused_box_in_a_later_chunk_has_its_own_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "LEAST_BOXES", 2)
    monkeypatch.setattr(interval, "THREAD_NUMBERS", 1)
    lower = np.zeros((9, 2))
    lower[7, 1] = 2.0
    with pytest.raises(InputError, match=r"lower\[7, 1\] is 2.0, above its upper bound 1.0"):
        interval_bounds(dense((2, 3), seed=0), lower, np.ones((9, 2)))


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        (np.ones(3), r"margins has shape \(3,\)"),
        (np.ones((2, 4)), r"margins has shape \(2, 4\); expected \(k, 3\)"),
        (np.ones((2, 1, 3)), r"expected \(k, 3\) or, a block a box, \(1, k, 3\)"),
        ([[np.inf, 0.0, 0.0]], "margins has a value that is not finite"),
    ],
)
def test_margins_that_do_not_fit_are_refused(margins: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        interval_margins(dense((2, 3), seed=0), np.zeros((1, 2)), np.ones((1, 2)), margins)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        interval_bounds(dense((2, 3), seed=0), np.zeros((1, 2)), np.ones((1, 2)), device="abacus")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_sound_bounds_that_agree_with_the_cpu() -> None:
    network, rng = convolutional(), np.random.default_rng(8)
    centre = rng.uniform(0, 1, (4, 2, 5, 5))
    box = centre[0] - 0.1, centre[0] + 0.1
    on_gpu = interval_bounds(network, centre - 0.1, centre + 0.1, device="cuda")
    for ours, exact in zip(on_gpu, exact_bounds(network, box), strict=True):
        assert_contains((ours[0][:1], ours[1][:1]), exact)
    for ours, theirs in zip(on_gpu, interval_bounds(network, centre - 0.1, centre + 0.1), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)
    C = np.eye(4)[0] - np.eye(4)[1:]
    margins = interval_margins(network, box[0][None], box[1][None], C, device="cuda")
    assert_contains(margins, exact_margins(network, box, C))


def bounds_of(network: LayerList, box: Box) -> list[tuple[Array, Array]]:
    return interval_bounds(network, box[0][None], box[1][None])


def assert_sound(network: LayerList, box: Box, C: Array, flushed: bool = False) -> None:
    """Every layer's bounds and the margins' contain the exact intervals."""
    with denormals_flushed(flushed):
        computed = [*bounds_of(network, box), interval_margins(network, box[0][None], box[1][None], C)]
    for pair, exact in zip(computed, [*exact_bounds(network, box), exact_margins(network, box, C)], strict=True):
        assert_contains(pair, exact)


def assert_contains(computed: tuple[Array, Array], exact: ExactBox) -> None:
    low, high = computed[0].ravel().tolist(), computed[1].ravel().tolist()
    assert not np.isnan(computed).any()
    assert all(ours <= true for ours, true in zip(low, exact[0], strict=True))
    assert all(true <= ours for true, ours in zip(exact[1], high, strict=True))


def assert_close(computed: tuple[Array, Array], exact: ExactBox, tolerance: Array) -> None:
    for ours, true in zip(computed, exact, strict=True):
        assert (np.abs(ours.ravel() - np.array([float(v) for v in true])) <= tolerance + 1e-280).all()


def magnitudes(network: LayerList, box: Box) -> list[tuple[Array, Array]]:
    """For each neuron the sum of absolute products from the input on, as the upper bound."""
    layers = [
        Linear(np.abs(layer.weight), np.abs(layer.bias))
        if isinstance(layer, Linear)
        else Conv2d(np.abs(layer.weight), np.abs(layer.bias), layer.stride, layer.padding, layer.dilation, layer.groups)
        if isinstance(layer, Conv2d)
        else layer
        for layer in network.layers
    ]
    largest = np.maximum(np.abs(box[0]), np.abs(box[1]))
    return bounds_of(LayerList(network.input_shape, tuple(layers)), (largest, largest))


def corners(box: Box, count: int, seed: int) -> Array:
    upper = np.random.default_rng(seed).integers(0, 2, (count, *box[0].shape))
    return np.where(upper == 1, box[1], box[0])


def linear(weight: list[list[float]], bias: list[float]) -> Linear:
    return Linear(np.array(weight, float), np.array(bias, float))


def dense(widths: tuple[int, ...], seed: int) -> LayerList:
    rng = np.random.default_rng(seed)
    layers: list[Linear | ReLU] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [Linear(rng.normal(size=(outputs, inputs)), rng.normal(size=outputs)), ReLU()]
    return LayerList(widths[:1], tuple(layers[:-1]))


def convolutional() -> LayerList:
    rng = np.random.default_rng(9)
    first = Conv2d(rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3), padding=(1, 1))
    second = Conv2d(rng.normal(size=(2, 3, 3, 3)), rng.normal(size=2), stride=(2, 2))
    last = Linear(rng.normal(size=(4, 8)), rng.normal(size=4))
    return LayerList((2, 5, 5), (first, ReLU(), second, ReLU(), Flatten(), last))


def _scaled(rng: np.random.Generator, scale: float, outputs: int, inputs: int) -> Linear:
    """Weights of very different sizes around `scale`."""
    sizes = 10.0 ** rng.uniform(-8, 8, (outputs, inputs))
    weight = np.clip(rng.normal(size=(outputs, inputs)) * sizes, -1e7, 1e7) * scale
    return Linear(weight, rng.normal(size=outputs) * scale)


def test_a_network_may_be_named_and_the_device_left_to_torch() -> None:
    box = np.zeros((1, 1, 28, 28)), np.ones((1, 1, 28, 28))
    rows = np.eye(10)[:1]
    (named, _), (given, _) = (
        interval_margins(network, *box, rows, device)
        for network, device in (("mnist_small", "auto"), (zoo.load("mnist_small"), "cpu"))
    )
    np.testing.assert_allclose(named, given)
    assert len(interval_bounds("mnist_small", *box)) == len(zoo.load("mnist_small").layers)


def test_a_first_flattens_bounds_cannot_be_written_through_to_the_callers_arrays() -> None:
    lower = np.zeros((1, 1, 28, 28))
    first, _ = interval_bounds(zoo.load("mnist_small"), lower, lower)[0]
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1.0
    assert lower.flags.writeable
