"""The log of a run: `run.log` in its folder, one line an event, kept over all starts.

The harness says what happens to the logger `bench` of the standard library, as a library does: whoever calls it from
Python attaches handlers as usual. `keeping_log` is the handler of the command line.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from bench.choices import SWITCHES
from bench.row import Row
from bench.suite import Cell
from networks.files import check_no_pipe

LOG = "run.log"
SHOWN = 12  # characters of a cell's digest
log = logging.getLogger("bench")
log.addHandler(logging.NullHandler())  # else Python prints warnings by itself where there is no other


class _OneLine(logging.Formatter):
    """UTC, level and message; what would break the line or move a terminal's cursor is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in record.getMessage())
        return f"{time} {record.levelname:<7} {text}"


class _Appending(logging.Handler):
    """Appends each event to a file at once. A line that cannot be written is lost, which is told once."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        super().__init__()
        self.setFormatter(_OneLine())
        self._path, self._tell = path, tell
        self._file: IO[bytes] | None = None
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record).encode(errors="backslashreplace") + b"\n")
        except OSError as error:
            if not self._told:
                self._told = True
                self._tell(f"{self._path} cannot be written: {error.strerror or error}; the run goes on without it")

    def _write(self, line: bytes) -> None:
        if self._file is None:
            check_no_pipe(self._path)
            self._file = self._path.open("ab+", buffering=0)
        if not _ends_well(self._file):
            line = b"\n" + line
        left = memoryview(line)
        while left:
            left = left[self._file.write(left) :]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


def _ends_well(file: IO[bytes]) -> bool:
    """Whether a file is empty or ends with a whole line: a crash or a full disk may have torn it."""
    size = file.seek(0, 2)
    if size == 0:
        return True
    file.seek(size - 1)
    return file.read(1) == b"\n"


@contextlib.contextmanager
def keeping_log(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Append what happens within to the log of a run.

    The log is for people, and no result depends on it: where it cannot be written the run goes on, and `tell` is given
    one line that says so.
    """
    handler, level = _Appending(folder / LOG, tell), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()


def in_words(cell: Cell) -> str:
    """A cell, with those settings that are not the usual ones."""
    images = f"image {cell.image}" if cell.images is None else f"{cell.images} images"
    usual = {name: values[0] for name, values in SWITCHES.items()}
    given = [f"{name} {value}" for name in SWITCHES if (value := getattr(cell, name)) not in (None, usual[name])]
    again = [f"{name} {value}" for name in ("seed", "repeat") if (value := getattr(cell, name))]
    return ", ".join([cell.describe(), images, *given, *again])


def log_row(row: Row) -> None:
    """The end of a cell: what came of it, how long it took, and why."""
    from bench.limits import killed_past
    from bench.row import failed

    took = "" if row.total_s is None else f" in {row.total_s:.3f} s"
    if failed(row):
        log.error("end %s: failed%s: %s", row.cell[:SHOWN], took, row.error or row.evidence)
        return
    images = None if row.falsified is None else f"{row.falsified} images falsified, {row.unknown} not"
    why = f": {row.evidence}" if row.evidence else ""
    level = logging.WARNING if killed_past(row) else logging.INFO
    log.log(level, "end %s: %s%s%s", row.cell[:SHOWN], row.verdict or images or row.reason, took, why)
