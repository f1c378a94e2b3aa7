"""The files of a run."""

from __future__ import annotations

from pathlib import Path

from networks.errors import InputError


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
