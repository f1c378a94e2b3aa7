"""Back-ends of outside packages, as an installed distribution shows them: by a folder with its entry points."""

from __future__ import annotations

import os
from pathlib import Path

from solvers.registry import ENTRY_POINTS

REPOSITORY = Path(__file__).parents[1]


def install_plugin(folder: Path, **entries: str) -> Path:
    """Make `folder` one that, on `sys.path`, registers back-ends: their names, each with `module:Class`."""
    info = folder / "relubench_outside-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: relubench-outside\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines, ""]))
    return folder


def environment_with(folder: Path) -> dict[str, str]:
    """The environment of a process that has the folder, and this repository's tests, on its path."""
    paths = [str(folder), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
