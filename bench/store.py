"""The files of a run: `manifest.json`, `rows.jsonl` and `arrays/`."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from bench.limits import Limits
from bench.row import Row
from networks.errors import InputError

ROWS, MANIFEST, ARRAYS, TORN = "rows.jsonl", "manifest.json", "arrays", "rows.torn"
LOCK, RUNNING = "run.lock", "running.json"


def make_folder(path: Path) -> None:
    """Make the folder and prove that it can be written to.

    Raises
    ------
    InputError
        It cannot be made or written to.
    """
    probe = path / ".relubench-write-test"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"folder {path} cannot be written: {error.strerror}; name another with --out DIR") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write `path`, e.g. for want of space, into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


class Store:
    """One run's folder, held for this process alone. Rows are only appended, each on disk before `append` returns.

    Use it as a context manager, or `close` it.

    Parameters
    ----------
    folder : Path
        Made if it is not there.

    Attributes
    ----------
    notes : list of str
        What the user should know of the state in which the folder was.

    Raises
    ------
    InputError
        The folder cannot be written to, another run holds it, or a line of its rows is JSON but no row.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self.notes: list[str] = []
        self._lock = _hold(folder)
        try:
            self._set_torn_lines_aside()
            rows = read_rows(folder)[0] if (folder / ROWS).exists() else []
        except BaseException:
            self.close()
            raise
        self._finished: dict[str, Row | None] = {}  # a row only where its cell was killed
        for row in rows:
            self._count(row)

    @property
    def finished(self) -> set[str]:
        """The cells that have a row without an error."""
        return set(self._finished)

    def has(self, cell: str, limits: Limits) -> bool:
        """Whether nothing is left to measure: what failed is tried again, as is what was killed and may do more now."""
        if cell not in self._finished:
            return False
        killed = self._finished[cell]
        return killed is None or not limits.allow_more(killed)

    def _count(self, row: Row) -> None:
        if row.error is None:
            self._finished[row.cell] = row if row.killed_for else None

    def append(self, row: Row) -> None:
        """Write one row and wait until it is on disk; what cannot be written whole is not written at all."""
        path = self.folder / ROWS
        new = not path.exists()
        with writing(path), path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                _write_all(file, row.to_json().encode() + b"\n")
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):  # what then stays of the line is set aside by the next run
                    file.truncate(size)
                raise
        if new:
            _sync_folder(self.folder)
        self._count(row)

    def save_arrays(self, cell: str, arrays: dict[str, Any]) -> str:
        """Save a cell's arrays; returns the file's path relative to the folder."""
        name = f"{ARRAYS}/{cell[:32]}.npz"
        path = self.folder / name
        with writing(path.parent):
            path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f"{path.stem}.tmp.npz")
        with writing(path):
            try:
                save_npz(temporary, **arrays)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        return name

    def start(self, suite: dict[str, Any], environment: dict[str, Any], started: str) -> None:
        """Write the manifest; a resumed run adds its environment to those before."""
        starts = [*read_manifest(self.folder).get("starts", []), {"start": started, **environment}]
        text = json.dumps({"suite": suite, "starts": starts}, indent=2) + "\n"
        _write_whole(self.folder / MANIFEST, text.encode())

    def close(self) -> None:
        """Let others have the folder."""
        (self.folder / RUNNING).unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set_torn_lines_aside(self) -> None:
        """A line that is not JSON was torn by a crash: it is kept in a file of its own, and its cell runs again."""
        path = self.folder / ROWS
        if not path.exists():
            return
        lines = _read(path).split(b"\n")
        torn = [line for number, line in enumerate(lines, 1) if line and not _is_whole(line, number == len(lines))]
        if not torn:
            return
        with writing(self.folder / TORN), (self.folder / TORN).open("ab") as file:
            file.writelines(line + b"\n" for line in torn)
            os.fsync(file.fileno())
        kept = [line for number, line in enumerate(lines, 1) if line and _is_whole(line, number == len(lines))]
        _write_whole(path, b"".join(line + b"\n" for line in kept))
        plural = "s" * (len(torn) != 1)
        self.notes.append(f"{len(torn)} line{plural} of {path} torn by a crash: moved to {TORN}, measured again")


def _write_all(file: FileIO, content: bytes) -> None:
    """A system writes as much as it has room for, and fails only at the next byte."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _is_whole(line: bytes, last: bool) -> bool:
    """Whether a line was written to its end: the last one lacks its newline, whatever it holds."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return not last


def _hold(folder: Path) -> BaseFileLock:
    """Take the folder's lock, and say in a file beside it who has it: the system frees the lock with its process."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"folder {folder} is in use by {_holder(folder)}; name another with --out DIR") from None
    except OSError as error:
        raise InputError(f"folder {folder} cannot be locked: {error.strerror or error}") from error
    holder = {"pid": os.getpid(), "host": platform.node(), "since": now(), "command": " ".join(sys.argv)}
    _write_whole(folder / RUNNING, json.dumps(holder).encode())
    return lock


def _holder(folder: Path) -> str:
    try:
        known = json.loads((folder / RUNNING).read_bytes())
        return "process {pid} on {host} since {since} ({command})".format_map(known)
    except (OSError, ValueError, KeyError):  # it has only begun
        return "another run"


def _write_whole(path: Path, content: bytes) -> None:
    """Replace a file by another in one step: there is never half of one."""
    temporary = path.with_name(f"{path.name}.tmp")
    with writing(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """A new file's name is on disk only with its folder; Windows has no such call, and no need of it."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save_npz(path: Path, **arrays: Any) -> None:
    """Save arrays to a compressed .npz file.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    with writing(path):
        np.savez_compressed(path, **arrays)


def read_rows(folder: Path) -> tuple[list[Row], list[str]]:
    """All rows of a run, and notes. A last line torn off while it was written is passed over with a note.

    Raises
    ------
    InputError
        The file cannot be read, or a line is no row; the message has the file and the line's number.
    """
    path = folder / ROWS
    lines = _read(path).splitlines(keepends=True)
    rows, notes = [], []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(Row.from_json(line))
        except ValueError as error:
            if number == len(lines) and not line.endswith(b"\n"):
                notes.append(f"{path.name}, line {number}: torn off while it was written; passed over")
                continue
            raise InputError(f"{path}, line {number}: {error}") from error
    return rows, notes


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run, empty where there is none.

    Raises
    ------
    InputError
        It is not a manifest.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        manifest = json.loads(_read(path))
    except ValueError as error:
        raise InputError(f"{path}: not the manifest of a run: not JSON ({error})") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("starts", []), list):
        raise InputError(f"{path}: not the manifest of a run; expected a JSON object with a list `starts`")
    return manifest


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        expected = "expected a folder that `relubench run` wrote"
        raise InputError(f"{path} cannot be read: {error.strerror}; {expected}") from error


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
