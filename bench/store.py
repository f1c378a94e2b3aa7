"""The files of a run: `manifest.json`, `plan.json`, `rows.jsonl` and `arrays/`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from filelock import FileLock, Timeout

from bench.environment import utc_now
from bench.row import Row, failed, strict_json
from networks.errors import InputError
from networks.files import check_no_pipe, read_regular

ROWS, MANIFEST, ARRAYS, LOGS, TORN = "rows.jsonl", "manifest.json", "arrays", "logs", "rows.torn"
PLAN = "plan.json"  # of the last start: what is to be measured, and which rows count
Place = tuple[int, int]  # of a line in the file of rows: the byte where it begins, and its length
LOCK, RUNNING = "run.lock", "running.json"  # the lock, and who holds it: a lock file's own content does not last


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
        check_no_pipe(path)
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


class Store:
    """One run's folder, held by one process at a time. Close it, or use it as a context manager.

    Rows are only ever appended, and each is on disk before `append` returns.

    Attributes
    ----------
    folder : Path
    finished : dict of str to Row
        The last row of each cell, those that failed left out, in the harness or in the solver: they are tried again.
    notes : tuple of str
        What the user should know of the rows that were there.

    Raises
    ------
    InputError
        The folder cannot be written to, another run holds it, or a line of its rows is JSON and no row.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self._who = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": utc_now(),
            "command": " ".join(sys.argv),
        }
        self._lock = _hold(folder, self._who)
        try:
            self.notes = tuple(_set_torn_lines_aside(folder / ROWS))
            rows = read_rows(folder)[0] if (folder / ROWS).exists() else []
            self.finished = {row.cell: row for row in rows if not failed(row)}
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another run have the folder."""
        if self._lock.is_locked:
            (self.folder / RUNNING).unlink(missing_ok=True)
            self._lock.release()

    def append(self, row: Row) -> None:
        """Write one row and wait until it is on disk. A line that does not get there whole leaves nothing behind."""
        path = self.folder / ROWS
        new = not path.exists()
        with writing(path), path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                _write_all(file, row.to_json().encode() + b"\n")
            except OSError:
                with contextlib.suppress(OSError):  # the first failure is the one to tell; a torn line is recognised
                    file.truncate(before)
                raise
        if new:
            _sync_folder(self.folder)
        if not failed(row):
            self.finished[row.cell] = row

    def begin_log(self, cell: str) -> Path:
        """The file for the log of a cell's solver, which nobody has written to yet."""
        path = self.folder / _log_name(cell)
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
        return path

    def log_of(self, cell: str) -> str | None:
        """The path of that log relative to the folder; None where no solver wrote one."""
        name = _log_name(cell)
        return name if (self.folder / name).is_file() else None

    def save_arrays(self, cell: str, arrays: dict[str, Any]) -> str:
        """Save a cell's arrays; returns the file's path relative to the folder."""
        name = f"{ARRAYS}/{cell[:32]}.npz"
        with writing(self.folder / ARRAYS):
            (self.folder / ARRAYS).mkdir(exist_ok=True)
        save_npz(self.folder / name, **arrays)
        return name

    def start(self, suite: dict[str, Any], environment: dict[str, Any] | None = None) -> None:
        """Write the manifest; a resumed run adds its environment to those before, if it measures anything."""
        starts = [*read_manifest(self.folder).get("starts", []), *([environment] if environment else [])]
        text = json.dumps({"suite": suite, "starts": starts}, indent=2) + "\n"
        with _replacing(self.folder / MANIFEST) as file:
            file.write(text.encode())

    def keep_plan(self, plan: dict[str, Any]) -> None:
        """Write what this start is to measure: what counts of the rows (`bench.outline`)."""
        with _replacing(self.folder / PLAN) as file:
            file.write(json.dumps(plan).encode() + b"\n")

    def say_running(self, cells: list[dict[str, Any]]) -> None:
        """Write what is being measured for `bench.outside`; where there is no room for it, the run goes on without."""
        temporary = self.folder / f"{RUNNING}.tmp"
        with contextlib.suppress(OSError):
            temporary.write_bytes(json.dumps({**self._who, "cells": cells}).encode() + b"\n")
            temporary.replace(self.folder / RUNNING)


def _log_name(cell: str) -> str:
    return f"{LOGS}/{cell[:32]}.log"


def _hold(folder: Path, who: dict[str, Any]) -> FileLock:
    """The lock on a folder, held, with a file beside it that says who holds it."""
    lock = FileLock(folder / LOCK)
    with writing(folder / LOCK):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"run folder {folder} is in use by {_holder(folder)}; wait for its end, or name another with --out DIR"
            ) from None
    with _replacing(folder / RUNNING) as file:
        file.write(json.dumps(who).encode() + b"\n")
    return lock


def _holder(folder: Path) -> str:
    try:
        who = json.loads((folder / RUNNING).read_bytes())
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or has just ended
        return "another run"


def _write_all(file: IO[bytes], line: bytes) -> None:
    """Write a line to an unbuffered file, and wait until it is on disk."""
    left = memoryview(line)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` once it is whole and on disk."""
    temporary = path.parent / f"{path.name}.tmp"
    try:
        with writing(path):
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have the folder's list of files on disk. Windows has no such call."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every file system takes it for a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_torn_lines_aside(path: Path) -> Iterator[str]:
    """Keep lines that a crash tore in a file of their own, so that their cells run again; yields notes."""
    lines = _read(path).splitlines(keepends=True) if path.exists() else []
    torn = [line for line in lines if is_torn(line)]
    if not torn:
        return
    with writing(path.with_name(TORN)), path.with_name(TORN).open("ab", buffering=0) as file:
        _write_all(file, b"".join(line.rstrip(b"\n") + b"\n" for line in torn))
    with _replacing(path) as whole:
        whole.writelines(line for line in lines if not is_torn(line))
    what = "1 line" if len(torn) == 1 else f"{len(torn)} lines"
    yield f"{path}: {what} torn by a crash, kept in {TORN}; measured again"


def is_torn(line: bytes) -> bool:
    """Whether a line was not written whole: it has no end, or is no JSON, as where a power failure left zeros."""
    if not line.endswith(b"\n"):
        return True
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def save_npz(path: Path, **arrays: Any) -> None:
    """Save arrays to a compressed .npz file, which is there whole or not at all.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    with _replacing(path) as file:
        np.savez_compressed(file, **arrays)


def read_rows(folder: Path) -> tuple[list[Row], list[str]]:
    """All rows of a run, and notes. Lines that were torn while they were written are passed over with a note.

    Raises
    ------
    InputError
        The file cannot be read, or a line is JSON and no row; the message has the file and the line's number.
    """
    path = folder / ROWS
    rows, notes = [], []
    for number, line in enumerate(_read(path).splitlines(keepends=True), start=1):
        if is_torn(line):
            notes.append(f"{path.name}, line {number}: torn while it was written; passed over")
            continue
        try:
            rows.append(Row.from_json(line))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    return rows, notes


def read_line(folder: Path, place: Place) -> str:
    """The text of one row, as it stands in the file.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    path, (start, length) = folder / ROWS, place
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length).decode().rstrip()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


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
        manifest = strict_json(_read(path))
    except ValueError as error:
        raise InputError(f"{path}: not the manifest of a run: {error}") from error
    if not _is_manifest(manifest):
        raise InputError(f"{path}: not the manifest of a run; expected a JSON object with a list `starts`")
    return dict(manifest)


def _is_manifest(value: Any) -> bool:
    """Whether it is an object whose `suite`, `starts` and their `versions` are what their readers take them for."""
    if not isinstance(value, dict) or not isinstance(value.get("suite", {}), dict | None):
        return False
    starts = value.get("starts", [])
    return isinstance(starts, list) and all(
        isinstance(start, dict)
        and isinstance(start.get("versions", {}), dict | None)
        and isinstance(start.get("git_commit"), str | None)
        for start in starts
    )


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        expected = "expected a folder that `relubench run` wrote"
        raise InputError(f"{path} cannot be read: {error.strerror}; {expected}") from error
