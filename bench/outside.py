"""A run as seen from outside, while it goes on or after its end: files are read, nothing is locked or written."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from bench.outline import Outline, read_outline
from bench.progress import Counts, Line, Running, SeenRow
from bench.row import failed
from bench.store import PLAN, ROWS, RUNNING, read_manifest
from networks.errors import InputError
from networks.files import check_regular, read_regular

CLOCK_S = 2.0  # that a process may seem younger than its own first line: its start is rounded by the system


class State(StrEnum):
    """How it is with a run."""

    RUNNING = "running"
    ELSEWHERE = "elsewhere"  # another machine holds it, where alone can be seen whether it still runs
    FINISHED = "finished"  # every cell of the plan has a row
    STOPPED = "stopped"  # by a signal or an error, in good order, before its end
    DIED = "died"  # killed or crashed before its end
    ENDED = "ended"  # nobody holds it, and there is no plan that says whether all was measured


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
GOING_ON = (State.RUNNING, State.ELSEWHERE)
UNFINISHED = (State.STOPPED, State.DIED)
ROW = msgspec.json.Decoder(SeenRow)
EXPECTED = "expected a file that `relubench run` wrote"


class SeenCell(msgspec.Struct, frozen=True):
    """A cell that is being measured, as `running.json` has it."""

    cell: str
    kind: str
    method: str
    solver: str | None
    what: str
    since: Moment


class Holder(msgspec.Struct, frozen=True):
    """Who holds a run's folder, as `running.json` has it."""

    pid: int
    host: str
    since: Moment
    command: str = ""
    cells: list[SeenCell] = []


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """What there is to see of a run.

    Attributes
    ----------
    state : State
    suite : str or None
    holder : Holder or None
        Who holds it, or held it when it died.
    counts : Counts
    cells : tuple of Running
        What is being measured, or was when the run died.
    last : float or None
        When the last row came, in seconds of the clock; None where there is none.
    now : float
        When this was seen, in seconds of the clock.
    notes : tuple of str
    """

    state: State
    suite: str | None
    holder: Holder | None
    counts: Counts
    cells: tuple[Running, ...]
    last: float | None
    now: float
    notes: tuple[str, ...]


def glance(folder: Path) -> Glance:
    """Look at a run's folder.

    Raises
    ------
    InputError
        It is no run, or one of its files is not what a run writes; the message names it.
    """
    if not folder.is_dir():
        raise InputError(f"run {folder} is not a folder; expected one that `relubench run` wrote")
    held, holder = _holder(folder / RUNNING)  # before the rows: of a cell that ends meanwhile the row is seen
    plan = read_outline(folder)
    rows, torn = _rows(folder / ROWS)
    if not (held or plan or rows):
        expected = "expected a folder that `relubench run` wrote"
        raise InputError(f"{folder} holds no run, neither {RUNNING} nor {PLAN} nor {ROWS}; {expected}")
    if held and not (folder / RUNNING).exists():  # it has ended meanwhile, in good order
        held, holder = False, None
    counts, notes = _count(plan, rows, holder.cells if holder else [])
    state = _state(counts, plan, held=held, holder=holder)
    cells = tuple(counts.running.values())
    if state not in GOING_ON:
        counts.running.clear()  # no time of theirs goes by
    if torn and state not in GOING_ON:  # there, it is being written
        notes.append(f"{ROWS}: {torn} torn by a crash, not counted")
    return Glance(state, _suite(folder, plan), holder, counts, cells, _last(rows), time.time(), tuple(notes))


def _state(counts: Counts, plan: Outline | None, *, held: bool, holder: Holder | None) -> State:
    if holder is not None and holder.host != socket.gethostname():
        return State.ELSEWHERE
    if holder is not None and _is_alive(holder):
        return State.RUNNING
    if plan is not None and all(tally.left == 0 for tally in counts.tallies):
        return State.FINISHED
    if held:
        return State.DIED
    return State.ENDED if plan is None else State.STOPPED


def _is_alive(holder: Holder) -> bool:
    """Whether the process is there, and is not a later one that was given its number."""
    import psutil

    try:
        process = psutil.Process(holder.pid)
        is_it = process.create_time() <= holder.since.timestamp() + CLOCK_S
        return is_it and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OverflowError, ValueError):  # or a number that no process can have
        return False


def _count(plan: Outline | None, rows: list[SeenRow], cells: list[SeenCell]) -> tuple[Counts, list[str]]:
    """The counts, and what there is to say of rows that are not in them."""
    counts = plan.counts() if plan else Counts(None)
    for cell in cells:
        line = Line(cell.kind, cell.method, cell.solver)
        counts.begin(cell.cell, Running(line, cell.what, cell.since.timestamp()))
    there = {cell for line in plan.lines for cell in line.there} if plan else set()
    missing = {cell for line in plan.lines for cell in line.missing} if plan else set()
    others = set()
    for row in rows:
        of_this_start = row.cell in missing and plan is not None and row.started >= plan.start
        if plan is None or of_this_start or (row.cell in there and not failed(row)):
            counts.add(row)
        elif row.cell not in missing and row.cell not in there:
            others.add(row.cell)
    if plan is None:
        why = "the run has just begun, or is of a version that kept none"
        return counts, [f"no {PLAN}: {why}; how many cells there are to be is not known"]
    return counts, plan.note(len(others))


def _suite(folder: Path, plan: Outline | None) -> str | None:
    if plan is not None:
        return plan.suite
    name = (read_manifest(folder).get("suite") or {}).get("name")
    return name if isinstance(name, str) else None


def _last(rows: list[SeenRow]) -> float | None:
    """When the last row came: when its cell was begun, and what it took. None where it does not say."""
    if not rows:
        return None
    try:
        return datetime.fromisoformat(rows[-1].started).timestamp() + (rows[-1].total_s or 0.0)
    except (ValueError, OverflowError):
        return None


def _holder(path: Path) -> tuple[bool, Holder | None]:
    """Whether a run holds the folder or held it at its death, and who; the file may be empty after a power failure."""
    try:
        return True, msgspec.json.decode(read_regular(path), type=Holder)
    except FileNotFoundError:
        return False, None
    except (OSError, ValueError, RecursionError):
        return True, None


def _rows(path: Path) -> tuple[list[SeenRow], str]:
    """The rows that are there whole, and how many lines are torn, in words."""
    if not path.exists():
        return [], ""
    try:
        check_regular(path)
        with path.open("rb") as file:
            seen = [_row(path, number, line) for number, line in enumerate(file, start=1)]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; {EXPECTED}") from error
    rows = [row for row in seen if row is not None]
    torn = len(seen) - len(rows)
    return rows, "" if not torn else "1 line" if torn == 1 else f"{torn} lines"


def _row(path: Path, number: int, line: bytes) -> SeenRow | None:
    """The row of a line; None where it is torn."""
    if not line.endswith(b"\n"):
        return None
    try:
        return ROW.decode(line)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path}, line {number}: {error}; expected a row that `relubench run` wrote") from error
    except (msgspec.DecodeError, RecursionError):
        return None
