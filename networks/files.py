"""What comes from outside: files that are read are regular ones, and values that are shown are short."""

from __future__ import annotations

import errno
import reprlib
import stat
import zipfile
from pathlib import Path
from typing import Any


def read_regular(path: Path, most_bytes: int | None = None) -> bytes:
    """The content of a regular file: a pipe would wait for ever, a device has no end.

    Raises
    ------
    OSError
        Not a regular file, one of more than `most_bytes`, or what else the system says, a name that it cannot take
        among it.
    """
    check_regular(path)
    if most_bytes is not None and path.stat().st_size > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes", str(path))
    return path.read_bytes()


def check_regular(path: Path) -> None:
    """Raise OSError unless `path` is a regular file or a link to one."""
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # NUL in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def check_no_pipe(path: Path) -> None:
    """Raise OSError where `path` is a named pipe: writing to one waits for a reader, for ever if none comes."""
    if path.is_fifo():
        raise OSError(errno.EINVAL, "a named pipe; expected a file", str(path))


# How a file begins, and what it is then; of zip archives, which member tells.
BEGINNINGS = {
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": "a torch checkpoint",  # of torch before 1.6
    b"\x80": "a pickle",
}
MEMBERS = {"constants.pkl": "a TorchScript module", "data.pkl": "a torch checkpoint", ".npy": "NumPy arrays"}


def file_kind(path: Path) -> str:
    """What a file is, in words, where it is one that may be taken for a network; else empty."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return ""
    if not start:
        return "an empty file"
    if path.suffix == ".onnx":
        return "an ONNX model"
    if zipfile.is_zipfile(path):
        return _archive_kind(path)
    if start.isascii() and start.decode().replace("\n", "").replace("\t", "").replace("\r", "").isprintable():
        return "text"
    return next((words for beginning, words in BEGINNINGS.items() if start.startswith(beginning)), "")


def _archive_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ""
    return next((words for end, words in MEMBERS.items() if any(name.endswith(end) for name in names)), "an archive")


def shown(value: Any) -> str:
    """`repr` for a message: what is long or deep is shortened."""
    return _short.repr(value)


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 4, 80, 80, 40
        self.maxlist = self.maxtuple = self.maxdict = 8

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write integers of more than 4,300 digits in decimal."""
        return super().repr_int(x, level) if x.bit_length() < 10_000 else f"an integer of {x.bit_length():,} bits"


_short = _Short()
