"""`relubench status`: how far a run is."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands.options import Json
from bench.console import console

if TYPE_CHECKING:
    from bench.outside import Glance

OPEN = 1  # the exit code where a run ended before its end


def status(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `relubench run` writes or wrote.")],
    json: Json = False,
) -> None:
    """Show how far a run is, whether it still goes on, and how long the rest may take.

    Reads files alone: a run that goes on is not disturbed.

    Exit code 1 where a run was stopped or died before its end; 0 where it goes on or is finished.

    Example: relubench status results/quick
    """
    from bench.outside import UNFINISHED, glance

    seen = glance(run)
    if json:
        print(json_format.dumps(to_dict(run, seen), allow_nan=False))
    else:
        _show(run, seen)
    if seen.state in UNFINISHED:
        raise typer.Exit(OPEN)


def _show(run: Path, seen: Glance) -> None:
    from bench.commands.display import running_lines, table

    console.print(f"{run}: {_state(seen)}", soft_wrap=True)
    suite = [f"suite {seen.suite}"] if seen.suite else []
    last = f"last row {seen.last}" if seen.last else "no row yet"
    console.print(", ".join([*suite, last]), soft_wrap=True)
    console.print()
    console.print(table(seen.counts, seen.now, console.width))
    for line in running_lines(seen.counts, seen.now):
        console.print(line, soft_wrap=True)
    for note in seen.notes:
        console.print(f"note: {note}", soft_wrap=True)


def _state(seen: Glance) -> str:
    if seen.holder is None:
        return str(seen.state)
    who = f"process {seen.holder.pid} on {seen.holder.host} since {seen.holder.since}"
    return f"{seen.state}, {who}"


def to_dict(run: Path, seen: Glance) -> dict[str, Any]:
    """What was seen as one JSON object."""
    from bench.progress import to_dict as counts_to_dict

    running = [
        {"cell": cell, "what": each.what, "seconds": max(0.0, seen.now - each.since)}
        for cell, each in seen.counts.running.items()
    ]
    holder = seen.holder
    return {
        "run": str(run),
        "suite": seen.suite,
        "state": seen.state,
        "process": None if holder is None else {"pid": holder.pid, "host": holder.host, "since": holder.since},
        "last_row": seen.last,
        **counts_to_dict(seen.counts, seen.now),
        "running": running,
        "notes": list(seen.notes),
    }
