"""What a run was and where it ran."""

from __future__ import annotations

from typing import Any

from bench.report.frame import CONTRADICTED, Run
from bench.report.render import Section

SHOWN = 10  # contradictions; the first few say what is wrong


def summary_section(run: Run) -> Section:
    """The suites, the number of rows, and one line for each machine and set of versions of the manifests."""
    kinds = run.rows["kind"].value_counts()
    counts = [f"{kinds[kind]} {kind}" for kind in ("verify", "attack") if kind in kinds]
    wrong = {"failed": run.rows["failed"].sum(), CONTRADICTED: len(run.judgement.guilty)}
    rows = "; ".join([", ".join(counts), *(f"{count} {name}" for name, count in wrong.items() if count)])
    lines = [f"{len(run.rows)} rows ({rows})"]
    lines += _runs(run) if len(run.folders) > 1 else []
    lines += [f"{note}." for note in run.notes]
    suites = [manifest.get("suite") or {} for manifest in run.manifests]
    lines += dict.fromkeys(f"Suite: {suite['description']}." for suite in suites if suite.get("description"))
    starts = [start for manifest in run.manifests for start in manifest.get("starts", [])]
    lines += dict.fromkeys(map(_machine, starts))
    return Section(run.suite_name, lines=tuple(lines))


def _runs(run: Run) -> list[str]:
    """Which runs are reported together, and how many rows each has."""
    counts = run.rows["run"].value_counts(sort=False)
    return ["Runs: " + ", ".join(f"{name} ({count} rows)" for name, count in counts.items()) + "."]


def contradiction_sections(run: Run) -> list[Section]:
    """What does not hold among the rows, for the top of a report; empty where all holds."""
    findings, shown = run.judgement.findings, run.judgement.firsts[:SHOWN]
    lines = [f"{finding}." for finding in shown]
    more = len(findings) - len(shown)
    lines += [f"And {more:,} more, which `relubench check --json` has."] if more > 0 else []
    return [Section("Contradictions", lines=(CONTRADICTION_TERM, *lines))] if findings else []


CONTRADICTION_TERM = (
    "These rows contradict an input that was run forward, a proof, other rows or themselves. None of them counts as "
    "verified, falsified or solved, and neither does its time."
)


def _machine(start: dict[str, Any]) -> str:
    versions = start.get("versions") or {}
    commit = start.get("git_commit")
    parts = [
        f"{start.get('cpu') or 'unknown CPU'}{', {} cores'.format(start['cores']) if start.get('cores') else ''}",
        f"GPU {start['device']}" if start.get("device") else "",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"commit {commit[:12]}{'-dirty' if commit.endswith('-dirty') else ''}" if commit else "",
    ]
    return "Machine: " + "; ".join(part for part in parts if part)
