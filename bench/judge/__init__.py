"""The judge: what must hold between the rows of one run or of many, and who is wrong where it does not.

It reads rows and the arrays of attacks, and measures nothing. Every check stands in a file of its kind, with its
mathematics; a check says how many values it held against others, so that one which tested nothing is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.columns import Columns, rows_at, table_of
from bench.judge.brackets import bracket, claim, verdict
from bench.judge.conflict import Check, Claim, Conflict, Result, Trust, blame
from bench.judge.evidence import classes, consistent, tier
from bench.judge.facts import Facts
from bench.judge.finding import Finding, Judgement, Replay, Replayed, Side, who
from bench.judge.order import agreement, order
from bench.judge.single import attained, duals, feasible, gap, solution
from bench.row import Row

__all__ = ["CHECKS", "Finding", "Judgement", "Replay", "Replayed", "Side", "judge", "judge_columns", "who"]

CHECKS: dict[str, tuple[str, Check]] = {
    "bracket": ("lower bounds against inputs in their ball", bracket),
    "claim": ("solvers' own bounds against these inputs", claim),
    "verdict": ("verified epsilons against witnesses", verdict),
    "consistent": ("verdicts against the row's own numbers", consistent),
    "tier": ("tiers, safeties, proofs against their evidence", tier),
    "classes": ("verified rows against all classes", classes),
    "order": ("bounds against the optima of tighter relaxations", order),
    "agreement": ("optima of different solvers against each other", agreement),
    "gap": ("gaps of what is called optimal", gap),
    "duals": ("LP bounds against what their duals certify", duals),
    "attained": ("MILP optima against the inputs found", attained),
    "solution": ("solutions against the model", solution),
    "feasible": ("statuses of models that have a solution", feasible),
}


OF_INPUTS = ("bracket", "claim", "verdict")  # what they find changes with the inputs that are believed


def judge(rows: Sequence[Row], folders: Sequence[Path]) -> Judgement:
    """Hold rows against each other.

    Parameters
    ----------
    rows : sequence of Row
        Of any number of runs, each cell once a run.
    folders : sequence of Path, as long
        The run's folder of each row, where its arrays are.
    """
    return judge_columns(Columns.of(table_of(rows)), lambda row: folders[row])


def judge_columns(columns: Columns, folder_of: Callable[[int], Path], replay: Replay | None = None) -> Judgement:
    """As `judge`, of rows as columns.

    Parameters
    ----------
    replay : callable, optional
        Runs inputs of rows forward again: all witnesses before anything else, then whatever contradicts something.
    """
    facts = Facts.of(columns, folder_of)
    fixed = {name: check(facts) for name, (_, check) in CHECKS.items() if name not in OF_INPUTS}
    wanted = {*facts.rows.index[facts.rows["verdict"] == "falsified"]} if replay else set()
    replayed, asked = Replayed(), set[int]()
    rejected: list[tuple[str, Conflict]] = []  # what false inputs contradicted
    false = frozenset[int]()
    voices = dict(enumerate(facts.rows["voice"]))
    while True:
        if replay and wanted - asked:
            more = replay(sorted(wanted - asked))
            replayed, asked = replayed + more, asked | wanted
            facts = facts.replayed(more.confirmed, more.judgement.guilty)
        results = fixed | {name: CHECKS[name][1](facts) for name in OF_INPUTS}
        conflicts = [(name, conflict) for name in CHECKS for conflict in results[name].conflicts]
        wanted = {claim.row for _, conflict in conflicts for claim in conflict.claims if claim.trust is Trust.SEEN}
        if replay and wanted - asked:
            continue
        verdict = blame([conflict for _, conflict in conflicts], voices, facts.alone)
        if not verdict.false_inputs:
            break
        rejected += [(name, conflict) for name, conflict in conflicts if verdict.rejects(conflict)]
        facts, false = facts.without(verdict.false_inputs), false | verdict.false_inputs
    return _judgement(columns, facts, results, [*conflicts, *rejected], verdict.guilty | false) + replayed.judgement


def _judgement(
    columns: Columns,
    facts: Facts,
    results: Mapping[str, Result],
    conflicts: Sequence[tuple[str, Conflict]],
    guilty: frozenset[int],
) -> Judgement:
    about = rows_at(columns.table, {claim.row for _, conflict in conflicts for claim in conflict.claims})
    findings = tuple(_finding(name, conflict, about, guilty) for name, conflict in conflicts)
    return Judgement({name: results[name].tested for name in CHECKS}, findings, facts.notes)


def _finding(check: str, conflict: Conflict, rows: Mapping[int, Row], guilty: frozenset[int]) -> Finding:
    wrong = conflict.wrong(guilty)
    about = rows[wrong[0].row]
    return Finding(
        check=check,
        network=about.network,
        image=about.image,
        epsilon=about.epsilon,
        target=conflict.target,
        sides=tuple(_side(claim, rows[claim.row], claim in wrong) for claim in conflict.claims),
        tolerance=conflict.tolerance,
        message=conflict.message,
    )


def _side(claim: Claim, row: Row, guilty: bool) -> Side:
    return Side(claim.row, row.cell, who(row), row.epsilon, claim.said, claim.value, guilty)
