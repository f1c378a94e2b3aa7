"""Arrays out of .npy and .npz files of others: nothing in them is executed, nothing but what they hold is allocated."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from networks.errors import InputError
from networks.files import check_regular

Numbers = NDArray[np.generic]
MOST_BYTES = 2**28  # of one unpacked array; 10,000 images of 28 x 28 in float64 are 63 MB
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def load_npy(path: Path) -> Numbers:
    """The array of numbers in a .npy file.

    Raises
    ------
    InputError
        It cannot be read as one.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            return _array(file, path.stat().st_size)
    except Exception as error:  # numpy parses the header as Python text, which fails in a dozen ways
        raise InputError(f"{path}: not a .npy file of numbers: {_reason(error)}") from error


def load_npz(path: Path, names: Iterable[str]) -> list[Numbers]:
    """The arrays of numbers with these names in a .npz file.

    Raises
    ------
    InputError
        The file cannot be read, or lacks one of them.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            return [_member(archive, f"{name}.npy") for name in names]
    except Exception as error:  # as above, and the archive's own kinds for what is torn, encrypted or packed otherwise
        raise InputError(f"{path}: not the arrays of a row: {_reason(error)}") from error


def arrays_of_row(folder: Path, name: str, names: Iterable[str]) -> list[Numbers]:
    """The arrays of numbers in the file that a row names, which lies below the run's folder.

    Raises
    ------
    InputError
        The file lies elsewhere, cannot be read, or lacks one of them.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder}: a row's arrays is {name!r}; expected a file below the run's folder")
    return load_npz(path, names)


def _member(archive: zipfile.ZipFile, name: str) -> Numbers:
    with archive.open(name) as file:
        return _array(file, archive.getinfo(name).file_size)


def _array(file: IO[bytes], size: int) -> Numbers:
    """The array in a file of `size` bytes; the header's word for its shape counts only where the bytes are there."""
    if size > MOST_BYTES:
        raise ValueError(f"{size:,} bytes; expected at most {MOST_BYTES:,}")
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"format version {version}; expected one of {', '.join(map(str, HEADERS))}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
        shape, column_major, dtype = HEADERS[version](file)
    if dtype.kind not in "biuf":
        raise ValueError(f"its values are {dtype}; expected real numbers")
    values = file.read(size)
    if min(shape, default=0) < 0 or len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"its header says {dtype} of shape {shape}, which is not what {len(values):,} bytes hold")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if column_major else "C")


def _reason(error: Exception) -> Any:
    return str(error)[:300] or type(error).__name__
