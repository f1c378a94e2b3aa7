"""MNIST: the thousand test images that ship with the package, and the full set where the user has it."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from networks.errors import DataError

IMAGE_SHAPE = (1, 28, 28)
CLASS_COUNT = 10
SAMPLE_COUNT = 1000
SAMPLE_FILE = "mnist_test_1000.npz"
DATA_VARIABLE = "RELUBENCH_DATA"
SPLIT_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 60_000),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 10_000),
}
CONNECT_TIMEOUT_S = 10.0  # per attempt; torchvision makes one for each mirror and protocol
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049  # the IDX headers of unsigned bytes in three dimensions and in one


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Labelled images.

    Attributes
    ----------
    images : ndarray, shape (n, 1, 28, 28), float32 in [0, 1]
    labels : ndarray, shape (n,), int64
    name : str
        What rows of results call it: `mnist_test` or `mnist_train`.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    name: str

    def __len__(self) -> int:
        return len(self.labels)


@cache
def samples() -> Dataset:
    """The first 1,000 MNIST test images, which ship with the package."""
    with resources.as_file(resources.files("networks") / "samples" / SAMPLE_FILE) as path, np.load(path) as file:
        return _dataset(file["images"], file["labels"], "test")


def mnist(split: str, data_dir: str | Path | None = None, *, download: bool = False) -> Dataset:
    """The full train (60,000) or test (10,000) set.

    Looks in `data_dir` if given, else in the folder that the environment variable RELUBENCH_DATA names, else in the
    user's cache; with `download`, what is missing in one of the last two is fetched by torchvision.

    Raises
    ------
    DataError
        Another split; or the files are not there, cannot be fetched, or are not MNIST. The message names the files
        and the folder.
    """
    if split not in SPLIT_FILES:
        raise DataError(f"MNIST split is {split!r}; expected one of {', '.join(SPLIT_FILES)}")
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    images_name, labels_name, count = SPLIT_FILES[split]
    if download and data_dir is None and not all(_find(folder, name) for name in (images_name, labels_name)):
        _download(folder)
    images_file, labels_file = _require(folder, images_name), _require(folder, labels_name)
    images = _read_idx(images_file, IMAGES_MAGIC, (count, 28, 28))
    labels = _read_idx(labels_file, LABELS_MAGIC, (count,))
    if labels.max() >= CLASS_COUNT:
        raise DataError(f"{labels_file}: has the label {labels.max()}; expected labels below {CLASS_COUNT}")
    return _dataset(images, labels, split)


def test_images(count: int, data_dir: str | Path | None = None) -> Dataset:
    """The first `count` test images: from the package up to 1,000, beyond that from the full set.

    Raises
    ------
    DataError
        More than 1,000 are asked for and the full set is not there, or more than 10,000.
    """
    available = SPLIT_FILES["test"][2]
    if not 1 <= count <= available:
        raise DataError(f"test images: {count} asked for; expected between 1 and {available:,}")
    if count <= SAMPLE_COUNT:
        return _first(samples(), count)
    return _first(mnist("test", data_dir), count)


def test_image(index: int, data_dir: str | Path | None = None) -> tuple[NDArray[np.float32], int]:
    """One test image of shape (1, 28, 28) and its label.

    Raises
    ------
    DataError
        The index is out of range, or lies beyond the shipped images and the full set is not there.
    """
    available = SPLIT_FILES["test"][2]
    if not 0 <= index < available:
        raise DataError(f"test image index {index} is out of range; expected 0 to {available - 1}")
    dataset = samples() if index < SAMPLE_COUNT else mnist("test", data_dir)
    return dataset.images[index], int(dataset.labels[index])


def default_data_dir() -> Path:
    """Where the full set is looked for: $RELUBENCH_DATA, else the user's cache folder."""
    named = os.environ.get(DATA_VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("relubench") / "mnist"


def full_set_present(data_dir: str | Path | None = None) -> bool:
    """Whether all 10,000 test images are at hand."""
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    return all(_find(folder, name) is not None for name in SPLIT_FILES["test"][:2])


def _dataset(images: NDArray[np.uint8], labels: NDArray[np.uint8], split: str) -> Dataset:
    # The division is made in float32, as torchvision's ToTensor does it: the networks were trained on these values.
    pixels = (images.astype(np.float32) / np.float32(255)).reshape(-1, *IMAGE_SHAPE)
    classes = labels.astype(np.int64)
    for array in (pixels, classes):
        array.flags.writeable = False
    return Dataset(pixels, classes, f"mnist_{split}")


def _first(dataset: Dataset, count: int) -> Dataset:
    return Dataset(dataset.images[:count], dataset.labels[:count], dataset.name)


def _find(folder: Path, name: str) -> Path | None:
    """The IDX file `name` in `folder`, gzipped or not, or where torchvision keeps it below `folder`."""
    candidates = (base / f"{name}{suffix}" for base in (folder, folder / "MNIST" / "raw") for suffix in (".gz", ""))
    return next((path for path in candidates if path.is_file()), None)


def _require(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    if path is None:
        raise DataError(f"MNIST file {name}.gz (or unpacked) is not in {folder}; {_way_out(folder)}")
    return path


def _way_out(folder: Path) -> str:
    files = ", ".join(f"{name}.gz" for *names, _ in SPLIT_FILES.values() for name in names)
    return f"put {files} into {folder}, or name the folder that has them with --data DIR or ${DATA_VARIABLE}"


def _download(folder: Path) -> None:
    from torchvision.datasets import MNIST

    try:
        with _connect_timeout(CONNECT_TIMEOUT_S), contextlib.redirect_stdout(io.StringIO()):
            MNIST(str(folder), download=True)
    except (OSError, RuntimeError) as error:  # no network, or no mirror answered
        # torchvision says in the first line which file failed, and in the last why the last mirror did.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = " ".join(dict.fromkeys((lines[0], lines[-1])))
        raise DataError(f"MNIST could not be downloaded ({reason}); {_way_out(folder)}") from error


@contextlib.contextmanager
def _connect_timeout(seconds: float) -> Iterator[None]:
    """Let connections without a timeout of their own give up after `seconds` without an answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _read_idx(path: Path, magic: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An IDX file: a big-endian magic number and sizes of four bytes each, then the bytes."""
    header = 4 * (1 + len(shape))
    expected = header + int(np.prod(shape))
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(expected + 1)  # no more, whatever it would unpack to
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    found = tuple(int(v) for v in np.frombuffer(content[:header], dtype=">i4")) if len(content) >= header else ()
    if found != (magic, *shape) or len(content) != expected:
        raise DataError(f"{path}: not the MNIST file; expected the IDX header {(magic, *shape)} and {expected:,} bytes")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
