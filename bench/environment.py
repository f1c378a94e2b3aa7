"""What a run ran on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("relubench", "torch", "numpy", "scipy", "highspy", "gurobipy", "pulp", "cvxpy")


@cache
def versions() -> dict[str, str]:
    """Versions of relubench and of what it computes with; a package that is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def utc_now() -> str:
    """The time, UTC, ISO 8601, in milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def describe() -> dict[str, Any]:
    """Versions, machine and git commit, for a run's manifest."""
    import psutil

    return {
        "versions": versions(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "simd": vector_instructions(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": _accelerator(),
        "git_commit": git_commit(),
    }


def cpu_model() -> str:
    """The processor's name, as well as the platform tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def vector_instructions() -> list[str]:
    """The processor's vector instructions that numpy has kernels for: they decide in which order it sums up."""
    import numpy as np

    shown: Any = np.show_config(mode="dicts")
    found = shown.get("SIMD Extensions", {})
    return [name for key in ("baseline", "found") for name in found.get(key, [])]


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, with `-dirty` if it has changes; None outside of one."""
    folder = Path(__file__).resolve().parent
    try:
        shown = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name], cwd=folder, capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.strip() if tracked.returncode == 0 else None  # an installation inside another repository


def _accelerator() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
