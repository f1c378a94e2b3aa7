"""The pairing of a plan: both sides warm, then round after round until the answer is clear."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

from bench.limits import Limits
from bench.pairing.answers import row_of, why_not_timed
from bench.pairing.cores import quietest_cores
from bench.pairing.questions import request_of
from bench.pairing.ratios import Decision, Pair
from bench.pairing.result import Pairing, Rules, Timed
from bench.pairing.side import Described, Failed, Side, Timing, Warmed
from bench.plan import Plan, Planned
from networks.errors import PairingError

ORDERS = ("ABBA", "BAAB")  # A is base: a round, and its mirror image
MEASURED_S = 0.02  # the least of one measurement: shorter calls are repeated within it
MOST_CALLS = 10_000
START_S = 120.0  # until a process has imported what it needs
FIRST_CALL_S = 600.0  # of a cell without any limit
SLOWEST = 20  # times what a call took once it was warm: beyond that it hangs


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Session:
    """Two sides and what they are asked.

    Attributes
    ----------
    plan : Plan
    base, head : Side
    rules : Rules
    limits : Limits
        Of the first call of each cell.
    on_step : function of (str, int)
        Told of each cell that is done, and how many there will be.
    """

    plan: Plan
    base: Side
    head: Side
    rules: Rules
    limits: Limits
    on_step: Callable[[str, int], None] = _ignore

    def run(self) -> Pairing:
        """Warm up both sides, compare their answers, and time them in turns.

        Raises
        ------
        PairingError
            A side ends, hangs, or answers what is no answer.
        """
        pairing = Pairing(self.rules, self._described())
        pairing.load += _load()
        cells = [planned for planned in self.plan.cells if planned.cell.repeat == 0]  # the pairs are the repeats here
        for planned in cells:
            self._warm(pairing, planned)
            self.on_step(planned.cell.describe(), len(cells) * (1 + self.rules.rounds))
        while self._goes_on(pairing):
            pairing.rounds += 1
            total = len(cells) + len(pairing.timed) * max(self.rules.rounds, pairing.rounds)
            for index, timed in enumerate(pairing.timed):
                self._round(timed, pairing.rounds, ORDERS[(pairing.rounds + index + 1) % 2])
                self.on_step(timed.planned.cell.describe(), total)
            pairing.load += _load()
        return pairing

    def _described(self) -> dict[str, Described]:
        """What both sides are; they import their packages at the same time."""
        sides, cores = (self.base, self.head), quietest_cores(self.plan.threads)
        for side in sides:
            side.send(do="describe", cores=cores)
        return {side.name: _importable(side) for side in sides}

    def _goes_on(self, pairing: Pairing) -> bool:
        if not pairing.timed:
            return False
        if pairing.rounds < self.rules.rounds:
            return True
        return pairing.rounds < self.rules.max_rounds and pairing.decision is Decision.UNDECIDED

    def _warm(self, pairing: Pairing, planned: Planned) -> None:
        """Have both sides make the call, and sort the cell by what they answer."""
        request = request_of(planned, self.plan.data_dir)
        limit_s = self.limits.seconds(planned.cell.time_limit_s) or FIRST_CALL_S
        base, head = (side.ask(Warmed, START_S + 2 * limit_s, do="warm", **request) for side in (self.base, self.head))
        rows = (
            row_of(planned, "base", pairing.sides["base"], base),
            row_of(planned, "head", pairing.sides["head"], head),
        )
        pairing.answers.append(rows)
        if why := why_not_timed(*rows):
            pairing.left_out.append((planned, why))
            return
        assert isinstance(base, Warmed)
        assert isinstance(head, Warmed)
        _note_left_out(pairing, base, head)
        calls = min(MOST_CALLS, math.ceil(MEASURED_S / min(base.seconds, head.seconds)))
        within_s = START_S + SLOWEST * calls * max(base.seconds, head.seconds)
        pairing.timed.append(Timed(planned, calls, within_s))

    def _round(self, timed: Timed, number: int, order: str) -> None:
        timings = [self._measure(timed, {"A": self.base, "B": self.head}[letter]) for letter in order]
        for place in range(0, len(order), 2):
            head_first = order[place] == "B"
            first, second = timings[place : place + 2]
            base, head = (second, first) if head_first else (first, second)
            timed.pairs.append(Pair(number, head_first, base, head))

    def _measure(self, timed: Timed, side: Side) -> Timing:
        found = side.ask(Timing, timed.within_s, do="measure", cell=timed.planned.digest, calls=timed.calls)
        if isinstance(found, Failed):
            what = timed.planned.cell.describe()
            raise PairingError(f"{side.name} answered {what} when it was warmed up, and fails now: {found.why}")
        return found


def _importable(side: Side) -> Described:
    found = side.answer(Described, START_S)
    if isinstance(found, Failed):
        raise PairingError(f"{side.name} ({side.python}) has no relubench that can be imported: {found.why}")
    return found


def _load() -> list[float]:
    return [round(os.getloadavg()[0], 2)] if hasattr(os, "getloadavg") else []


def _note_left_out(pairing: Pairing, base: Warmed, head: Warmed) -> None:
    for name, found in (("base", base), ("head", head)):
        for setting in found.left_out:
            pairing.notes[f"{name} does not know the setting {setting}: left out where it has its usual value"] = None
