"""MNIST: the shipped images, the full set's files, and what the errors say."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from networks import data
from networks.errors import DataError

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def idx(values: NDArray[np.uint8]) -> bytes:
    """The IDX file of the values."""
    return struct.pack(f">{1 + values.ndim}i", 2048 + values.ndim, *values.shape) + values.tobytes()


def made_up_test_set() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """10,000 images, the first pixels and the label of each from its index."""
    images = np.zeros((10_000, 28, 28), dtype=np.uint8)
    index = np.arange(10_000)
    images[:, 0, 0], images[:, 0, 1] = index // 256, index % 256
    return images, (index % 10).astype(np.uint8)


def write_test_set(folder: Path, *, zipped: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(data.SPLIT_FILES["test"][:2], made_up_test_set(), strict=True):
        content = idx(values)
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content, 1) if zipped else content)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made-up full test set."""
    folder = tmp_path_factory.mktemp("mnist")
    write_test_set(folder)
    return folder


@pytest.fixture(autouse=True)
def no_data_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Point the default folder at an empty one."""
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path_factory.mktemp("empty")))


def test_samples_are_a_thousand_images_in_the_unit_range() -> None:
    samples = data.samples()
    assert len(samples) == data.SAMPLE_COUNT == 1000
    assert samples.images.shape == (1000, 1, 28, 28)
    assert samples.images.dtype == np.float32
    assert samples.images.min() == 0.0
    assert samples.images.max() == 1.0
    assert samples.labels.dtype == np.int64
    assert samples.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # as every listing of MNIST begins
    assert np.bincount(samples.labels).min() > 80
    assert samples.name == "mnist_test"


def test_samples_are_multiples_of_a_grey_level() -> None:
    levels = data.samples().images * np.float32(255)
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)


def test_samples_are_read_once_and_cannot_be_written_to() -> None:
    assert data.samples() is data.samples()
    with pytest.raises(ValueError, match="read-only"):
        data.samples().images[0] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        data.samples().labels[0] = 0


@pytest.mark.parametrize("zipped", [True, False], ids=["gzipped", "unpacked"])
@pytest.mark.parametrize("below", [Path(), Path("MNIST/raw")], ids=["flat", "as torchvision keeps it"])
def test_full_set_is_read_where_users_have_it(below: Path, zipped: bool, tmp_path: Path) -> None:
    write_test_set(tmp_path / below, zipped=zipped)
    dataset = data.mnist("test", tmp_path)
    assert dataset.images.shape == (10_000, 1, 28, 28)
    assert dataset.images.dtype == np.float32
    index = np.rint(dataset.images[:, 0, 0, :2] * 255).astype(int) @ [256, 1]
    np.testing.assert_array_equal(index, np.arange(10_000))
    np.testing.assert_array_equal(dataset.labels, np.arange(10_000) % 10)
    assert dataset.name == "mnist_test"
    assert data.full_set_present(tmp_path)


def test_folder_is_taken_from_the_environment(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not data.full_set_present()
    monkeypatch.setenv(data.DATA_VARIABLE, str(full))
    assert data.default_data_dir() == full
    assert data.full_set_present()
    assert len(data.mnist("test")) == 10_000


def test_folder_given_goes_before_the_environment(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.DATA_VARIABLE, str(full))
    with pytest.raises(DataError, match="is not in"):
        data.mnist("test", tmp_path)


def test_without_either_the_users_cache_is_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(data.DATA_VARIABLE)
    assert data.default_data_dir().parts[-2:] == ("relubench", "mnist")


def test_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match="split is 'validation'; expected one of train, test"):
        data.mnist("validation")


@pytest.mark.parametrize("download", [True, False])
def test_missing_files_are_named_with_the_folder(tmp_path: Path, download: bool) -> None:
    folder = tmp_path / "absent"
    with pytest.raises(DataError) as caught:
        data.mnist("train", folder, download=download)
    message = str(caught.value)
    assert message.startswith(f"MNIST file {FILES[0]} (or unpacked) is not in {folder}; put {', '.join(FILES)} into ")
    assert "--data DIR" in message
    assert "$RELUBENCH_DATA" in message
    assert "\n" not in message
    assert not folder.exists()


def test_missing_labels_are_named(tmp_path: Path) -> None:
    write_test_set(tmp_path)
    (tmp_path / FILES[3]).unlink()
    assert not data.full_set_present(tmp_path)
    with pytest.raises(DataError, match=f"MNIST file {FILES[3]} "):
        data.mnist("test", tmp_path)


@pytest.fixture
def refused_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Send every download to a local port where nobody listens: no network is needed, and none is used."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield


@pytest.mark.usefixtures("refused_proxy")
def test_failed_download_names_reason_files_and_folder_and_prints_nothing(tmp_path: Path) -> None:
    code = (
        "from networks.data import mnist\n"
        "from networks.errors import DataError\n"
        "import socket\n"
        "try:\n    mnist('train', download=True)\n"
        "except DataError as error:\n    assert socket.getdefaulttimeout() is None; print('caught', error)"
    )
    environment = {**os.environ, data.DATA_VARIABLE: str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert result.stderr == ""
    assert result.stdout.startswith("caught MNIST could not be downloaded (")
    assert result.stdout.count("\n") == 1
    assert "refused" in result.stdout
    assert f"put {', '.join(FILES)} into {tmp_path}, or name" in result.stdout


IMAGES, LABELS = made_up_test_set()
SPOILT: dict[str, tuple[int, bytes, str]] = {
    "empty": (2, b"", "cannot be read|not the MNIST file"),
    "no gzip": (2, b"<html>not found</html>", "cannot be read: Not a gzipped file"),
    "cut gzip": (2, gzip.compress(idx(IMAGES), 1)[:-1000], "cannot be read: Compressed file ended"),
    "spoilt gzip": (3, gzip.compress(idx(LABELS), 1)[:40] + b"\xff" * 400, "cannot be read"),
    "cut contents": (2, gzip.compress(idx(IMAGES)[:-1], 1), "not the MNIST file"),
    "long contents": (3, gzip.compress(idx(LABELS) + b"\0", 1), "not the MNIST file"),
    "only a header": (3, gzip.compress(idx(LABELS)[:8]), "not the MNIST file"),
    "fewer images": (2, gzip.compress(idx(IMAGES[:9000]), 1), "not the MNIST file"),
    "labels for images": (2, gzip.compress(idx(LABELS)), r"not the MNIST file; expected the IDX header \(2051, 10000"),
    "images for labels": (3, gzip.compress(idx(IMAGES), 1), r"not the MNIST file; expected the IDX header \(2049, "),
    "labels beyond nine": (3, gzip.compress(idx(LABELS + np.uint8(1))), "has the label 10; expected labels below 10"),
}


@pytest.mark.parametrize(("file", "content", "complaint"), SPOILT.values(), ids=SPOILT.keys())
def test_spoilt_files_are_named(full: Path, tmp_path: Path, file: int, content: bytes, complaint: str) -> None:
    for name in FILES[2:]:
        (tmp_path / name).write_bytes((full / name).read_bytes())
    (tmp_path / FILES[file]).write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        data.mnist("test", tmp_path)
    assert str(caught.value).startswith(str(tmp_path / FILES[file]))
    assert "\n" not in str(caught.value)


def test_first_images_come_from_the_samples() -> None:
    dataset = data.test_images(7)
    assert len(dataset) == 7
    np.testing.assert_array_equal(dataset.images, data.samples().images[:7])
    np.testing.assert_array_equal(dataset.labels, data.samples().labels[:7])
    assert len(data.test_images(1000)) == 1000


def test_images_beyond_the_samples_come_from_the_full_set(full: Path) -> None:
    assert len(data.test_images(1001, full)) == 1001
    image, label = data.test_image(9999, full)
    assert image.shape == (1, 28, 28)
    assert label == 9


def test_one_image_is_that_of_the_samples() -> None:
    image, label = data.test_image(0)
    np.testing.assert_array_equal(image, data.samples().images[0])
    assert (type(label), label) == (int, 7)
    assert data.test_image(999)[1] == data.samples().labels[999]


@pytest.mark.parametrize("index", [-1, 10_000])
def test_index_out_of_range_is_refused(index: int) -> None:
    with pytest.raises(DataError, match=f"test image index {index} is out of range; expected 0 to 9999"):
        data.test_image(index)


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"test images: {count} asked for; expected between 1 and 10,000"):
        data.test_images(count)


def test_images_beyond_the_samples_need_the_full_set() -> None:
    with pytest.raises(DataError, match=f"MNIST file {FILES[2]} "):
        data.test_image(1000)
    with pytest.raises(DataError, match=f"MNIST file {FILES[2]} "):
        data.test_images(1001)


def test_reading_the_samples_imports_no_torch() -> None:
    code = "import sys; from networks import data; data.samples(); print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "False"
