"""Layer-list files: bytes of safetensors with a header, a structure and shapes that do not fit one another."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from networks.layers import Conv2d, Flatten, LayerList, Linear, ReLU
from tests.fuzz.conftest import Workplace
from tests.fuzz.hunting import hunt
from tests.fuzz.strategies import encoded, mangled, mutated, to_json

IMAGE = (1, 28, 28)


def small_network() -> LayerList:
    """A network on images with every kind of layer."""
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.normal(size=(2, 1, 4, 4)), rng.normal(size=2), (8, 8), (1, 1))
    return LayerList(IMAGE, (conv, ReLU(), Flatten(), Linear(rng.normal(size=(10, 32)), rng.normal(size=10))))


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the data of a safetensors file."""
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def safetensors(header: bytes, data: bytes, declared: int | None = None) -> bytes:
    """The file of a header, with the length that it says it has."""
    size = len(header) if declared is None else declared
    return struct.pack("<Q", size % 2**64) + header + data


@st.composite
def files(draw: DrawFn, content: bytes) -> bytes:
    """A layer-list file with something changed in its structure, its header, its sizes or its bytes."""
    header, data = parts(content)
    where = draw(st.sampled_from(["structure", "structure", "header", "size", "bytes"]))
    if where == "structure":
        structure = draw(mutated(json.loads(header["__metadata__"]["structure"])))
        header["__metadata__"]["structure"] = to_json(structure)
    elif where == "header":
        header = draw(mutated(header))
    elif where == "size":
        declared = draw(st.sampled_from([0, 1, 7, 2**20, 2**31, 2**40, 2**63, 2**64 - 1]))
        return safetensors(json.dumps(header).encode(), data, declared)
    else:
        return draw(mangled(content))
    return safetensors(encoded(to_json(header)), draw(st.sampled_from([data, data, data[:-1], data + b"\0", b""])))


def test_a_layer_list_file_ends_in_a_network_or_in_one_clear_line(workplace: Workplace) -> None:
    small_network().save("net.safetensors")
    valid = Path("net.safetensors").read_bytes()
    assert workplace.run("verify", "net.safetensors", "-e", 0.01, "-m", "interval").code == 0

    def check(content: bytes) -> None:
        Path("net.safetensors").write_bytes(content)
        if workplace.run("networks", "net.safetensors").code == 0:
            workplace.run("verify", "net.safetensors", "-e", 0.01, "-m", "interval")

    hunt("layer_list", files(valid), check)
