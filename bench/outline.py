"""The outline of a run: which cells a start has to measure and which were there, as `plan.json` keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from bench.progress import Counts, Line
from bench.store import PLAN, ROWS
from networks.errors import InputError
from networks.files import read_regular

if TYPE_CHECKING:
    from bench.plan import Plan, Planned
    from bench.row import Row


class OutlineLine(msgspec.Struct, frozen=True):
    """The cells of one method by one solver, by their digests."""

    kind: str
    method: str
    solver: str | None
    there: list[str]
    missing: list[str]


class Outline(msgspec.Struct, frozen=True):
    """What a start of a run has to do.

    Attributes
    ----------
    start : str
        UTC, ISO 8601. Rows that were started before are of an earlier start.
    suite : str
    jobs : int
        How many cells are measured at a time.
    lines : list of OutlineLine
    """

    start: str
    suite: str
    jobs: int
    lines: list[OutlineLine]

    @property
    def cells(self) -> frozenset[str]:
        """The digests of all that is planned: other rows are of the suite as it was before, and count no more."""
        return frozenset(cell for each in self.lines for cell in (*each.there, *each.missing))

    def note(self, others: int) -> list[str]:
        """What the user should know where so many cells of the folder are not planned."""
        told = f"{others:,} cells in {ROWS} are not of suite {self.suite} as it was last run: not counted"
        return [told] if others else []

    def counts(self, finished: Mapping[str, Row] = MappingProxyType({})) -> Counts:
        """The counts of all that is planned, with those rows of `finished` in them that were there."""
        cells = {Line(each.kind, each.method, each.solver): len(each.there) + len(each.missing) for each in self.lines}
        counts = Counts(cells, self.jobs)
        for cell in (cell for each in self.lines for cell in each.there if cell in finished):
            counts.add(finished[cell])
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values for JSON."""
        return dict(msgspec.to_builtins(self))


def read_outline(folder: Path) -> Outline | None:
    """The outline of the last start of a run, by which its rows count; None where none is kept: there, every row does.

    Raises
    ------
    InputError
        The file is not what a run writes.
    """
    path, expected = folder / PLAN, "expected a file that `relubench run` wrote"
    try:
        return msgspec.json.decode(read_regular(path), type=Outline)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; {expected}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not the plan of a run: {error}; {expected}") from error


def outline(plan: Plan, missing: Iterable[Planned], jobs: int, start: str = "") -> Outline:
    """The outline of a start of `plan` that is to measure the cells `missing`."""
    open_cells = {planned.digest for planned in missing}
    lines: dict[Line, tuple[list[str], list[str]]] = {}
    for planned in plan.cells:
        both = lines.setdefault(line_of(planned), ([], []))
        both[planned.digest in open_cells].append(planned.digest)
    return Outline(start, plan.suite.name, jobs, [OutlineLine(*line, *both) for line, both in lines.items()])


def line_of(planned: Planned) -> Line:
    """The line that a cell is counted in."""
    return Line(planned.cell.kind, planned.cell.method, planned.cell.solver)
