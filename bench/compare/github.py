"""A comparison as GitHub's workflow commands: annotations of the run."""

from __future__ import annotations

from collections.abc import Iterator

from bench.compare.comparison import Comparison, Level

COMMANDS = {Level.FAILURE: "error", Level.WARNING: "warning", Level.NOTICE: "notice"}
MOST = 10  # of each kind: GitHub shows no more of a step
IN_TEXT = {"%": "%25", "\r": "%0D", "\n": "%0A"}
IN_PROPERTY = {**IN_TEXT, ":": "%3A", ",": "%2C"}


def workflow_commands(comparison: Comparison) -> Iterator[str]:
    """One line an annotation: the failures, the warnings and the notices, and last what it all comes to."""
    for level, command in COMMANDS.items():
        found = [(lane.name, finding) for lane in comparison.lanes for finding in lane.at(level)]
        for name, finding in found[: MOST - 1]:
            yield _line(command, f"relubench {name}: {finding.what}", str(finding))
        if len(found) >= MOST:
            yield _line(command, f"relubench: {level}s", f"{len(found) - MOST + 1:,} more: the job summary has them")
    if comparison.exit_code and not any(lane.at(Level.FAILURE) for lane in comparison.lanes):
        yield _line("error", "relubench", "; ".join([comparison.verdict, *comparison.notes]))


def _line(command: str, title: str, text: str) -> str:
    return f"::{command} title={_escaped(title, IN_PROPERTY)}::{_escaped(text, IN_TEXT)}"


def _escaped(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(letter, letter) for letter in text)
