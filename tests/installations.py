"""Installations of relubench for `relubench pair`: virtual environments that share this one's packages."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import venv
from pathlib import Path

from tests.plugins import REPOSITORY

PACKAGES = ("bench", "networks", "solvers")

# Put at the end of a copy's `bench/verification.py`: so many times the processor time, by waiting busily. Where others
# use the processor too, a wait by the clock would cost more than that, as it goes on while they do.
SLOWER = """
import functools

_verify = verify


@functools.wraps(_verify)
def verify(*arguments, **settings):
    start = time.process_time()
    outcome = _verify(*arguments, **settings)
    end = start + {times} * (time.process_time() - start)
    while time.process_time() < end:
        pass
    return outcome
"""


def interpreter(folder: Path, *paths: Path) -> Path:
    """The interpreter of a new environment in `folder`; `paths` come before the packages of the one that runs this."""
    venv.create(folder, symlinks=True)
    version = "python{}.{}".format(*sys.version_info)
    lines = [*map(str, paths), sysconfig.get_path("purelib")]
    (folder / "lib" / version / "site-packages" / "installed.pth").write_text("\n".join(lines) + "\n")
    return folder / "bin" / "python"


def this_one(folder: Path) -> Path:
    """An installation of the packages that are being tested."""
    return interpreter(folder, REPOSITORY)


def copied(folder: Path, appended: str = "", module: str = "bench/verification.py") -> Path:
    """An installation of a copy of these packages, with text at the end of one module."""
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, source / package)
    with (source / module).open("a", encoding="utf-8") as file:
        file.write(appended)
    return interpreter(folder / "venv", source)
