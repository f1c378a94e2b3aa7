"""Interval bounds for 10,000 images: two products a layer against four."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from networks import interval_bounds, zoo
from networks.data import samples
from networks.layers import Flatten, LayerList, Linear
from networks.torch_io import from_torch
from tests.benchmarks.timing import quietest

IMAGE_COUNT = 10_000
EPSILON = 0.02
LEAST_SPEEDUP = 1.6
ROUNDS = 3

Pair = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """What threads gain depends on what else the machine runs; CPU seconds of one thread do not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_two_products_a_layer_beat_four(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]) -> None:
    network = from_torch(zoo.architecture("mnist_dnn_4"), zoo.INPUT_SHAPE)
    lower, upper = boxes()
    expected = four_product_bounds(network, lower, upper)
    found = benchmark.pedantic(interval_bounds, (network, lower, upper), rounds=1, warmup_rounds=1)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    two_s, four_s = quietest(
        ROUNDS,
        1 / LEAST_SPEEDUP,
        lambda: interval_bounds(network, lower, upper),
        lambda: four_product_bounds(network, lower, upper),
    )
    ratio = four_s / two_s
    benchmark.extra_info.update({"two_products_s": two_s, "four_products_s": four_s, "ratio": ratio})
    with capsys.disabled():
        print(f"\ninterval bounds, {IMAGE_COUNT:,} images: {two_s:.3f} CPU s, four products {four_s:.3f}, {ratio:.2f}x")
    assert ratio >= LEAST_SPEEDUP


def boxes() -> Pair:
    """The shipped images again and again, with the ball of radius 0.02 cut to [0, 1] around each."""
    images = torch.from_numpy(np.resize(samples().images, (IMAGE_COUNT, *zoo.INPUT_SHAPE))).double()
    return (images - EPSILON).clamp(min=0.0), (images + EPSILON).clamp(max=1.0)


def four_product_bounds(network: LayerList, lower: torch.Tensor, upper: torch.Tensor) -> list[Pair]:
    """`W+ l + W- u + b` and `W+ u + W- l + b`, roundings not counted; a pair a layer as `interval_bounds` gives."""
    bounds = []
    for layer in network.layers:
        if isinstance(layer, Linear):
            W, b = torch.tensor(layer.weight), torch.tensor(layer.bias)
            positive, negative = W.clamp(min=0.0).T, W.clamp(max=0.0).T
            lower, upper = (
                torch.addmm(b, lower, positive).addmm_(upper, negative),
                torch.addmm(b, upper, positive).addmm_(lower, negative),
            )
        elif isinstance(layer, Flatten):
            lower, upper = lower.flatten(1), upper.flatten(1)
        else:
            lower, upper = lower.clamp(min=0.0), upper.clamp(min=0.0)
        bounds.append((lower, upper))
    return bounds
