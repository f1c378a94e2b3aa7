"""Competitors on the same instances: what each solved and in which time, as tables and figures compare it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.report.frame import CONTRADICTED, DECIDED
from bench.report.labels import differs, joined, method_rank
from bench.row import SETUP
from bench.statistics import Interval, penalised, ratio_interval

MODELS = {"lp": "the LP", "milp": "the MILP", "staged": "staged verification"}
PARTS = ["bounds_s", "build_s", "solve_s", "total_s"]
NAME = "competitor"
QUESTION = "question"
ASKED = [name for name in SETUP if name != "solver_version"]  # what makes two solvers' times on an instance comparable
TOLD = [
    "instance",
    "method",
    "epsilon",
    "outcome",
    "status",
    "solved",
    "solver",
    "solver_version",
    "bound_gap",
    "called",
]
COMPARED = [*TOLD, *ASKED, *PARTS]
SOLVED, FAILED = "solved", "failed"


@dataclass(frozen=True, eq=False)
class Contest:
    """Competitors, each with its instances. Solvers compete only where one of them was called.

    Attributes
    ----------
    title : str
        What is compared, e.g. `Solvers on the MILP`.
    what : str
        The same within a sentence, e.g. `the MILP`.
    kind : str
        What the competitors are: `solver`, or `method` with its settings.
    lines : DataFrame
        One line a question and competitor: `question`, `instance`, `competitor`, `method`, `epsilon`, `ended` (how, in
        words), `done` (whether that is an end that lacks nothing), PARTS (seconds; medians over repeats and seeds),
        `limit_s` (NaN without a time limit), `bound_gap`, `row`, the first of its rows, `by_solver` (whether it was
        given a solver) and `called` (whether it called it).
    ends : tuple of str
        The words for ends that lack nothing.
    settings : int
        With how many settings the instances were asked: a question is an instance with one of them.
    spared : int
        Questions that are left out, as none of the solvers was called.
    """

    title: str
    what: str
    kind: str
    lines: pd.DataFrame
    ends: tuple[str, ...]
    settings: int = 1
    spared: int = 0
    _ratios: dict[tuple[str, str], Interval] = field(default_factory=dict, repr=False)  # each takes a bootstrap

    @cached_property
    def competitors(self) -> list[str]:
        """The field by how many it solved, then by geometric mean with penalties; behind it the others."""
        order = pd.DataFrame(
            {"outside": ~self.asked.columns.isin(self.seconds.columns)}, index=self.asked.columns
        ).assign(open=-self.seconds.notna().sum(), mean=self.full.apply(np.log).mean())
        return [str(name) for name in order.sort_values(["outside", "open", "mean"], kind="stable").index]

    @cached_property
    def times(self) -> pd.DataFrame:
        """Total seconds by question and competitor; NaN where it was not solved or not asked."""
        return self._spread(self.lines["total_s"].where(self.lines["done"]))

    @cached_property
    def asked(self) -> pd.DataFrame:
        """By question and competitor, whether it was asked."""
        return self._spread(self.lines["done"].astype(float)).notna()

    @cached_property
    def counted(self) -> pd.DataFrame:
        """`times` with a penalty for what was not solved; NaN where there is no time limit for one, or not asked.

        A competitor without a time limit of its own is given the longest one of the others on that question.
        """
        limits = self._spread(self.lines["limit_s"])
        longest = np.broadcast_to(limits.max(axis=1).to_numpy()[:, None], limits.shape)
        seconds = penalised(self.times, np.where(limits.isna(), longest, limits))
        return pd.DataFrame(seconds, limits.index, limits.columns).where(self.asked)

    @cached_property
    def seconds(self) -> pd.DataFrame:
        """`times` of the field: the competitors, and the questions asked of all of these, whose tables are largest."""
        names = _largest(self.asked.to_numpy())
        field = self.asked.iloc[:, names]
        return self.times.loc[field.all(axis=1), field.columns]

    @cached_property
    def full(self) -> pd.DataFrame:
        """`counted` of the field, without the questions that lack a penalty for somebody."""
        return self.counted.loc[self.seconds.index, self.seconds.columns].dropna()

    @cached_property
    def common(self) -> pd.DataFrame:
        """`seconds` of the competitors that solved anything, on the questions that all of these solved."""
        return self.seconds.dropna(axis=1, how="all").dropna()

    @cached_property
    def instance_of(self) -> pd.Series[int]:
        """The instance of every question."""
        return self.lines.groupby(QUESTION)["instance"].first()

    def shared(self, first: str, other: str) -> pd.Series[bool]:
        """By question, whether two compare on it: both were asked, and two setups of one method called a solver.

        Where neither did, they did the same, whichever solver they were given.
        """
        both: pd.Series[bool] = self.asked[first] & self.asked[other]
        one, two = (self.lines[self.lines[NAME].eq(name)] for name in (first, other))
        alike = one["by_solver"].any() and {*one["method"]} == {*two["method"]}
        called = {*one.loc[one["called"], QUESTION], *two.loc[two["called"], QUESTION]}
        return both & both.index.isin([*called]) if alike else both

    def ratio(self, slower: str, faster: str) -> Interval:
        """How many times as long one takes as another, on the questions that both solved (see `shared`).

        The geometric mean over the instances, each with the geometric mean over the settings with which it was asked.
        """
        if (slower, faster) not in self._ratios:
            logs = self.times.loc[self.shared(slower, faster), [slower, faster]].dropna().transform(np.log)
            means = np.exp(logs.groupby(self.instance_of.reindex(logs.index).to_numpy()).mean())
            self._ratios[slower, faster] = ratio_interval(means[slower], means[faster])
        return self._ratios[slower, faster]

    def parts_of(self, questions: pd.Index) -> pd.DataFrame:
        """The lines of these questions, of those that solved them."""
        return self.lines[self.lines["done"] & self.lines[QUESTION].isin(questions)]

    def _spread(self, values: pd.Series) -> pd.DataFrame:
        """One line a question, one column a competitor."""
        wide = self.lines.assign(value=values).pivot(index=QUESTION, columns=NAME, values="value")
        return wide.set_axis(wide.columns.astype(str), axis="columns")


def _largest(asked: NDArray[np.bool_]) -> list[int]:
    """The columns whose table, of the lines that are true in all of them, is the largest; found greedily.

    Starts with the longest column, and goes on with the one that leaves the most lines.
    """
    kept = np.ones(len(asked), dtype=bool)
    chosen: list[int] = []
    best: tuple[int, list[int]] = (0, [])
    while len(chosen) < asked.shape[1]:
        lines = asked[kept].sum(axis=0)
        lines[chosen] = -1
        chosen = [*chosen, int(lines.argmax())]
        kept &= asked[:, chosen[-1]]
        best = max(best, (int(kept.sum()) * len(chosen), chosen), key=lambda found: (found[0], len(found[1])))
    return sorted(best[1])


def solver_contests(labelled: pd.DataFrame) -> dict[str, Contest]:
    """Solvers against each other at equal settings, for every method that more than one solver answered.

    A contest has no lines where no solver was called.

    Parameters
    ----------
    labelled : DataFrame
        Rows with their setups, of one network.
    """
    solved = labelled.loc[labelled["solver"].notna(), COMPARED]  # all columns of a million rows would not fit
    solvers = solved.groupby("method", observed=True)["solver"].nunique()
    methods = sorted(solvers.index[solvers > 1], key=method_rank)
    return {method: _solver_contest(method, solved[solved["method"] == method]) for method in methods}


def _solver_contest(method: str, rows: pd.DataFrame) -> Contest:
    what = MODELS.get(method, method)
    versions = rows.groupby("solver", observed=True)["solver_version"].nunique().gt(1).any()
    names = joined(rows, {"solver": "{}"} | ({"solver_version": " {}"} if versions else {}))
    ended = rows["status"].where(~rows["solved"], SOLVED).str.replace("_", " ")
    differ = [name for name in ASKED if differs(rows, name)]
    questions = rows.groupby(["instance", *differ], dropna=False, observed=True).ngroup()
    settings = len(rows[differ].drop_duplicates()) if differ else 1
    called = rows["called"].groupby(questions).transform("any")
    spared = questions[~called].nunique()
    lines = _lines(rows[called], questions[called], names[called], ended[called], (SOLVED,))
    return Contest(f"Solvers on {what}", what, "solver", lines, (SOLVED,), settings, spared)


def setup_contest(labelled: pd.DataFrame) -> Contest:
    """All setups of one network against each other: who decides, verified or falsified.

    Parameters
    ----------
    labelled : DataFrame
        As for `solver_contests`.
    """
    decided, broken = labelled["outcome"].isin(DECIDED), labelled["outcome"].eq(FAILED)
    undecided = labelled["reason"].fillna("unknown").mask(broken, FAILED)
    ends = tuple(reversed(DECIDED))
    lines = _lines(
        labelled, labelled["instance"], labelled["setup"], undecided.mask(decided, labelled["outcome"]), ends
    )
    return Contest("Setups against each other", "all setups", "method", lines, ends)


def _lines(
    rows: pd.DataFrame, questions: pd.Series, names: pd.Series, ended: pd.Series, ends: tuple[str, ...]
) -> pd.DataFrame:
    """One line a question and competitor: medians over repeats and seeds, and of the ends one that lacks something."""
    told = ended.mask(rows["outcome"].eq(CONTRADICTED), CONTRADICTED)
    words = sorted({*told.unique()} - {*ends}) + list(ends)
    ranked = pd.DataFrame(
        {
            QUESTION: questions,
            "instance": rows["instance"],
            "method": rows["method"],
            "epsilon": rows["epsilon"],
            NAME: pd.Categorical(names),
            "rank": pd.Categorical(told, words).codes,
            "row": rows.index,
            "limit_s": rows["time_limit_s"].fillna(rows["hard_limit_s"]).astype(float),
            "by_solver": rows["solver"].notna(),
            "called": rows["called"],
            "bound_gap": rows["bound_gap"],
            **{part: rows[part] for part in PARTS},
        }
    )
    seconds = {part: (part, "median") for part in [*PARTS, "bound_gap"]}
    grouped = ranked.groupby([QUESTION, NAME], observed=True, sort=False)
    firsts = {name: (name, "first") for name in ("instance", "method", "epsilon", "row")}
    any_ = {name: (name, "any") for name in ("by_solver", "called")}
    lines = grouped.agg(rank=("rank", "min"), limit_s=("limit_s", "max"), **any_, **firsts, **seconds).reset_index()
    kinds = pd.Categorical.from_codes(lines["rank"].astype(int).to_numpy(), pd.Index(words))
    return lines.assign(ended=kinds, done=lines["rank"] >= len(words) - len(ends))
