"""The parts of linear bounds: patches and their way through affine maps, and the derivatives by the slopes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from networks import linear_margins
from networks.bounds import ascent, layerwise
from networks.bounds.backward import Crossing, Rows
from networks.bounds.patches import Patch, backwards, forwards
from networks.bounds.stages import stages_of
from networks.layers import Conv2d, LayerList
from tests.networks.strategies import SEEDS, boxes, conv_settings, layer_lists

CPU = torch.device("cpu")
STEP = 1e-7


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_forwards_is_the_transpose_of_backwards(data: st.DataObject) -> None:
    shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7)))
    options = data.draw(conv_settings(shape))
    rng = np.random.default_rng(data.draw(SEEDS))
    out, kernel = options.pop("out_channels"), options.pop("kernel_size")
    layer = Conv2d(rng.normal(size=(out, shape[0] // options["groups"], *kernel)), np.zeros(out), **options)
    stage = stages_of(LayerList(shape, (layer,)), CPU).stages[0]
    size = tuple(int(rng.integers(1, side + 1)) for side in stage.map[:2])
    step = (int(rng.integers(0, 3)), int(rng.integers(0, 3)))
    count = tuple((side - s) // t + 1 if t else 3 for side, s, t in zip(stage.map, size, step, strict=False))
    patch = Patch((size[0], size[1]), (0, 0), step, (count[0], count[1]))
    p, q = (torch.tensor(rng.integers(0, places, 4)) for places in count)
    at = torch.zeros_like(p), p, q
    rows = torch.tensor(rng.normal(size=(4, 2, *size, out)))
    behind = backwards(rows, at, stage, patch)
    values = torch.tensor(rng.normal(size=behind.shape))
    passed = forwards(values, at, stage, patch)
    torch.testing.assert_close((behind * values).flatten(2).sum(2), (rows * passed).flatten(2).sum(2))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_derivatives_by_the_slopes_are_those_of_the_bounds(data: st.DataObject) -> None:
    network = data.draw(layer_lists(max_layers=8))
    low, high = data.draw(boxes(network.input_shape))
    C = np.random.default_rng(data.draw(SEEDS)).normal(size=(2, network.class_count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(layerwise.BOUNDS, "optimised", bounds_with_checked_derivatives)
        linear_margins(network, low[None], high[None], C, slopes="optimised")


def bounds_with_checked_derivatives(crossings: Sequence[Crossing], rows: Rows) -> Tensor:
    """Where shares are random, the derivative in a random direction is the difference quotient's limit."""
    torch.manual_seed(0)
    bound, trace = ascent._evaluate(crossings, rows, [None] * len(crossings))
    shares: list[Tensor | None] = [
        torch.rand_like(positive) * 0.8 + 0.1 if crossing.stage is not None and crossing.stage.relu else None
        for crossing, (_, positive) in zip(crossings, trace, strict=True)
    ]
    _, trace = ascent._evaluate(crossings, rows, shares)
    for index, derivative in ascent._derivatives(crossings, trace, shares):
        direction = torch.randn_like(derivative)
        ends = [_moved(shares, index, sign * STEP * direction) for sign in (1, -1)]
        above, below = (ascent._evaluate(crossings, rows, end)[0] for end in ends)
        torch.testing.assert_close(
            (derivative * direction).flatten(2).sum(2), (above - below) / (2 * STEP), rtol=1e-4, atol=1e-4
        )
    return bound


def _moved(shares: list[Tensor | None], index: int, by: Tensor) -> list[Tensor | None]:
    share = shares[index]
    assert share is not None
    return [*shares[:index], share + by, *shares[index + 1 :]]
