"""Verdicts of two runs of one suite beside each other: `python table.py BEFORE AFTER` prints the table of README.md."""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

WORDS = ("verified", "falsified", "unknown")
Key = tuple[Any, ...]


def rows_of(folder: str) -> dict[Key, dict[str, Any]]:
    """The rows of a run by what was asked."""
    lines = (json.loads(line) for line in (Path(folder) / "rows.jsonl").read_text().splitlines())
    return {tuple(row[name] for name in ("network", "method", "solver", "epsilon", "image")): row for row in lines}


def counts(rows: list[dict[str, Any]]) -> str:
    """How many are verified, falsified and unknown."""
    return " / ".join(str(sum(row["verdict"] == word for row in rows)) for word in WORDS)


def main() -> None:
    """Print the table, and every verdict that changed."""
    before, after = map(rows_of, sys.argv[1:])
    groups: defaultdict[Key, list[Key]] = defaultdict(list)
    for key in sorted(before.keys() & after.keys(), key=str):
        groups[key[:4]].append(key)
    print("| network | epsilon | asked of | verified / falsified / unknown before | after | time after / before |")
    print("|---|---|---|---|---|---|")
    for (network, method, solver, epsilon), keys in groups.items():
        was, now = ([rows[key] for key in keys] for rows in (before, after))
        decided = [(a, b) for a, b in zip(was, now, strict=True) if "unknown" not in (a["verdict"], b["verdict"])]
        ratio = statistics.geometric_mean(b["total_s"] / a["total_s"] for a, b in decided) if decided else float("nan")
        print(f"| {network} | {epsilon} | {method} {solver} | {counts(was)} | {counts(now)} | {ratio:.2f} |")
    for key in sorted(before.keys() & after.keys(), key=str):
        was, now = before[key], after[key]
        if was["verdict"] != now["verdict"]:
            told = [f"{row['verdict']} ({row['reason'] or row['tier']}, {row['total_s']:.1f} s)" for row in (was, now)]
            print("changed:", *key, " -> ".join(told))


if __name__ == "__main__":
    main()
