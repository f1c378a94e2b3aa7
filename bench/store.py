"""The files of a run: `manifest.json`, `rows.jsonl` and `arrays/`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.row import Row, strict_json
from networks.errors import InputError
from networks.files import check_no_pipe, read_regular

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
        check_no_pipe(path)
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


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
        rows = read_rows(folder)[0] if (folder / ROWS).exists() else []
        self.finished = {row.cell for row in rows if row.error is None}  # what failed is tried again

    def append(self, row: Row) -> None:
        """Write one row and wait until it is on disk."""
        path = self.folder / ROWS
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(row.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        if row.error is None:
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
        starts = [*read_manifest(self.folder).get("starts", []), {"start": started, **environment}]
        temporary = path.with_suffix(".tmp")
        with writing(temporary):
            temporary.write_text(json.dumps({"suite": suite, "starts": starts}, indent=2) + "\n", encoding="utf-8")
            temporary.replace(path)

    def _set_torn_line_aside(self) -> None:
        """A line without its newline was torn by a crash: keep it in a file of its own, so that its cell runs again."""
        path = self.folder / ROWS
        if not path.exists():
            return
        content = _read(path)
        whole, newline, torn = content.rpartition(b"\n")
        if torn:
            with writing(self.folder / TORN), (self.folder / TORN).open("ab") as file:
                file.write(torn + b"\n")
            with writing(path), path.open("r+b") as file:
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
