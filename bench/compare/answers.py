"""The lane of answers: verdicts, bounds, statuses, model sizes and numbers of solver calls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from bench.compare.comparison import FAILED, GONE, WRONG, Excluded, Finding, Lane, Level
from bench.compare.pairs import CLOSED_FORM, Pair, clock_of, words_of
from bench.judge import finding as judge_finding
from bench.judge.facts import AGREEMENT
from bench.row import Row, failed

SIZES = ("rows", "columns", "nonzeros", "binaries", "unstable", "active", "inactive")
CALLS = ("solves", "bound_solves", "settled")  # of the solver, and what they settled
DECIDED = {"verified", "falsified"}
BOUNDS = {
    "lower": ("tighter", "looser"),
    "certified": ("tighter", "looser"),
    "upper": ("looser", "tighter"),
}  # what more, and what less, of each means
COUNTS = ("images", "falsified", "unknown")  # of an attack
ABSENT = "-"

Changes = Iterator[tuple[str, Any, Any, str]]  # what, the two values, and what that means


def compare_answers(
    pairs: Sequence[Pair], only_base: Sequence[Row], only_head: Sequence[Row], wrong: Sequence[Finding] = ()
) -> Lane:
    """What is answered otherwise, or is wrong.

    Parameters
    ----------
    only_base, only_head : sequence of Row
        The cells that only one run has.
    wrong : sequence of Finding
        What the judge has found (`contradiction`).
    """
    findings: list[Finding] = list(wrong)
    excluded: list[Excluded] = []
    cells = values = 0
    for pair in pairs:
        if failed(pair.base) or failed(pair.head):
            findings += _failure(pair)
            excluded += [Excluded(pair.words, "answers", "failed in BASE")] if failed(pair.base) else []
            continue
        compared, found, reasons = _compare(pair)
        findings += found
        excluded += [Excluded(pair.words, what, reason) for what, reason in reasons.items()]
        cells, values = cells + bool(compared), values + compared
    findings += _of_one_run(only_base, only_head) if pairs else []
    return Lane("answers", WRONG, cells, values, tuple(findings), tuple(excluded))


def contradiction(finding: judge_finding.Finding, base_count: int, more: int) -> Finding:
    """What the judge of the rows of BASE, so many, and of HEAD has found, and so many more times."""
    guilty = [side for side in finding.guilty if side.row >= base_count] or list(finding.guilty)
    said = [
        "; ".join(side.told for side in finding.sides if (side.row < base_count) is of_base) or ABSENT
        for of_base in (True, False)
    ]
    others = f" ({more:,} more like it)" if more else ""
    where = f"{finding.where}: {' and '.join(dict.fromkeys(side.who for side in guilty))}"
    return Finding(Level.FAILURE, where, finding.check, said[0], said[1], f"wrong: {finding.message}{others}")


def _failure(pair: Pair) -> list[Finding]:
    if not failed(pair.head):
        return [Finding(Level.NOTICE, pair.words, FAILED, _end(pair.base), _end(pair.head), "fails no more")]
    level = Level.NOTICE if failed(pair.base) else Level.FAILURE
    return [Finding(level, pair.words, FAILED, _end(pair.base), _end(pair.head), pair.head.error or "solver error")]


def _end(row: Row) -> str:
    return "failed" if failed(row) else row.verdict or "measured"


def _of_one_run(only_base: Sequence[Row], only_head: Sequence[Row]) -> Iterator[Finding]:
    for row in only_base:
        yield Finding(Level.FAILURE, words_of(row), "cell", _end(row), ABSENT, GONE)
    for row in only_head:
        level, what = (Level.FAILURE, FAILED) if failed(row) else (Level.NOTICE, "cell")
        yield Finding(level, words_of(row), what, ABSENT, _end(row), row.error or "new: BASE has no such cell")


def _compare(pair: Pair) -> tuple[int, list[Finding], dict[str, str]]:
    """How many values were compared, what changed, and why other values were not compared."""
    base, head = pair.base, pair.head
    if {base.verdict, head.verdict} == DECIDED:
        return 1, [_finding(pair, "verdict", base.verdict, head.verdict, "one of them is wrong")], {}
    if pair.clock:
        return 0, _newly_stopped(pair), {"answers": f"stopped by the {pair.clock}"}
    compared: list[tuple[str, Any, Any, str]] = []
    reasons = _one_sided(base, head)
    for what, certain, values in _parts(pair):
        if certain or not pair.unequal:
            compared += values
        elif values:
            reasons[what] = pair.unequal
    return len(compared), [_finding(pair, *change) for change in compared if change[-1]], reasons


def _finding(pair: Pair, what: str, old: Any, new: Any, meaning: str, level: Level = Level.FAILURE) -> Finding:
    return Finding(level, pair.words, what, str(old), str(new), meaning)


def _newly_stopped(pair: Pair) -> list[Finding]:
    """A warning where BASE came to its end and HEAD was stopped: nothing to gate on, and no good sign."""
    if clock_of(pair.base):
        return []
    words = f"stopped by the {pair.clock}, which BASE was not"
    return [_finding(pair, "verdict", pair.base.verdict, pair.head.verdict, words, Level.WARNING)]


def _one_sided(base: Row, head: Row) -> dict[str, str]:
    """Why what rows of one schema alone have is not compared."""
    reasons: dict[str, str] = {}
    for run, row, other in (("BASE", base, head), ("HEAD", head, base)):
        alone = [name for name in (*SIZES, *CALLS) if name in row.counters and name not in other.counters]
        alone += ["certified bound"] if row.certified and not other.certified else []
        reasons |= dict.fromkeys(alone, f"only {run} has it")
    return reasons


def _parts(pair: Pair) -> Iterator[tuple[str, bool, list[tuple[str, Any, Any, str]]]]:
    """What there is to compare, whether it must agree even where the runs' steps may differ, and its values."""
    base, head = pair.base, pair.head
    if base.kind == "attack":
        yield "counts", False, list(_equal((name, getattr(base, name), getattr(head, name)) for name in COUNTS))
        return
    limited = "other_limit" in {*base.status, *head.status}
    yield "verdict", not limited, list(_verdict(base, head))
    yield "statuses", pair.determined, list(_statuses(base, head))
    yield "lower bounds", pair.determined, list(_bounds(pair, "lower"))
    if base.certified != base.lower or head.certified != head.lower:  # else it is told already
        yield "certified bounds", pair.determined, list(_bounds(pair, "certified"))
    by_path = base.method not in CLOSED_FORM and base.method != "milp"  # whichever optimal vertex an LP ends at
    yield "upper bounds", pair.determined and not by_path, list(_bounds(pair, "upper"))
    proved = "falsified" not in (base.verdict, head.verdict)  # a witness found on another path may be a lesser one
    yield "tier", pair.determined and proved, list(_equal([("tier", base.tier, head.tier)]))
    yield "model sizes", pair.determined, list(_counters(base, head, SIZES))
    yield "solver calls", pair.determined, list(_counters(base, head, CALLS))


def _equal(values: Any) -> Changes:
    for what, old, new in values:
        yield what, old, new, "" if old == new else "changed"


def _verdict(base: Row, head: Row) -> Changes:
    old, new = base.verdict, head.verdict
    meanings = {True: "decided no more", False: "decided now"}
    yield "verdict", old, new, "" if old == new else meanings[old in DECIDED]


def _statuses(base: Row, head: Row) -> Changes:
    if base.targets != head.targets:
        yield "targets", base.targets, head.targets, "other targets were asked"
        return
    changed = [index for index, (old, new) in enumerate(zip(base.status, head.status, strict=False)) if old != new] or (
        [0] if len(base.status) != len(head.status) else []
    )
    first = changed[0] if changed else 0
    old, new = ("".join(row.status[first : first + 1]) for row in (base, head))
    yield "status", old, new, f"changed at target {base.targets[first]}{_others(changed)}" if changed else ""


def _bounds(pair: Pair, name: str) -> Changes:
    """One entry for all targets: the first that differs, with how many more there are."""
    base, head = pair.base, pair.head
    olds, news = getattr(base, name), getattr(head, name)
    if base.targets != head.targets or not len(olds) == len(news) == len(base.targets):
        return
    changed = [
        index
        for index, (old, new) in enumerate(zip(olds, news, strict=True))
        if not _agree(old, new, *_slack(pair, index))
    ]
    if not changed:
        yield f"{name} bound", "", "", ""
        return
    old, new = olds[changed[0]], news[changed[0]]
    meaning = BOUNDS[name][0 if _above(name, new, old) else 1]
    yield f"{name} bound", _shown(old), _shown(new), f"{meaning} at target {base.targets[changed[0]]}{_others(changed)}"


def _agree(old: float | None, new: float | None, safety: float, gap: float) -> bool:
    if old is None or new is None:
        return old is new
    return abs(old - new) <= safety + (AGREEMENT + gap) * max(1.0, abs(old), abs(new))


def _slack(pair: Pair, index: int) -> tuple[float, float]:
    """What may lie between each solver's word and the optimum: as the rows say, and the gap that was asked."""
    safeties = [row.safety[index] or 0.0 for row in (pair.base, pair.head) if index < len(row.safety)]
    gap = pair.base.mip_gap or 0.0 if pair.base.method == "milp" and pair.unequal else 0.0
    return sum(safeties), gap


def _above(name: str, new: float | None, old: float | None) -> bool:
    """Whether a bound has risen; a lower bound that is missing is infinitely low, an upper one infinitely high."""
    missing = math.inf if name == "upper" else -math.inf
    return (missing if new is None else new) > (missing if old is None else old)


def _shown(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.9g}"


def _others(changed: Sequence[int]) -> str:
    return f" and {len(changed) - 1} more" if len(changed) > 1 else ""


def _counters(base: Row, head: Row, names: Sequence[str]) -> Changes:
    """Counters that both have."""
    for name in names:
        if name in base.counters and name in head.counters:
            old, new = base.counters[name], head.counters[name]
            yield name, old, new, "" if old == new else "changed"
