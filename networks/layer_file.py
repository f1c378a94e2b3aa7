"""The file of a layer list: one safetensors file, the weights as tensors, the structure as JSON in the metadata."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from networks.errors import NetworkError
from networks.files import check_no_pipe, file_kind, shown
from networks.layers import LAYER_KINDS, PARAMETERS, Array, Layer, LayerList

FORMAT = "relubench-layer-list"
FORMAT_VERSION = "1"
EXPECTED = "expected what LayerList.save or `relubench export` writes"
FROM_MODULE = "networks.from_torch makes a layer list of the torch module that it was made of"
WAYS_OUT = {
    "a torch checkpoint": "`relubench export FILE OUT.safetensors --architecture NAME` takes a state dict of a zoo "
    "architecture, and networks.from_torch makes a layer list of any other module",
    "a TorchScript module": FROM_MODULE,
    "an ONNX model": FROM_MODULE,
}
Floats = NDArray[np.floating[Any]]


def write(network: LayerList, path: Path) -> None:
    """Write the file; NetworkError where that fails."""
    metadata = {"format": FORMAT, "version": FORMAT_VERSION, "structure": json.dumps(network.structure())}
    content = save({name: _smallest(array) for name, array in network.arrays().items()}, metadata=metadata)
    try:
        check_no_pipe(path)
        path.write_bytes(content)  # safetensors' own save_file makes a file that only its owner may read
    except OSError as error:
        raise NetworkError(f"{path}: cannot be written: {error.strerror}") from error


def read(path: Path) -> LayerList:
    """Read and check the file; NetworkError, naming the file, for whatever `write` would not have written."""
    metadata, arrays = _content(path)
    if metadata.get("format") != FORMAT:
        raise NetworkError(
            f"{path}: a safetensors file, but no layer list; `relubench export` makes one of a state dict"
        )
    if metadata.get("version") != FORMAT_VERSION:
        raise NetworkError(f"{path}: layer list version {shown(metadata.get('version'))}, expected {FORMAT_VERSION}")
    try:
        structure = json.loads(metadata.get("structure", ""))
    except (ValueError, RecursionError) as error:
        raise NetworkError(f"{path}: its structure is not JSON: {error}") from error
    try:
        return _network(structure, arrays)
    except NetworkError as error:
        raise NetworkError(f"{path}: not a valid layer list: {error}") from error


def _content(path: Path) -> tuple[dict[str, str], dict[str, Floats]]:
    """The metadata and the tensors."""
    if not os.path.isfile(path):
        raise NetworkError(f"{path}: cannot be read as a layer list: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError) as error:  # TypeError: a dtype that numpy lacks, as bfloat16
        raise NetworkError(f"{path}: cannot be read as a layer list: {_why(path, error)}") from error


def _why(path: Path, error: Exception) -> str:
    """What the file is instead, and the way out."""
    kind = file_kind(path)
    if not kind:
        return f"no safetensors file, or a broken one ({error})"
    return f"it is {kind}; {WAYS_OUT.get(kind, EXPECTED)}"


def _network(structure: Any, arrays: dict[str, Floats]) -> LayerList:
    _check_keys(structure, {"input_shape", "layers"}, "its structure")
    if not isinstance(structure["layers"], list):
        raise NetworkError(f"layers is {shown(structure['layers'])}; expected a list")
    unread = dict(arrays)
    layers = tuple(_layer(index, entry, unread) for index, entry in enumerate(structure["layers"]))
    if unread:
        raise NetworkError(f"no layer has the tensors {shown(sorted(unread))}")
    return LayerList(structure["input_shape"], layers)


def _layer(index: int, entry: Any, unread: dict[str, Floats]) -> Layer:
    """The layer that the JSON value `entry` describes; its tensors are taken out of `unread`."""
    name = entry.get("kind") if isinstance(entry, dict) else None
    kind: Any = LAYER_KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise NetworkError(
            f"layer {index} is {shown(entry)}; expected an object with a kind of {', '.join(LAYER_KINDS)}"
        )
    names = {item.name for item in fields(kind)}
    settings = names.difference(PARAMETERS)
    _check_keys(entry, {"kind", *settings}, f"layer {index} ({kind.__name__})")
    parameters = {name: _tensor(f"{index}.{name}", unread) for name in names.intersection(PARAMETERS)}
    try:
        return cast(Layer, kind(**parameters, **{name: entry[name] for name in settings}))
    except NetworkError as error:
        raise NetworkError(f"layer {index}: {error}") from None


def _tensor(name: str, unread: dict[str, Floats]) -> Floats:
    array = unread.pop(name, None)
    if array is None or array.dtype not in (np.float32, np.float64):
        found = "missing" if array is None else f"of {array.dtype}"
        raise NetworkError(f"tensor {name} is {found}; expected float32 or float64")
    return array


def _check_keys(values: Any, expected: set[str], what: str) -> None:
    if not isinstance(values, dict) or set(values) != expected:
        found = sorted(values) if isinstance(values, dict) else values
        raise NetworkError(f"{what} is or has the keys {shown(found)}; expected the keys {sorted(expected)}")


def _smallest(array: Array) -> Floats:
    """In float32 where that represents every value exactly, else as it is."""
    with np.errstate(over="ignore", under="ignore"):
        single = array.astype(np.float32)
    return single if np.array_equal(single, array) else array
