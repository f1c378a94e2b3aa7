"""`pair.json`: what a pairing was asked, on what it ran, every measurement, and what came of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from bench.environment import cpu_model, utc_now
from bench.outcome import plain
from bench.pairing.ratios import PARTS
from bench.pairing.result import Pairing, Timed
from bench.plan import Plan
from bench.statistics import Interval
from bench.store import writing

FILE, SCHEMA = "pair.json", 1


def save(pairing: Pairing, plan: Plan, folder: Path) -> None:
    """Write `pair.json` into the folder.

    Raises
    ------
    InputError
        It cannot be written.
    """
    path = folder / FILE
    with writing(path):
        path.write_text(json.dumps(plain(to_dict(pairing, plan)), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def to_dict(pairing: Pairing, plan: Plan) -> dict[str, Any]:
    """The whole record; seconds are those of one call."""
    return {
        "schema": SCHEMA,
        "written": utc_now(),
        "suite": plan.suite.name,
        "rules": msgspec.to_builtins(pairing.rules),
        "sides": {name: msgspec.to_builtins(side) for name, side in pairing.sides.items()},
        "same_source": pairing.same_source,
        "cpu": cpu_model(),
        "load": pairing.load,
        "decision": pairing.decision,
        "rounds": pairing.rounds,
        "ratios": {part: _ratio(*pairing.interval(part)) for part in PARTS},
        "answers": [{"base": asdict(base), "head": asdict(head)} for base, head in pairing.answers],
        "left_out": [{"cell": planned.digest, "why": why} for planned, why in pairing.left_out],
        "notes": list(pairing.notes),
        "cells": [_cell(timed) for timed in pairing.timed],
    }


def _ratio(found: Interval, count: int) -> dict[str, float]:
    return {"ratio": found.estimate, "low": found.low, "high": found.high, "cells": count}


def _cell(timed: Timed) -> dict[str, Any]:
    return {
        "cell": timed.planned.digest,
        "calls": timed.calls,
        "log_ratio": {part: timed.log_ratio(part) for part in PARTS},
        "pairs": [msgspec.to_builtins(found) for found in timed.pairs],
    }
