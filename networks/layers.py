"""The intermediate form: a frozen list of layers in float64, and `forward`, their run in float64."""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from networks.errors import NetworkError
from networks.files import shown

if TYPE_CHECKING:
    import pandas as pd
    import torch

Array = NDArray[np.float64]
Shape = tuple[int, ...]

MOST_VALUES = 10**7  # of a layer, for one input: thrice the largest layer of VGG-16
FORWARD_BATCH = 500  # images a convolution takes at a time: keeps its unfolded input below a gigabyte


def read_only(values: ArrayLike) -> Array:
    """A contiguous float64 copy of `values` that cannot be written to."""
    array = np.asarray(values, dtype=np.float64).copy(order="C")  # np.array with a torch tensor would warn
    array.flags.writeable = False
    return array


def whole_numbers(values: Iterable[int], what: str, least: int = 1) -> Shape:
    """`values` as a tuple of int, each at least `least`; NetworkError, naming `what`, for anything else."""
    try:
        sizes = tuple(operator.index(value) for value in values)
    except TypeError:
        sizes = ()
    if not sizes or min(sizes) < least or max(sizes) > MOST_VALUES:
        raise NetworkError(f"{what} is {shown(values)}; expected whole numbers from {least} to {MOST_VALUES:,}")
    return sizes


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """`z -> weight @ z + bias`, with `weight` (out, in) and `bias` (out,)."""

    weight: Array
    bias: Array

    def __post_init__(self) -> None:
        _freeze_parameters(self, weight_ndim=2)

    def output_shape(self, shape: Shape) -> Shape:
        """`(in,) -> (out,)`."""
        if len(shape) != 1 or shape[0] != self.weight.shape[1]:
            raise NetworkError(f"Linear takes ({self.weight.shape[1]},), but its input has shape {shape}")
        return (self.weight.shape[0],)

    def forward(self, batch: Array) -> Array:
        """`(n, in) -> (n, out)`."""
        return batch @ self.weight.T + self.bias

    def to_torch(self) -> torch.nn.Module:
        """The float64 torch module."""
        from torch import nn

        rows, columns = self.weight.shape
        return _torch_module(nn.Linear, self, in_features=columns, out_features=rows)


@dataclass(frozen=True, slots=True, eq=False)
class Conv2d:
    """A two-dimensional convolution with zero padding, as `torch.nn.Conv2d` defines it.

    `weight` is (out, in / groups, height, width), `bias` (out,); `stride`, `padding`, `dilation` are (rows, columns).
    """

    weight: Array
    bias: Array
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        _freeze_parameters(self, weight_ndim=4)
        for name, least in (("stride", 1), ("padding", 0), ("dilation", 1)):
            value = whole_numbers(getattr(self, name), f"Conv2d {name}", least)
            if len(value) != 2:
                raise NetworkError(f"Conv2d {name} is {value}; expected two numbers, of rows and of columns")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "groups", whole_numbers([self.groups], "Conv2d groups")[0])
        if self.weight.shape[0] % self.groups:
            raise NetworkError(f"Conv2d groups is {self.groups}; expected a divisor of {self.weight.shape[0]} channels")

    def output_shape(self, shape: Shape) -> Shape:
        """`(in, height, width) -> (out, height', width')`."""
        channels = self.weight.shape[1] * self.groups
        if len(shape) != 3 or shape[0] != channels:
            raise NetworkError(f"Conv2d takes ({channels}, height, width), but its input has shape {shape}")
        size = [
            (shape[i + 1] + 2 * self.padding[i] - self.dilation[i] * (self.weight.shape[i + 2] - 1) - 1)
            // self.stride[i]
            + 1
            for i in range(2)
        ]
        if min(size) < 1:
            raise NetworkError(f"Conv2d kernel {self.weight.shape[2:]} does not fit into its input of shape {shape}")
        return (self.weight.shape[0], size[0], size[1])

    def forward(self, batch: Array) -> Array:
        """`(n, in, height, width) -> (n, out, height', width')`."""
        import torch
        from torch.nn.functional import conv2d

        # Copies: torch warns about arrays that are read-only and refuses negative strides.
        weight, bias, values = (torch.tensor(array.copy()) for array in (self.weight, self.bias, batch))
        settings = (self.stride, self.padding, self.dilation, self.groups)
        parts = [conv2d(part, weight, bias, *settings) for part in values.split(FORWARD_BATCH)]
        return np.asarray(torch.cat(parts).numpy())

    def to_torch(self) -> torch.nn.Module:
        """The float64 torch module."""
        from torch import nn

        out, channels, height, width = self.weight.shape
        return _torch_module(
            nn.Conv2d,
            self,
            in_channels=channels * self.groups,
            out_channels=out,
            kernel_size=(height, width),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@dataclass(frozen=True, slots=True)
class ReLU:
    """`z -> max(z, 0)`, componentwise."""

    def output_shape(self, shape: Shape) -> Shape:
        """The input's shape."""
        return shape

    def forward(self, batch: Array) -> Array:
        """`max(batch, 0)`."""
        return np.maximum(batch, 0.0)

    def to_torch(self) -> torch.nn.Module:
        """The torch module."""
        from torch import nn

        return nn.ReLU()


@dataclass(frozen=True, slots=True)
class Flatten:
    """Everything behind the batch dimension in one row, channels first as torch does."""

    def output_shape(self, shape: Shape) -> Shape:
        """`(a, b, ...) -> (a b ...,)`."""
        return (math.prod(shape),)

    def forward(self, batch: Array) -> Array:
        """`(n, a, b, ...) -> (n, a b ...)`."""
        return batch.reshape(len(batch), math.prod(batch.shape[1:]))

    def to_torch(self) -> torch.nn.Module:
        """The torch module."""
        from torch import nn

        return nn.Flatten()


Layer = Linear | Conv2d | ReLU | Flatten
LAYER_KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in (Linear, Conv2d, ReLU, Flatten)}
PARAMETERS = ("weight", "bias")


@dataclass(frozen=True, eq=False, repr=False)
class LayerList:
    """A ReLU network as a frozen list of layers.

    Parameters
    ----------
    input_shape : tuple of int
        The shape of one input, without the batch dimension, e.g. `(1, 28, 28)`.
    layers : iterable of Linear, Conv2d, ReLU and Flatten
        In order. Weights are float64 and read-only; float32 weights are represented exactly.

    Attributes
    ----------
    shapes : tuple of tuple of int
        The output shape of each layer, without the batch dimension.

    Raises
    ------
    NetworkError
        Shapes that do not follow from one another, a value that is not finite, or no layer.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    shapes: tuple[Shape, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", whole_numbers(self.input_shape, "input_shape"))
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "shapes", self._check_shapes())

    def __repr__(self) -> str:
        kinds = ", ".join(type(layer).__name__ for layer in self.layers)
        return f"LayerList({self.input_shape} -> {self.output_shape}: {kinds})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerList) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def output_shape(self) -> Shape:
        """The shape of one output."""
        return self.shapes[-1]

    @property
    def class_count(self) -> int:
        """The number of outputs."""
        return math.prod(self.output_shape)

    @property
    def neuron_count(self) -> int:
        """The number of ReLUs."""
        pairs = zip(self.layers, self.shapes, strict=True)
        return sum(math.prod(shape) for layer, shape in pairs if isinstance(layer, ReLU))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the structure and the weights, as 64 hexadecimal digits."""
        sha = hashlib.sha256(json.dumps(self.structure(), sort_keys=True).encode())
        for name, array in self.arrays().items():
            sha.update(f"{name}{array.shape}".encode())
            sha.update(array.astype("<f8", copy=False).tobytes())
        return sha.hexdigest()

    def forward(self, batch: ArrayLike) -> Array:
        """The outputs for a batch, as float64 has them; infinite or NaN where it overflows.

        What the network means is `networks.exact.exact_forward`, of which these are the rounded values.

        Parameters
        ----------
        batch : array_like, shape (n, *input_shape)

        Returns
        -------
        ndarray, shape (n, *output_shape), float64
        """
        values = self.check_batch(batch)
        with np.errstate(over="ignore", invalid="ignore"):
            for layer in self.layers:
                values = layer.forward(values)
        return values

    def check_batch(self, batch: ArrayLike) -> Array:
        """The batch as float64; NetworkError unless its shape is (n, *input_shape)."""
        values = np.asarray(batch, dtype=np.float64)
        if values.ndim == 0 or values.shape[1:] != self.input_shape:
            sizes = ", ".join(map(str, self.input_shape))
            raise NetworkError(f"the network takes batches of shape (n, {sizes}), not {values.shape}")
        return values

    def to_torch(self, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> torch.nn.Sequential:
        """The network as an `nn.Sequential` in eval mode, without gradients for its weights.

        `dtype` is float32 unless given; weights are rounded to it.
        """
        import torch

        module = torch.nn.Sequential(*(layer.to_torch() for layer in self.layers))
        return module.to(dtype=dtype or torch.float32, device=device).eval().requires_grad_(False)

    def summary(self) -> pd.DataFrame:
        """One row a layer: its kind, output shape, number of parameters and settings."""
        import pandas as pd

        rows = [
            {
                "layer": type(layer).__name__,
                "output shape": str(shape),
                "parameters": sum(getattr(layer, name).size for name in PARAMETERS if hasattr(layer, name)),
                "settings": ", ".join(f"{key}={value}" for key, value in _settings(layer).items()),
            }
            for layer, shape in zip(self.layers, self.shapes, strict=True)
        ]
        return pd.DataFrame(rows)

    def structure(self) -> dict[str, Any]:
        """The input shape and each layer's kind and settings, as JSON represents them."""
        layers = [{"kind": type(layer).__name__, **_settings(layer)} for layer in self.layers]
        return {"input_shape": list(self.input_shape), "layers": layers}

    def arrays(self) -> dict[str, Array]:
        """The parameters by name, e.g. `0.weight` for those of the first layer."""
        return {
            f"{index}.{name}": getattr(layer, name)
            for index, layer in enumerate(self.layers)
            for name in PARAMETERS
            if hasattr(layer, name)
        }

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the weights as tensors, the structure as JSON in the metadata.

        Weights that float32 represents exactly are stored as float32; loading gives back the same digest either way.

        Raises
        ------
        NetworkError
            The file cannot be written.
        """
        from networks.layer_file import write

        write(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> LayerList:
        """Read a file that `save` wrote.

        Raises
        ------
        NetworkError
            The file is missing, is no layer list, or does not make a network.
        """
        from networks.layer_file import read

        return read(Path(path))

    def _check_shapes(self) -> tuple[Shape, ...]:
        shape, shapes = self.input_shape, []
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise NetworkError(
                    f"layer {index} is a {type(layer).__name__}; expected one of {', '.join(LAYER_KINDS)}"
                )
            try:
                shape = layer.output_shape(shape)
                _check_finite(layer)
            except NetworkError as error:
                raise NetworkError(f"layer {index}: {error}") from None
            if math.prod(shape) > MOST_VALUES:
                raise NetworkError(f"layer {index}: has {math.prod(shape):,} outputs; expected at most {MOST_VALUES:,}")
            shapes.append(shape)
        if not shapes:
            raise NetworkError("a network needs at least one layer")
        return tuple(shapes)


def _freeze_parameters(layer: Linear | Conv2d, weight_ndim: int) -> None:
    """Replace the layer's parameters by read-only float64 copies and check their shapes."""
    kind = type(layer).__name__
    for name in PARAMETERS:
        try:
            object.__setattr__(layer, name, read_only(getattr(layer, name)))
        except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor that has a gradient
            raise NetworkError(f"{kind} {name} is no array of numbers: {error}") from error
    if layer.weight.ndim != weight_ndim or 0 in layer.weight.shape:
        raise NetworkError(f"{kind} weight has shape {layer.weight.shape}; expected {weight_ndim} positive sizes")
    if layer.bias.shape != layer.weight.shape[:1]:
        raise NetworkError(f"{kind} bias has shape {layer.bias.shape}; expected {layer.weight.shape[:1]}")


def _check_finite(layer: Layer) -> None:
    for name in PARAMETERS:
        values = getattr(layer, name, None)
        if values is not None and not np.isfinite(values).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise NetworkError(
                f"{type(layer).__name__} {name}{list(where)} is {values[where]}; expected finite numbers"
            )


def _settings(layer: Layer) -> dict[str, Any]:
    """The layer's fields but its parameters, as JSON represents them."""
    names = [item.name for item in fields(layer) if item.name not in PARAMETERS]
    values = {name: getattr(layer, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _torch_module(kind: type[torch.nn.Module], layer: Linear | Conv2d, **settings: Any) -> torch.nn.Module:
    """A float64 module with the layer's parameters; torch's random numbers stay as they were.

    `torch.nn.utils.skip_init` would do without any, but imports sympy, which takes longer than a verification.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        module: torch.nn.Module = kind(**settings, dtype=torch.float64)
    module.load_state_dict({name: torch.tensor(getattr(layer, name).copy()) for name in PARAMETERS})
    return module
