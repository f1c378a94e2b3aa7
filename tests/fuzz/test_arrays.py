"""Arrays given as files: .npy for one input, .npz of a run."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from networks import data
from networks.errors import DataError
from tests.conftest import random_network
from tests.fuzz.conftest import Workplace
from tests.fuzz.hunting import hunt
from tests.fuzz.malice import malicious
from tests.fuzz.strategies import mangled

SHAPES = [
    "(1, 28, 28)",
    "(10000000000, 28, 28)",
    "(-1,)",
    "()",
    "(1, 28, True)",
    "1",
    "(" * 3000,
    "[1]",
    "(1, 28, 28.0)",
]
DESCRIPTIONS = [
    "'<f8'",
    "'|O'",
    "'<f2'",
    "'<c16'",
    "'|S4'",
    "'<U4'",
    "'|V8'",
    "[('a', '<f8')]",
    "'nonsense'",
    "3",
    "'|b1'",
    "'<m8'",
]


SOUND = {
    "adversarial": np.zeros((2, 1, 28, 28), np.float32),
    "predictions": np.zeros(2, int),
    "labels": np.zeros(2, int),
}


def sound_arrays() -> bytes:
    """The .npz file of an attack row."""
    return _zip({name: npy(value) for name, value in SOUND.items()})


def npy(array: Any) -> bytes:
    """The file of an array; one of objects is pickled."""
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


@st.composite
def headed(draw: DrawFn) -> bytes:
    """A .npy file whose header says something else than the bytes behind it."""
    shape, description = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DESCRIPTIONS))
    header = f"{{'descr': {description}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    version = draw(st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\x09\0"]))
    size = len(header).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + size + header + draw(st.sampled_from([b"", bytes(6272), bytes(100)]))


def arrays(canary: Path) -> SearchStrategy[bytes]:
    """Contents of .npy files."""
    others = [
        np.zeros((28, 28)),
        np.full((1, 28, 28), np.nan),
        np.array(["a"]),
        np.zeros((1, 28, 28), complex),
        np.zeros(0),
    ]
    return st.one_of(
        mangled(npy(np.zeros((1, 28, 28)))),
        headed(),
        st.sampled_from([*map(npy, others), npy(malicious(canary)), b"", b"\x93NUMPY", b"PK\3\4", *map(_npz, others)]),
    )


def array_files(canary: Path) -> SearchStrategy[bytes]:
    """Contents of .npz files of an attack row."""
    files = {name: npy(value) for name, value in SOUND.items()}
    names = st.sampled_from([*SOUND, "../../escaped", "/tmp/escaped"])
    changes = st.dictionaries(names, arrays(canary), min_size=1, max_size=2)
    return st.one_of(changes.map(lambda change: _zip(files | change)), mangled(_zip(files)))


def _npz(array: Any) -> bytes:
    return _zip({"a": npy(array)})


def _zip(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in files.items():
            file.writestr(f"{name}.npy", value)
    return content.getvalue()


def test_a_file_that_unpacks_to_far_more_than_mnist_is_not_unpacked(tmp_path: Path) -> None:
    for name in data.SPLIT_FILES["test"][:2]:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(bytes(10**8), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="not the MNIST file"):
            data.mnist("test", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 3e7  # bytes; the images are 7.8 million
    finally:
        tracemalloc.stop()


def test_an_array_as_input_ends_in_a_verdict_or_in_one_clear_line(workplace: Workplace) -> None:
    random_network(seed=0).save("tiny.safetensors")

    def check(content: bytes) -> None:
        Path("x.npy").write_bytes(content)
        workplace.run("verify", "tiny.safetensors", "-e", 0.01, "-m", "interval", "--input", "x.npy", "--label", 1)

    hunt("npy", arrays(workplace.canary), check)
