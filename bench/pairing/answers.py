"""The two sides' answers as rows, such as runs have."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

from bench.environment import utc_now
from bench.outcome import plain
from bench.pairing.side import Described, Failed, Warmed
from bench.plan import Planned
from bench.row import Row
from networks.errors import PairingError
from solvers.result import Status

FIELDS = {item.name for item in fields(Row)}


def row_of(planned: Planned, name: str, side: Described, answer: Warmed | Failed) -> Row:
    """The row that a run by this side would have.

    Raises
    ------
    PairingError
        The answer makes no row.
    """
    found = {**asdict(planned.blank_row(utc_now())), "versions": {**side.versions, "python": side.python}}
    if isinstance(answer, Failed):
        found |= {"status": ["error"], "error": answer.why}
    else:
        known = {key: value for key, value in answer.outcome.items() if key in FIELDS}
        found |= {**known, "network_digest": answer.network_digest, "solver_version": answer.solver_version}
    try:
        return Row.from_json(json.dumps(plain(found)))
    except ValueError as error:
        raise PairingError(f"{name} answers {planned.cell.describe()} with what makes no row: {error}") from error


def why_not_timed(base: Row, head: Row) -> str:
    """Why the times of two answers say nothing of each other; empty where they do."""
    for name, row in (("base", base), ("head", head)):
        if row.error is not None or Status.ERROR in row.status:
            return f"{name} fails: {row.error or row.evidence or 'error of the solver'}"
    if base.network_digest != head.network_digest:
        return "the two have other weights for the network"
    both = {*base.status} & {*head.status}
    return next((why for status, why in UNTIMED.items() if status in both), "")


UNTIMED = {
    Status.TIME_LIMIT: "both were stopped by the time limit",
    Status.LICENCE: "the licence of the solver is too small",
}
