"""The outline of a run: which cells a start has to measure and which were there, as `plan.json` keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from bench.progress import Counts, Line

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
