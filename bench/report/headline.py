"""The answer on one screen: what each method decides at which radius and cost, who is fastest, what is contradicted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bench.report.contest import NAME, QUESTION, Contest
from bench.report.frame import CONTRADICTED, Run
from bench.report.labels import method_rank
from bench.report.networks import Network, networks_of
from bench.report.render import Format, Section, Table, count, counted, plain_number, ratio, seconds

HEADING = "The answer"
SHOWN_EPSILONS = 5  # of a network; more do not fit beside each other in a terminal of 80 columns
SHOWN_FINDINGS = 3
NO_BREAK = "\N{NO-BREAK SPACE}"


def headline_section(run: Run) -> Section:
    """Who decides what, who is fastest, and what does not hold; the rest of a report is the detail of this."""
    networks = networks_of(run)
    tables = (_decided(networks), _fastest(networks))
    return Section(HEADING, tuple(table for table in tables if len(table.frame)), tuple(_believed(run)))


def _believed(run: Run) -> Iterator[str]:
    """What is contradicted, with the first examples; and what failed."""
    findings, tested = run.judgement.findings, sum(run.judgement.tested.values())
    if not findings:
        yield f"Nothing is contradicted in {counted(tested, 'test')} of {counted(len(run.rows), 'row')}."
    else:
        yield f"{len(findings):,} contradictions, of {len(run.judgement.guilty):,} rows that count as {CONTRADICTED}:"
        yield from (f"{finding}." for finding in run.judgement.firsts[:SHOWN_FINDINGS])
    failed = int(run.rows["failed"].sum())
    if failed:
        yield f"{counted(failed, 'row')} failed: the tables of reasons say why."


def _decided(networks: tuple[Network, ...]) -> Table:
    """Methods, each with its best setup, by epsilon: instances decided of those asked, and the median time."""
    wide = pd.concat([pd.DataFrame(), *map(_by_epsilon, networks)])
    asked = pd.concat([pd.Series(dtype=float), *(network.setups.lines["epsilon"] for network in networks)])
    chosen = _asked_most(asked)
    shown = (
        wide.reindex(columns=chosen)
        .rename(columns=plain_number)
        .reset_index(names=["network", "method"][-wide.index.nlevels :])
    )
    left_out = asked.nunique() - len(chosen)
    more = f"{left_out} more epsilon{'s' * (left_out != 1)}: the tables of verdicts have all."
    notes = (more,) if left_out else ()
    alone = len(networks) == 1
    frame = shown.drop(columns=["network"] if alone else [])
    title = f"Decided at each epsilon, and the median time{f': {networks[0].name}' if alone else ''}"
    return Table(title, frame, {}, (DECIDED_TERM,), notes, grouped="" if alone else "network")


def _by_epsilon(network: Network) -> pd.DataFrame:
    """One line a method, one column an epsilon."""
    best = best_setups(network.setups)
    lines = network.setups.lines[network.setups.lines[NAME].isin(best)]
    grouped = lines.groupby([NAME, "epsilon"], observed=True)
    numbers = grouped.agg(done=("done", "sum"), n=("done", "size"), total_s=("total_s", "median"))
    text = [_cell(*values) for values in zip(numbers["done"], numbers["n"], numbers["total_s"], strict=True)]
    wide = pd.Series(text, index=numbers.index, dtype=str).unstack("epsilon").reindex(best)
    firsts = lines.groupby(NAME, observed=True).agg(method=("method", "first"), called=("called", "any"))
    wide.index = pd.Index([_short(name, *firsts.loc[name]) for name in best])
    return pd.concat({network.name: wide})


def _short(setup: str, method: str, called: bool) -> str:
    """The method, and the solver that it called."""
    return setup.partition(",")[0] if called else method


DECIDED_TERM = (
    "How many of the instances were verified or falsified, and the median time of all of them. Each method is shown "
    "with one setup: of those asked the most instances, the one that decides the most; of equals, the fastest."
)


def best_setups(contest: Contest) -> list[str]:
    """Of every method the setup that was asked the most, of those the one that decides the most, of those the fastest.

    Shares of different instances would not compare. They come in the order of tightness.
    """
    by_setup = contest.lines.groupby(NAME, observed=True)
    frame = by_setup.agg(share=("done", "mean"), n=("done", "size"), method=("method", "first"))
    frame["mean_s"] = contest.counted.mean()
    frame = frame.sort_values(["n", "share", "mean_s"], ascending=[False, False, True], kind="stable")
    firsts = frame.reset_index().groupby("method", observed=True)[NAME].first()
    return [str(firsts[method]) for method in sorted(firsts.index, key=method_rank)]


def _cell(done: int, n: int, total_s: float) -> str:
    """E.g. `3/4 1.20 s`, the time in one piece on a narrow page."""
    return f"{done:,}/{n:,}" + ("" if np.isnan(total_s) else " " + seconds(total_s).replace(" ", NO_BREAK))


def _asked_most(asked: pd.Series[float]) -> list[float]:
    """The epsilons that were asked of the most instances, as many as fit: of equals the ends, and evenly between."""
    counts = asked.value_counts()
    least = counts.iloc[:SHOWN_EPSILONS].min()
    often = sorted(map(float, counts.index[counts >= least]))
    places = np.linspace(0, len(often) - 1, min(len(often), SHOWN_EPSILONS)).round().astype(int)
    return [often[place] for place in places]


def _fastest(networks: tuple[Network, ...]) -> Table:
    """For every network and method with several solvers the one that is ahead, against the next."""
    asked = [(network.name, *item) for network in networks for item in network.solvers_asked.items()]
    lines = [
        {"network": name, "method": method, **_ahead(contest)}
        for name, method, contest in asked
        if not len(contest.lines) or _compared(contest)
    ]
    alone = len(networks) == 1
    frame = pd.DataFrame(lines, columns=[*dict.fromkeys(name for line in lines for name in line)])
    frame = frame.drop(columns=["network"] if alone and lines else [])
    spared = [
        f"{'' if alone else f'{name}, '}{method} {_spared(contest)}"
        for name, method, contest in asked
        if len(contest.lines) and contest.spared
    ]
    notes = (f"Instances where no solver was needed are left out: {'; '.join(spared)}.",) if spared else ()
    return Table(TITLE, frame, FASTEST_FORMATS, (FASTEST_TERM,), notes, grouped="" if alone else "network")


TITLE = "The fastest solver"
FASTEST_FORMATS: dict[str, Format] = {"times as\nfast": ratio, "from": ratio, "to": ratio, "n": count}
FASTEST_TERM = (
    "Solvers compare on the instances where one of them was called. The one that solves the most is ahead; of equals "
    "the fastest, in the geometric mean with penalties. times as fast: as the next one, in the geometric mean over the "
    "n instances that both solved. from, to: its 95 % interval over the instances. Where that holds 1 and both solved "
    "as many, no difference is shown."
)


def _compared(contest: Contest) -> bool:
    """Whether the first two of a contest both solved something in common."""
    both = [name for name in contest.competitors if name in contest.seconds][:2]
    return len(both) == 2 and bool(contest.times[both].notna().all(axis=1).any())


def _spared(contest: Contest) -> str:
    return f"{contest.spared:,} of {contest.spared + contest.lines[QUESTION].nunique():,}"


def _ahead(contest: Contest) -> dict[str, Any]:
    if not len(contest.lines):
        return {"fastest": f"no solver was needed ({_spared(contest)})"}
    first, second = contest.competitors[:2]
    found = contest.ratio(second, first)
    solved = contest.seconds.notna().sum()
    told = [f"{name} {solved[name]:,}/{len(contest.seconds):,}" for name in (first, second)]
    equal = solved[first] == solved[second] and found.holds(1.0)
    return {
        "fastest": "no difference" if equal else told[0],
        "next": ", ".join(told) if equal else told[1],
        "times as\nfast": found.estimate,
        "from": found.low if found.low > 0 else np.nan,
        "to": found.high if np.isfinite(found.high) else np.nan,
        "n": int(contest.times[[first, second]].notna().all(axis=1).sum()),
    }
