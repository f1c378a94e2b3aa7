"""Whether the two sides answer a cell alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.judge.facts import AGREEMENT
from bench.pairing.side import Warmed
from bench.plan import Planned


def stopped_by_clock(warmed: Warmed) -> bool:
    """Whether a time limit ended some of it: such a call takes as long as it may."""
    return "time_limit" in (warmed.outcome.get("status") or ())


def differences(planned: Planned, base: Warmed, head: Warmed) -> Iterator[str]:
    """What two answers to one cell differ in; where a clock stopped one, only a contradiction counts."""
    if base.network_digest != head.network_digest:
        yield f"the network: base has {base.network_digest[:12]}, head {head.network_digest[:12]}"
        return
    clock = stopped_by_clock(base) or stopped_by_clock(head)
    for name in ("verdict", "falsified"):
        one, other = base.outcome.get(name), head.outcome.get(name)
        if one != other and not (clock and "unknown" in (one, other)):
            yield f"{name}: base {one}, head {other}"
    if not clock:
        yield from _bounds(base.outcome, head.outcome)


def _bounds(base: dict[str, Any], head: dict[str, Any]) -> Iterator[str]:
    if base.get("targets") != head.get("targets"):
        yield f"targets: base {base.get('targets')}, head {head.get('targets')}"
        return
    for target, one, other in zip(base.get("targets") or (), base["lower"], head["lower"], strict=False):
        if (one is None) != (other is None) or (
            one is not None and abs(one - other) > AGREEMENT * max(1.0, abs(one), abs(other))
        ):
            yield f"the lower bound of target {target}: base {one}, head {other}"
