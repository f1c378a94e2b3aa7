"""Two runs through all lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.compare.answers import compare_answers, contradiction
from bench.compare.comparison import Comparison, Finding
from bench.compare.pairs import Machine, Pair, inequality, joined, setup_of
from bench.compare.times import compare_times
from bench.compare.work import THRESHOLD, compare_work
from bench.judge import finding as judge_finding
from bench.judge import judge
from bench.outline import read_outline
from bench.row import Row
from bench.store import read_manifest, read_rows
from networks.errors import InputError

SIDES = ("BASE", "HEAD")
BY_INPUTS = ("bracket", "claim", "verdict")  # the judge's checks against inputs, which no version of a program changes


@dataclass(frozen=True, slots=True, eq=False)
class RunFiles:
    """What a run's folder holds; no rows where nothing was measured."""

    folder: Path
    rows: list[Row]
    manifest: dict[str, Any]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> RunFiles:
        """Read a run.

        Raises
        ------
        InputError
            No such folder, no file of rows in it, or a line that is no row.
        """
        if not folder.is_dir():
            raise InputError(f"run {folder} is not a folder; expected one that `relubench run` wrote")
        rows, notes = read_rows(folder)
        last = {(row.cell, row.seed, row.repeat): row for row in rows}.values()
        plan = read_outline(folder)
        planned = None if plan is None else plan.cells
        counting = [row for row in last if planned is None or row.cell in planned]
        notes += [] if plan is None else plan.note(len(last) - len(counting))
        return cls(folder, counting, read_manifest(folder), tuple(notes))

    @property
    def suite(self) -> str:
        """The suite's name; empty where no manifest says it."""
        return str((self.manifest.get("suite") or {}).get("name") or "")


def compare_runs(base: RunFiles, head: RunFiles, *, work_threshold: float = THRESHOLD) -> Comparison:
    """Two runs, lane by lane, and each of them judged.

    Parameters
    ----------
    work_threshold : float
        See `bench.compare.work`.
    """
    unequal = inequality(Machine.of(base.manifest), Machine.of(head.manifest))
    compared = compare_rows(base.rows, head.rows, unequal, wrong=_wrong(base, head), work_threshold=work_threshold)
    said = [f"{side}: {note}" for side, run in zip(SIDES, (base, head), strict=True) for note in run.notes]
    notes = (*said, *_about(base, head), *compared.notes)
    return Comparison(str(base.folder), str(head.folder), compared.lanes, notes)


def compare_rows(
    base: Sequence[Row],
    head: Sequence[Row],
    unequal: Callable[[Row, Row], str],
    *,
    wrong: Sequence[Finding] = (),
    work_threshold: float = THRESHOLD,
) -> Comparison:
    """The rows of two runs, lane by lane; of each cell the last row alone.

    Parameters
    ----------
    unequal : callable
        Says why two rows of one cell need not repeat each other's steps, empty where they must
        (`bench.compare.pairs.inequality`).
    wrong : sequence of Finding
        What the judge has found.
    """
    pairs, only_base, only_head = joined(base, head, unequal)
    answers = compare_answers(pairs, only_base, only_head, wrong)
    lanes = (answers, compare_work(pairs, work_threshold), compare_times(pairs))
    return Comparison(*SIDES, lanes, tuple(_about_pairs(pairs, only_base, only_head)))


def _wrong(base: RunFiles, head: RunFiles) -> list[Finding]:
    """What contradicts an input, or its own run, the first of each kind with the number of those like it.

    Both are judged together, as what one found may refute the other.
    """
    count, rows = len(base.rows), [*base.rows, *head.rows]
    if not rows:
        return []
    places = [base.folder] * count + [head.folder] * len(head.rows)
    found = judge(rows, places).findings
    alike: dict[Any, list[judge_finding.Finding]] = {}
    for item in found:
        if _counts(item, count):
            alike.setdefault((item.check, frozenset(setup_of(rows[side.row]) for side in item.guilty)), []).append(item)
    return [contradiction(first, count, len(rest)) for first, *rest in alike.values()]


def _counts(finding: judge_finding.Finding, base_count: int) -> bool:
    """Whether it holds against a run: what rows of both contradict may else be the change that is being judged."""
    return finding.check in BY_INPUTS or len({side.row < base_count for side in finding.sides}) == 1


def _about(base: RunFiles, head: RunFiles) -> list[str]:
    """What sets the runs apart as a whole."""
    notes = [
        f"{side} has no rows: nothing was measured"
        for side, run in zip(SIDES, (base, head), strict=True)
        if not run.rows
    ]
    if base.suite and head.suite and base.suite != head.suite:
        notes.append(f"the runs are of two suites, {base.suite} and {head.suite}")
    return notes


def _about_pairs(pairs: Sequence[Pair], only_base: Sequence[Row], only_head: Sequence[Row]) -> list[str]:
    notes = [] if pairs or not (only_base and only_head) else ["the runs have no cell in common"]
    retrained = {row.network for row in only_base} & {row.network for row in only_head} - {
        pair.head.network for pair in pairs
    }
    weights = {row.network: row.network_digest for row in only_base}
    notes += [
        f"network {name} has other weights in HEAD"
        for name in sorted(retrained)
        if any(row.network == name and row.network_digest != weights[name] for row in only_head)
    ]
    return notes + [
        f"not held to exact counts: {reason}" for reason in dict.fromkeys(p.unequal for p in pairs) if reason
    ]
