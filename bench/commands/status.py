"""`relubench status`: how far a run is."""

from __future__ import annotations

import json as json_format
from datetime import UTC, datetime
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

    It reads files alone: a run that goes on is not disturbed.

    Exit code 1 where the run was stopped or died before its end, 0 where it goes on or is finished.

    Example: relubench status results/quick
    """
    from bench.outside import UNFINISHED, glance

    seen = glance(run)
    if json:
        print(json_format.dumps(_to_dict(run, seen), allow_nan=False))
    else:
        _show(run, seen)
    if seen.state in UNFINISHED:
        raise typer.Exit(OPEN)


def _show(run: Path, seen: Glance) -> None:
    from bench.commands.display import running_lines, table
    from bench.outside import GOING_ON

    for line in (f"{run}: {_state(seen)}", _progress(seen), ""):
        console.print(line, soft_wrap=True)
    if seen.counts.tallies:
        console.print(table(seen.counts, seen.now, console.width))
    cells = running_lines(seen.cells, seen.now)
    if seen.state not in GOING_ON:
        cells = [f"in the midst of: {each.what}" for each in seen.cells]
    for line in (*cells, *(f"note: {note}" for note in seen.notes)):
        console.print(line, soft_wrap=True)


def _state(seen: Glance) -> str:
    holder = seen.holder
    if holder is None:
        return str(seen.state)
    return f"{seen.state}, process {holder.pid} on {holder.host} since {_moment(holder.since.timestamp())}"


def _progress(seen: Glance) -> str:
    from bench.outside import GOING_ON
    from bench.progress import Left, clock

    suite = f"suite {seen.suite}, " if seen.suite else ""
    if seen.last is None:
        return f"{suite}no row yet"
    ago = f", {clock(Left(max(0.0, seen.now - seen.last)))} ago" if seen.state in GOING_ON else ""
    return f"{suite}last row {_moment(seen.last)}{ago}"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # what a file says may be no year that there is
        return "a time unknown"


def _to_dict(run: Path, seen: Glance) -> dict[str, Any]:
    from bench.progress import to_dict

    holder = seen.holder
    process = {"pid": holder.pid, "host": holder.host, "since": _moment(holder.since.timestamp())} if holder else None
    return {
        "run": str(run),
        "suite": seen.suite,
        "state": seen.state,
        "process": process,
        "last_row": None if seen.last is None else _moment(seen.last),
        **to_dict(seen.counts, seen.now),
        "cells_now": [{"what": each.what, "since": _moment(each.since)} for each in seen.cells],
        "notes": list(seen.notes),
    }
