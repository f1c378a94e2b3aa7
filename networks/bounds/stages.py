"""A network as stages, an affine map and then a ReLU or nothing, on maps that have their channels last.

Flattening is only another view of a map, and a second ReLU in a row changes nothing: neither makes a stage. A Linear
layer is a convolution whose kernel is as large as its input map, so that all affine layers are of one kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from networks.bounds.interval import PREPARED_NETWORKS, AffineStep, layer_steps
from networks.exact import UNIT
from networks.layers import Conv2d, LayerList, Linear, ReLU, Shape

Map = tuple[int, int, int]  # height, width, channels
Axes = tuple[int, int]  # something along the rows and along the columns


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """An affine layer without its bias, as a convolution of all channels.

    Attributes
    ----------
    matrix : Tensor, shape (out channels, kernel height * kernel width * in channels), float64
    size, stride, padding, dilation : (int, int)
    """

    matrix: Tensor
    size: Axes
    stride: Axes = (1, 1)
    padding: Axes = (0, 0)
    dilation: Axes = (1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """An affine map and then a ReLU or nothing.

    Attributes
    ----------
    kernel : Kernel or None
        The affine map; None is the identity, where a network begins with a ReLU.
    step : AffineStep or None
        Its interval step; None for the identity.
    bias : Tensor, shape (channels,), float64
    inner, affine, outer : int
        The layers whose outputs are the affine map's input, its output, and what the ReLU takes, which differs from the
        output if a Flatten stands between; -1 is the network's input.
    relu : bool
    input_map, map : (height, width, channels)
        Of the affine map's input and output.
    """

    kernel: Kernel | None
    step: AffineStep | None
    bias: Tensor
    inner: int
    affine: int
    outer: int
    relu: bool
    input_map: Map
    map: Map


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """All stages of a network, the map of its input, and `8 K u`, which bounds the roundings: see `linear`."""

    stages: tuple[Stage, ...]
    box_map: Map
    error: float


@lru_cache(maxsize=PREPARED_NETWORKS)
def stages_of(network: LayerList, device: torch.device) -> Stages:
    """The network's stages, their weights on the device."""
    box_map = to_map(network.input_shape)
    stages: list[Stage] = []
    for index, layer in enumerate(network.layers):
        before = stages[-1].map if stages else box_map
        if isinstance(layer, Linear | Conv2d):
            stages.append(_affine_stage(network, index, before, device))
        elif not stages:
            if isinstance(layer, ReLU):
                stages.append(_identity_stage(index, box_map, device))
        elif not stages[-1].relu:
            last = stages.pop()
            stages.append(replace(last, relu=True) if isinstance(layer, ReLU) else replace(last, outer=index))
    terms = max(math.prod(network.input_shape), *(math.prod(stage.map) for stage in stages), 1)
    return Stages(tuple(stages), box_map, 8 * (terms + 8 * len(stages) + 32) * UNIT)


def to_map(shape: Shape) -> Map:
    """The map of a layer's output; a vector has one place and only channels."""
    return (shape[1], shape[2], shape[0]) if len(shape) == 3 else (1, 1, math.prod(shape))


def on_map(values: Tensor, place: Map) -> Tensor:
    """Values of a layer's output, (n, ...) with channels first, as (n, height, width, channels), contiguous."""
    height, width, channels = place
    return values.reshape(-1, channels, height, width).permute(0, 2, 3, 1).contiguous()


def _affine_stage(network: LayerList, index: int, before: Map, device: torch.device) -> Stage:
    layer, step = network.layers[index], layer_steps(network, device)[index]
    assert isinstance(layer, Linear | Conv2d)
    assert isinstance(step, AffineStep)
    kernel = _linear_kernel(layer, before, device) if isinstance(layer, Linear) else _conv_kernel(layer, device)
    place = to_map(network.shapes[index])
    return Stage(kernel, step, step.bias, index - 1, index, index, False, before, place)


def _identity_stage(index: int, box_map: Map, device: torch.device) -> Stage:
    bias = torch.zeros(box_map[2], dtype=torch.float64, device=device)
    return Stage(None, None, bias, index - 1, index - 1, index - 1, True, box_map, box_map)


def _linear_kernel(layer: Linear, before: Map, device: torch.device) -> Kernel:
    height, width, channels = before
    weight = torch.tensor(layer.weight, device=device).reshape(-1, channels, height, width)
    return Kernel(_matrix(weight), size=(height, width))


def _conv_kernel(layer: Conv2d, device: torch.device) -> Kernel:
    """Groups become zeros of one kernel over all channels."""
    out, per_group, height, width = layer.weight.shape
    weight = torch.zeros((out, per_group * layer.groups, height, width), dtype=torch.float64, device=device)
    for group, rows in enumerate(torch.tensor(layer.weight, device=device).chunk(layer.groups)):
        first = group * len(rows)
        weight[first : first + len(rows), group * per_group : (group + 1) * per_group] = rows
    return Kernel(_matrix(weight), (height, width), layer.stride, layer.padding, layer.dilation)


def _matrix(weight: Tensor) -> Tensor:
    return weight.permute(0, 2, 3, 1).flatten(1).contiguous()
