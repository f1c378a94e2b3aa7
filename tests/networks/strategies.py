"""Hypothesis strategies: random architectures as layer lists and as torch modules, and boxes of inputs.

Weights come from a drawn seed, not from Hypothesis entry by entry: what shrinks is the architecture.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from networks.instance import Instance, ball
from networks.layers import Array, Conv2d, Flatten, Layer, LayerList, Linear, ReLU, Shape
from networks.torch_io import Normalize

MAX_WIDTH = 6
MAX_LAYERS = 7
SEEDS = st.integers(0, 2**32 - 1)

Box = tuple[Array, Array]


@st.composite
def layer_lists(draw: st.DrawFn, max_layers: int = MAX_LAYERS) -> LayerList:
    """Networks of any order of the four kinds: first, last and repeated ReLUs and Flattens included."""
    rng = np.random.default_rng(draw(SEEDS))
    input_shape = shape = draw(input_shapes())
    layers: list[Layer] = []
    for _ in range(draw(st.integers(1, max_layers))):
        layer = draw(_layers(shape, rng))
        layers.append(layer)
        shape = layer.output_shape(shape)
    return LayerList(input_shape, tuple(layers))


@st.composite
def classifiers(draw: st.DrawFn, max_hidden: int = 2, max_width: int = 4, max_classes: int = 4) -> LayerList:
    """Fully connected ReLU networks with two or more classes, small enough for an exact solver."""
    rng = np.random.default_rng(draw(SEEDS))
    widths = draw(st.lists(st.integers(1, max_width), min_size=2, max_size=1 + max_hidden))
    layers: list[Layer] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [_random_linear(rng, inputs, outputs), ReLU()]
    layers.append(_random_linear(rng, widths[-1], draw(st.integers(2, max_classes))))
    return LayerList((widths[0],), tuple(layers))


@st.composite
def boxes(draw: st.DrawFn, shape: Shape, max_radius: float = 1.0) -> Box:
    """Boxes (lower, upper) of inputs within [-2, 2]; some are points."""
    rng = np.random.default_rng(draw(SEEDS))
    radius = draw(st.sampled_from((0.0, 0.01, 0.1, 1.0))) * max_radius
    centre = rng.uniform(-1.0, 1.0, shape)
    return centre - radius, centre + radius


@st.composite
def instances(draw: st.DrawFn, network: LayerList, max_epsilon: float = 0.5) -> Instance:
    """Questions about the class that `network` predicts for a random image in [0, 1]."""
    image = np.random.default_rng(draw(SEEDS)).uniform(0.0, 1.0, network.input_shape)
    label = int(network.forward(image[None])[0].argmax())
    return ball(network, image, label, draw(st.sampled_from((0.0, 0.02, 0.1, 1.0))) * max_epsilon)


def points_in(box: Box, count: int, seed: int) -> Array:
    """`count` random points of a box, its two extreme corners among them: shape (count + 2, *shape)."""
    lower, upper = box
    inside = np.random.default_rng(seed).uniform(lower, upper, (count, *lower.shape))
    return np.concatenate([inside, lower[None], upper[None]])


@st.composite
def torch_modules(draw: st.DrawFn, dtype: torch.dtype = torch.float32) -> tuple[nn.Sequential, Shape]:
    """Nested Sequentials of everything that can be exported, some in train mode, with their input shape."""
    rng = np.random.default_rng(draw(SEEDS))
    input_shape = shape = draw(input_shapes())
    modules: list[nn.Module] = []
    for _ in range(draw(st.integers(1, MAX_LAYERS))):
        module, shape = draw(_modules(shape))
        modules.append(module)
    modules.append(draw(_modules(shape, affine_only=True))[0])
    network = draw(_nested(modules)).to(dtype)
    randomize(network, rng)
    return network.train(draw(st.booleans())), input_shape


def randomize(module: nn.Module, rng: np.random.Generator) -> None:
    """Fill every parameter and buffer: variances and deviations are positive, the rest is normal."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            positive = name.endswith(("running_var", "std"))
            values = rng.uniform(0.5, 2.0, tensor.shape) if positive else rng.normal(0.0, 0.7, tensor.shape)
            tensor.copy_(torch.tensor(values))


@st.composite
def input_shapes(draw: st.DrawFn) -> Shape:
    """A vector or a small image."""
    if draw(st.booleans()):
        return (draw(st.integers(1, MAX_WIDTH)),)
    return (draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 6)))


@st.composite
def _layers(draw: st.DrawFn, shape: Shape, rng: np.random.Generator) -> Layer:
    kind = draw(st.sampled_from(("affine", "relu", "flatten")))
    if kind == "relu":
        return ReLU()
    if kind == "flatten":
        return Flatten()
    if len(shape) == 1:
        return _random_linear(rng, shape[0], draw(st.integers(1, MAX_WIDTH)))
    settings = draw(conv_settings(shape))
    out, kernel = settings.pop("out_channels"), settings.pop("kernel_size")
    weight = rng.normal(0.0, 0.7, (out, shape[0] // settings["groups"], *kernel))
    # Some exact zeros, which the sparse matrices leave out.
    return Conv2d(weight * (rng.random(weight.shape) < 0.9), rng.normal(size=out), **settings)


@st.composite
def conv_settings(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    """Arguments of a convolution that fits inputs of `shape`, named as torch names them."""
    groups = draw(st.sampled_from([g for g in range(1, shape[0] + 1) if shape[0] % g == 0]))
    axes = [draw(_conv_axis(size)) for size in shape[1:]]
    names = ("kernel_size", "stride", "padding", "dilation")
    settings: dict[str, Any] = {name: tuple(axis[i] for axis in axes) for i, name in enumerate(names)}
    return {"out_channels": groups * draw(st.integers(1, 2)), "groups": groups, **settings}


@st.composite
def _conv_axis(draw: st.DrawFn, size: int) -> tuple[int, int, int, int]:
    """Kernel size, stride, padding and dilation along an axis of `size`."""
    padding = draw(st.integers(0, 2))
    kernel = draw(st.integers(1, min(3, size + 2 * padding)))
    largest_dilation = (size + 2 * padding - 1) // max(kernel - 1, 1)
    dilation = draw(st.integers(1, min(2, max(largest_dilation, 1))))
    return kernel, draw(st.integers(1, 3)), padding, dilation


def _random_linear(rng: np.random.Generator, inputs: int, outputs: int) -> Linear:
    return Linear(rng.normal(0.0, 0.7, (outputs, inputs)), rng.normal(0.0, 0.5, outputs))


@st.composite
def _modules(draw: st.DrawFn, shape: Shape, affine_only: bool = False) -> tuple[nn.Module, Shape]:
    """A module that takes inputs of `shape`, and the shape of its outputs."""
    others = ("relu", "flatten", "identity", "dropout", "batch_norm", "normalize")
    kind = "affine" if affine_only else draw(st.sampled_from(("affine", *others)))
    if kind == "affine":
        return draw(_affine_modules(shape))
    if kind == "flatten":
        return nn.Flatten(), (int(np.prod(shape)),)
    if kind == "batch_norm":
        norm = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
        return norm(shape[0], affine=draw(st.booleans())), shape
    if kind == "normalize":
        count = draw(st.sampled_from((1, shape[0])))
        return Normalize([0.0] * count, [1.0] * count), shape
    return {"relu": nn.ReLU(), "identity": nn.Identity(), "dropout": nn.Dropout()}[kind], shape


@st.composite
def _affine_modules(draw: st.DrawFn, shape: Shape) -> tuple[nn.Module, Shape]:
    bias = draw(st.booleans())
    if len(shape) == 1:
        width = draw(st.integers(1, MAX_WIDTH))
        return nn.Linear(shape[0], width, bias=bias), (width,)
    module = nn.Conv2d(shape[0], bias=bias, **draw(conv_settings(shape)))
    return module, tuple(module(torch.zeros(1, *shape)).shape[1:])


@st.composite
def _nested(draw: st.DrawFn, modules: list[nn.Module]) -> nn.Sequential:
    """The modules in one Sequential, a drawn stretch of them in a Sequential of its own."""
    start = draw(st.integers(0, len(modules)))
    stop = draw(st.integers(start, len(modules)))
    return nn.Sequential(*modules[:start], nn.Sequential(*modules[start:stop]), *modules[stop:])
