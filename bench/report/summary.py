"""What a run was and where it ran."""

from __future__ import annotations

from typing import Any

from bench.report.frame import Run
from bench.report.render import Section


def summary_section(run: Run) -> Section:
    """The suite, the number of rows, and one line for each machine and set of versions of the manifest."""
    suite = run.manifest.get("suite") or {}
    kinds = run.rows["kind"].value_counts()
    rows = ", ".join(f"{kinds[kind]} {kind}" for kind in ("verify", "attack") if kind in kinds)
    failed = int(run.rows["error"].notna().sum())
    lines = [f"{len(run.rows)} rows ({rows}{f'; {failed} failed' if failed else ''})"]
    lines += [f"Suite: {suite['description']}."] if suite.get("description") else []
    lines += dict.fromkeys(_machine(start) for start in run.manifest.get("starts", []))
    return Section(run.suite_name, lines=tuple(lines))


def _machine(start: dict[str, Any]) -> str:
    versions = start.get("versions") or {}
    commit = start.get("git_commit")
    parts = [
        f"{start.get('cpu', 'unknown CPU')}, {start.get('cores', '?')} cores",
        f"GPU {start['device']}" if start.get("device") else "",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"commit {commit[:12]}{'-dirty' if commit.endswith('-dirty') else ''}" if commit else "",
    ]
    return "Machine: " + "; ".join(part for part in parts if part)
