"""Boxes and margins as bounds take them: float64 tensors on a device, their shapes and values checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from networks.errors import InputError
from networks.layers import LayerList, Shape

Pair = tuple[Tensor, Tensor]


def box_tensors(network: LayerList, lower: Any, upper: Any, device: torch.device | str) -> Pair:
    """Both bounds as float64 tensors on the device, their shapes checked."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    low, high = to_tensor("lower", lower, device), to_tensor("upper", upper, device)
    for name, values in (("lower", low), ("upper", high)):
        if values.ndim != len(network.input_shape) + 1 or tuple(values.shape[1:]) != network.input_shape:
            raise InputError(f"{name} has shape {tuple(values.shape)}; expected (n, *{network.input_shape})")
    if low.shape != high.shape:
        raise InputError(f"lower has {len(low)} boxes and upper {len(high)}; expected as many")
    return low, high


def margin_rows(network: LayerList, margins: Any, box: Pair) -> Tensor:
    """The margins asked, as a float64 tensor of shape (k, classes) or (n, k, classes) on the box's device."""
    C = to_tensor("margins", margins, box[0].device)
    classes, count = network.class_count, len(box[0])
    if C.ndim not in (2, 3) or C.shape[-1] != classes or (C.ndim == 3 and len(C) != count):
        raise InputError(
            f"margins has shape {tuple(C.shape)}; expected (k, {classes}) or, a block a box, ({count}, k, {classes})"
        )
    if not C.isfinite().all():
        raise InputError("margins has a value that is not finite; expected finite numbers")
    return C


def layer_pairs(name: str, network: LayerList, pairs: Any, box: Pair) -> list[Pair]:
    """Bounds given for every layer, as float64 tensors on the box's device; infinite ones are taken."""
    if not isinstance(pairs, Sequence) or len(pairs) != len(network.layers):
        what = f"{len(pairs)} entries" if isinstance(pairs, Sequence) else f"of type {type(pairs).__name__}"
        raise InputError(f"{name} is {what}; expected a list of {len(network.layers)} pairs, one a layer")
    return [_layer_pair(f"{name}[{k}]", pair, network.shapes[k], box) for k, pair in enumerate(pairs)]


def _layer_pair(name: str, pair: Any, shape: Shape, box: Pair) -> Pair:
    if len(pair) != 2:
        raise InputError(f"{name} has {len(pair)} entries; expected (lower, upper)")
    low, high = (to_tensor(name, values, box[0].device) for values in pair)
    for values in (low, high):
        if tuple(values.shape) != (len(box[0]), *shape):
            raise InputError(f"{name} has shape {tuple(values.shape)}; expected {(len(box[0]), *shape)}")
    bad = (~(low <= high)).nonzero()  # NaN included
    if len(bad):
        at = tuple(bad[0])
        raise InputError(f"{name}{bad[0].tolist()} is [{low[at]}, {high[at]}]; expected a lower bound up to an upper")
    return low, high


def to_tensor(name: str, values: Any, device: torch.device | str) -> Tensor:
    """The values, checked to be numbers, as a float64 tensor without a gradient on the device."""
    tensor = values.detach() if isinstance(values, Tensor) else _from_array(name, values)
    try:
        return tensor.to(device=device, dtype=torch.float64)
    except (AssertionError, RuntimeError) as error:  # torch has either for a device that is not there
        raise InputError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error


def _from_array(name: str, values: ArrayLike) -> Tensor:
    try:
        # Writable, as torch warns of arrays that are not; nothing is ever written to it.
        return torch.from_numpy(np.require(values, np.float64, ["C", "W"]))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not an array of numbers: {error}") from error


def check_box(box: Pair, chunk: slice) -> None:
    """Raise InputError unless the chunk's bounds are finite and in order."""
    low, high = box[0][chunk], box[1][chunk]
    if not low.numel():
        return
    least, most = (high - low).aminmax()
    if not (least >= 0 and most < math.inf):  # NaN included
        _explain_box(low, high, chunk)


def _explain_box(low: Tensor, high: Tensor, chunk: slice) -> None:
    """Raise InputError naming the first value that does not fit; none is there if only a width overflowed."""
    for name, values in (("lower", low), ("upper", high)):
        bad = (~values.isfinite()).nonzero()
        if len(bad):
            raise InputError(f"{name}{_index(bad[0], chunk)} is {values[tuple(bad[0])]}; expected a finite number")
    crossed = (low > high).nonzero()
    if len(crossed):
        at = tuple(crossed[0])
        raise InputError(f"lower{_index(crossed[0], chunk)} is {low[at]}, above its upper bound {high[at]}")


def _index(position: Tensor, chunk: slice) -> list[int]:
    first, *rest = position.tolist()
    return [first + chunk.start, *rest]
