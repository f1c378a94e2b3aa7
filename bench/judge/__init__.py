"""The judge: what must hold between the rows of one run or of many, and who is wrong where it does not.

It reads rows and the arrays of attacks, and measures nothing. Every check stands in a file of its kind, with its
mathematics; a check says how many values it held against others, so that one which tested nothing is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.columns import Columns, rows_at, table_of
from bench.judge.brackets import bracket, claim, verdict
from bench.judge.conflict import Check, Claim, Conflict, Trust, blame
from bench.judge.facts import Facts
from bench.judge.finding import Finding, Judgement, Side, who
from bench.judge.order import agreement, order
from bench.judge.single import attained, consistent, duals, feasible, gap, solution
from bench.row import Row

__all__ = ["CHECKS", "Finding", "Judgement", "Side", "judge", "judge_columns", "who"]

CHECKS: dict[str, tuple[str, Check]] = {
    "bracket": ("lower bounds against inputs in their ball", bracket),
    "claim": ("solvers' own bounds against these inputs", claim),
    "verdict": ("verified epsilons against witnesses", verdict),
    "consistent": ("verdicts against the row's own numbers", consistent),
    "order": ("bounds against the optima of tighter relaxations", order),
    "agreement": ("optima of different solvers against each other", agreement),
    "gap": ("gaps of what is called optimal", gap),
    "duals": ("LP bounds against what their duals certify", duals),
    "attained": ("MILP optima against the inputs found", attained),
    "solution": ("solutions against the model", solution),
    "feasible": ("statuses of models that have a solution", feasible),
}


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


def judge_columns(columns: Columns, folder_of: Callable[[int], Path]) -> Judgement:
    """As `judge`, of rows as columns."""
    facts = Facts.of(columns, folder_of)
    results = {name: check(facts) for name, (_, check) in CHECKS.items()}
    conflicts = [(name, conflict) for name, result in results.items() for conflict in result.conflicts]
    about = rows_at(columns.table, {claim.row for _, conflict in conflicts for claim in conflict.claims})
    solver_of = {index: row.solver or row.method for index, row in about.items()}
    guilty = blame([conflict for _, conflict in conflicts], solver_of)
    findings = tuple(_finding(name, conflict, about, guilty) for name, conflict in conflicts)
    return Judgement({name: result.tested for name, result in results.items()}, findings, facts.notes)


def _finding(check: str, conflict: Conflict, rows: Mapping[int, Row], guilty: frozenset[int]) -> Finding:
    wrong = _wrong(conflict, guilty)
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


def _wrong(conflict: Conflict, guilty: frozenset[int]) -> list[Claim]:
    """The claims of guilty rows; where one of them is a proof and another is not, the other alone."""
    accused = [claim for claim in conflict.claims if claim.row in guilty and claim.trust is not Trust.INPUT]
    least = min(claim.trust for claim in accused)
    return [claim for claim in accused if claim.trust is least]


def _side(claim: Claim, row: Row, guilty: bool) -> Side:
    return Side(claim.row, row.cell, who(row), row.epsilon, claim.said, claim.value, guilty)
