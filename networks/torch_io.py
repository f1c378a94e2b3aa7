"""Export of a torch module to the layer list, and the loading of state dicts into zoo architectures."""

from __future__ import annotations

import os
import textwrap
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from networks import zoo
from networks.errors import NetworkError, UnsupportedLayerError
from networks.files import file_kind, shown
from networks.layers import Array, Conv2d, Flatten, Layer, LayerList, Linear, ReLU, Shape, whole_numbers

SUPPORTED = (
    "Sequential (nested), Linear, Conv2d, ReLU, Flatten, Identity, Dropout, BatchNorm1d, BatchNorm2d, "
    "networks.Normalize"
)
STATE_DICT_KEYS = ("state_dict", "model_state_dict")

# What a module computes with: a subclass that replaces one of these computes something else than its kind.
# Parametrised modules (spectral or weight normalisation) replace `weight` by a property.
COMPUTING = ("__call__", "forward", "_conv_forward", "weight", "bias")


class Normalize(nn.Module):
    """`(x - mean) / std` per channel: the first layer of a network whose inputs stay in pixel space.

    An attack's ball and a verifier's box are stated in pixels, so the normalisation belongs to the network.

    Parameters
    ----------
    mean, std : sequence of float
        One value a channel, or one for all.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Iterable[float], std: Iterable[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(list(mean)))
        self.register_buffer("std", torch.tensor(list(std)))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """`(n, channels, ...) -> (n, channels, ...)`."""
        shape = (1, -1, *(1,) * (batch.ndim - 2))
        return (batch - self.mean.reshape(shape)) / self.std.reshape(shape)


def from_torch(module: nn.Module, input_shape: Iterable[int]) -> LayerList:
    """Export a torch module, as it computes in eval mode.

    Parameters
    ----------
    module : torch.nn.Module
        Nested `nn.Sequential` of Linear, Conv2d, ReLU, Flatten, Identity, Dropout, BatchNorm1d/2d and
        `networks.Normalize`. Batch normalisation and input normalisation are folded into a neighbouring affine layer;
        where zero padding or a ReLU stands between, they become an affine layer of their own.
    input_shape : tuple of int
        The shape of one input, e.g. `(1, 28, 28)`.

    Raises
    ------
    UnsupportedLayerError
        A module that the layer list cannot represent, named by its path and type.
    NetworkError
        Shapes that do not fit, or weights that are not finite.
    """
    shape = whole_numbers(input_shape, "input_shape")
    builder = _Builder(shape)
    for path, leaf in _leaves(module, ""):
        try:
            HANDLERS[_kind(path, leaf)](builder, path, leaf)
        except UnsupportedLayerError:
            raise
        except NetworkError as error:
            raise NetworkError(f"layer {path or '(root)'} ({type(leaf).__name__}): {error}") from error
    return LayerList(shape, builder.finish())


def load_state_dict(path: str | Path, name: str) -> LayerList:
    """A state dict of the zoo architecture `name`, as a layer list. Nothing in the file is executed.

    What torch.save writes, or safetensors. A checkpoint that keeps its state dict under a key will do too, under one of
    STATE_DICT_KEYS if there are several; so will names with a prefix, such as DataParallel, torch.compile and Lightning
    put before them.

    Raises
    ------
    NetworkError
        The file cannot be read as a state dict, or does not fit the architecture.
    """
    module = zoo.architecture(name).double()  # float64 represents the weights of every dtype exactly
    state = _without_prefix(_read_state_dict(Path(path)), module.state_dict().keys())
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise NetworkError(f"{path}: no state dict of {name}: {textwrap.shorten(str(error), 300)}") from error
    return from_torch(module, zoo.INPUT_SHAPE)


def _read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    if not os.path.isfile(path):
        raise NetworkError(f"{path}: no state dict: no such file")
    _refuse_packed(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol of files that it then refuses
            content = _loaded(path)
    except Exception as error:  # torch.load raises a dozen kinds, from KeyError to UnpicklingError
        kind = file_kind(path)
        raise NetworkError(
            f"{path}: no state dict: {f'it is {kind}; ' if kind else ''}expected what torch.save(module.state_dict(), "
            "path) writes, tensors by name and nothing else"
        ) from error
    found = _states_in(content)
    if len(found) != 1:
        keys = f", found the keys {shown(sorted(map(str, content)))}" if isinstance(content, dict) else ""
        raise NetworkError(
            f"{path}: no state dict: it holds a {type(content).__name__}; expected tensors by name{keys}"
        )
    return dict(found[0])  # without the attributes that an ordered one can carry, which torch would trust


def _loaded(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _states_in(content: Any) -> list[dict[str, torch.Tensor]]:
    """The state dict that a file holds, or those that its checkpoint keeps under its keys, the usual keys first."""
    if _is_state(content):
        return [content]
    if not isinstance(content, dict):
        return []
    usual = [content[key] for key in STATE_DICT_KEYS if key in content]
    return [value for value in usual[:1] or content.values() if _is_state(value) and value]


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(item, torch.Tensor) for key, item in value.items()
    )


def _without_prefix(state: dict[str, torch.Tensor], expected: Collection[str]) -> dict[str, torch.Tensor]:
    """The state with the expected names, where it has exactly these behind one prefix; else as it is."""
    first = next(iter(state), "")
    prefixes = (first.removesuffix(name) for name in expected if first.endswith(f".{name}"))
    for prefix in prefixes:
        if {*state} == {prefix + name for name in expected}:
            return {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _refuse_packed(path: Path) -> None:
    """Raise NetworkError for an archive with compressed records: torch.save makes none, and they unpack to any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [item.filename for item in archive.infolist() if item.compress_type != zipfile.ZIP_STORED]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # no archive: torch's older format, or torch says what it lacks
    if packed:
        what = f"it is {file_kind(path)}, whose record {shown(packed[0])} is compressed"
        raise NetworkError(f"{path}: no state dict: {what}; torch.save packs none")


@dataclass(slots=True)
class _Builder:
    """Layers so far, the running shape, and an elementwise `scale * z + shift` per channel not yet placed."""

    shape: Shape
    layers: list[Layer] = field(default_factory=list)
    pending: tuple[Array, Array] | None = None

    def add(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.shape = layer.output_shape(self.shape)

    def scale(self, scale: Array, shift: Array) -> None:
        """Fold `scale * z + shift` into the affine layer before, or keep it for the one behind."""
        channels = self.shape[0]
        scale, shift = (np.broadcast_to(values, (channels,)).astype(np.float64) for values in (scale, shift))
        if self.pending is not None:
            self.pending = (scale * self.pending[0], scale * self.pending[1] + shift)
        elif self.layers and isinstance(self.layers[-1], Linear | Conv2d):
            last = self.layers[-1]
            weight = last.weight * scale.reshape(-1, *(1,) * (last.weight.ndim - 1))
            self.layers[-1] = replace(last, weight=weight, bias=scale * last.bias + shift)
        else:
            self.pending = (scale, shift)

    def place_pending(self) -> None:
        """Make the pending scale a layer of its own: a depthwise 1x1 convolution, or a diagonal matrix."""
        if self.pending is None:
            return
        scale, shift = self.pending
        self.pending = None
        if len(self.shape) == 3:
            self.add(Conv2d(scale.reshape(-1, 1, 1, 1), shift, groups=len(scale)))
        else:
            self.add(Linear(np.diag(scale), shift))

    def finish(self) -> tuple[Layer, ...]:
        self.place_pending()
        return tuple(self.layers)


def _linear(builder: _Builder, path: str, module: nn.Linear) -> None:
    layer = Linear(*_affine(module))
    layer.output_shape(builder.shape)
    if builder.pending is not None:
        scale, shift = builder.pending
        builder.pending = None
        layer = Linear(layer.weight * scale, layer.bias + layer.weight @ shift)
    builder.add(layer)


def _conv2d(builder: _Builder, path: str, module: nn.Conv2d) -> None:
    if module.padding_mode != "zeros":
        raise _unsupported(path, module, f"padding_mode is {module.padding_mode!r}; expected 'zeros'")
    stride, dilation = cast(tuple[int, int], module.stride), cast(tuple[int, int], module.dilation)
    layer = Conv2d(*_affine(module), stride, _padding(path, module), dilation, module.groups)
    layer.output_shape(builder.shape)
    if layer.padding == (0, 0):
        layer = _scale_inputs(layer, builder)
    builder.place_pending()
    builder.add(layer)


def _scale_inputs(layer: Conv2d, builder: _Builder) -> Conv2d:
    """The convolution with the pending scale taken in; right only without padding, whose zeros are not scaled."""
    if builder.pending is None:
        return layer
    scale, shift = builder.pending
    builder.pending = None
    # Input channel of each weight: its position within the group, behind the groups before its own.
    out, per_group = layer.weight.shape[:2]
    channel = np.arange(per_group) + (np.arange(out) // (out // layer.groups) * per_group)[:, None]
    bias = layer.bias + (layer.weight * shift[channel][:, :, None, None]).sum((1, 2, 3))
    return replace(layer, weight=layer.weight * scale[channel][:, :, None, None], bias=bias)


def _padding(path: str, module: nn.Conv2d) -> tuple[int, int]:
    if module.padding == "valid":
        return (0, 0)
    if module.padding == "same":
        total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        if any(size % 2 for size in total):
            raise _unsupported(path, module, "padding='same' pads unevenly here; expected the same on both sides")
        return (total[0] // 2, total[1] // 2)
    return cast(tuple[int, int], module.padding)


def _relu(builder: _Builder, path: str, module: nn.ReLU) -> None:
    builder.place_pending()
    builder.add(ReLU())


def _flatten(builder: _Builder, path: str, module: nn.Flatten) -> None:
    if module.start_dim != 1 or module.end_dim not in (-1, len(builder.shape)):
        raise _unsupported(path, module, "expected start_dim=1 and end_dim=-1")
    if builder.pending is not None:
        repeats = int(np.prod(builder.shape[1:]))
        scale, shift = builder.pending
        builder.pending = (np.repeat(scale, repeats), np.repeat(shift, repeats))
    builder.add(Flatten())


def _batch_norm(builder: _Builder, path: str, module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    if module.running_mean is None or module.running_var is None:
        raise _unsupported(path, module, "it has no running statistics, so eval mode is not a fixed map")
    rank = 3 if isinstance(module, nn.BatchNorm2d) else 1
    if len(builder.shape) != rank or builder.shape[0] != module.num_features:
        raise NetworkError(f"it normalises {module.num_features} channels, but its input has shape {builder.shape}")
    scale = 1.0 / np.sqrt(_array(module.running_var) + module.eps)
    if module.affine:
        scale = scale * _array(module.weight)
    shift = -_array(module.running_mean) * scale
    builder.scale(scale, shift + _array(module.bias) if module.affine else shift)


def _normalize(builder: _Builder, path: str, module: Normalize) -> None:
    mean, std = _array(module.mean), _array(module.std)
    if not {len(mean), len(std)} <= {1, builder.shape[0]}:
        raise NetworkError(f"it has {len(mean)} means and {len(std)} deviations for {builder.shape[0]} channels")
    if not (std > 0).all():
        raise NetworkError(f"its standard deviations are {std.tolist()}; expected positive numbers")
    builder.scale(1.0 / std, -mean / std)


def _nothing(builder: _Builder, path: str, module: nn.Module) -> None:
    pass


HANDLERS: dict[type[nn.Module], Callable[[_Builder, str, Any], None]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.ReLU: _relu,
    nn.Flatten: _flatten,
    nn.Identity: _nothing,
    nn.Dropout: _nothing,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    Normalize: _normalize,
}


def _leaves(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules in order of execution, Sequentials opened, each with its path."""
    if not (isinstance(module, nn.Sequential) and _computes_as(module, nn.Sequential)):
        yield path, module
        return
    _refuse_hooks(path, module)
    for name, child in module._modules.items():  # named_children() leaves out a module that comes a second time
        yield from _leaves(child, f"{path}.{name}" if path else name)


def _kind(path: str, module: nn.Module) -> type[nn.Module]:
    """The supported kind that computes exactly as `module` does."""
    kind = next((kind for kind in (*HANDLERS, nn.Sequential) if isinstance(module, kind)), None)
    if kind is None:
        raise _unsupported(path, module, f"expected one of {SUPPORTED}")
    if not _computes_as(module, kind):
        raise _unsupported(
            path,
            module,
            f"it computes otherwise than {kind.__name__} does; expected one of {SUPPORTED} as torch has them",
        )
    _refuse_hooks(path, module)
    return kind


def _computes_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    same = all(getattr(type(module), name, None) is getattr(kind, name, None) for name in COMPUTING)
    return same and "forward" not in vars(module)


def _refuse_hooks(path: str, module: nn.Module) -> None:
    if module._forward_hooks or module._forward_pre_hooks:
        raise _unsupported(path, module, f"it has forward hooks, which may change values; expected none on {SUPPORTED}")


def _affine(module: nn.Linear | nn.Conv2d) -> tuple[Array, Array]:
    weight = _array(module.weight)
    return weight, _array(module.bias) if module.bias is not None else np.zeros(len(weight))


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()


def _unsupported(path: str, module: nn.Module, why: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(f"layer {path or '(root)'} ({type(module).__name__}) cannot be exported: {why}")
