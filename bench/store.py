"""The files of a run: `manifest.json`, `rows.jsonl` and `arrays/`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.row import Row
from networks.errors import InputError

ROWS, MANIFEST, ARRAYS, TORN = "rows.jsonl", "manifest.json", "arrays", "rows.torn"


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
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


class Store:
    """One run's folder. Rows are only ever appended, and each is on disk before `append` returns.

    Parameters
    ----------
    folder : Path
        Made if it is not there.

    Raises
    ------
    InputError
        The folder cannot be written to, or a line of its rows is not a row.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self._set_torn_line_aside()
        self.finished = {row["cell"] for row in read_rows(folder)} if (folder / ROWS).exists() else set()

    def append(self, row: Row) -> None:
        """Write one row and wait until it is on disk."""
        path = self.folder / ROWS
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(row.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.finished.add(row.cell)

    def save_arrays(self, cell: str, arrays: dict[str, Any]) -> str:
        """Save a cell's arrays; returns the file's path relative to the folder."""
        name = f"{ARRAYS}/{cell[:32]}.npz"
        with writing(self.folder / ARRAYS):
            (self.folder / ARRAYS).mkdir(exist_ok=True)
        save_npz(self.folder / name, **arrays)
        return name

    def start(self, suite: dict[str, Any], environment: dict[str, Any], started: str) -> None:
        """Write the manifest; a resumed run adds its environment to those before."""
        path = self.folder / MANIFEST
        starts = [*_earlier_starts(path), {"start": started, **environment}]
        temporary = path.with_suffix(".tmp")
        with writing(temporary):
            temporary.write_text(json.dumps({"suite": suite, "starts": starts}, indent=2) + "\n", encoding="utf-8")
            temporary.replace(path)

    def _set_torn_line_aside(self) -> None:
        """A line without its newline was torn by a crash: keep it in a file of its own, so that its cell runs again."""
        path = self.folder / ROWS
        if not path.exists():
            return
        content = path.read_bytes()
        whole, newline, torn = content.rpartition(b"\n")
        if torn:
            with (self.folder / TORN).open("ab") as file:
                file.write(torn + b"\n")
            with path.open("r+b") as file:
                file.truncate(len(whole) + len(newline))


def save_npz(path: Path, **arrays: Any) -> None:
    """Save arrays to a compressed .npz file.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    with writing(path):
        np.savez_compressed(path, **arrays)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a run, as parsed. A torn last line is passed over.

    Raises
    ------
    InputError
        There are no rows, or a line is not a row.
    """
    path = folder / ROWS
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}; expected a folder that `relubench run` wrote") from error
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1)]


def _earlier_starts(path: Path) -> list[Any]:
    """The starts that the manifest has; none where there is no manifest."""
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["starts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the manifest of a run: {type(error).__name__}: {error}") from error


def _parse(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path} line {number}: not JSON: {error}") from None
    if not isinstance(row, dict) or not isinstance(row.get("cell"), str):
        raise InputError(f"{path} line {number}: not a row of results; expected an object with a `cell`")
    return row
