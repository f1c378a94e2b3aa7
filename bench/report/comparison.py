"""Competitors compared: how their instances ended, their times on the same instances, and pair by pair."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd

from bench.report.contest import NAME, PARTS, SOLVED, Contest
from bench.report.networks import Network
from bench.report.render import Format, Section, Table, count, counted, ratio, seconds
from bench.statistics import PENALTY, TIE, Floats, duel, shifted_geometric_mean, virtual_best

VIRTUAL_BEST = "virtual best"
NOTHING = "0:0:0"  # of a pair of which neither solved anything that both were asked
FEW = 5  # competitors of which all pairs are shown; of more, the first one with each other
SHIFTS_S = {"shifted\n10 s": 10.0, "shifted\n1 s": 1.0}
QUARTILES = {"25 %": 0.25, "median": 0.5, "75 %": 0.75}


def comparisons(network: Network) -> list[Section]:
    """The comparisons of one network: of the solvers on each method, and of all setups; empty without such."""
    solvers = tuple(table for contest in network.solvers.values() for table in contest_tables(contest))
    sections = [Section(f"{network.name}: solvers", solvers)] if solvers else []
    if len(network.setups.competitors) > 1:
        sections.append(Section(f"{network.name}: setups", tuple(contest_tables(network.setups))))
    return sections


def contest_tables(contest: Contest) -> Iterator[Table]:
    """How the instances ended first, and then the times, each table over the instances that it names."""
    yield ended_table(contest)
    if contest.seconds.notna().to_numpy().any() and len(contest.full) and contest.full.shape[1] > 1:
        yield full_table(contest)
    if len(contest.common) and contest.common.shape[1] > 1:
        if contest.common.shape != contest.full.shape:
            yield common_table(contest)
        yield parts_table(contest)
    pairs = pair_table(contest)
    if len(pairs.frame):
        yield pairs


def ended_table(contest: Contest) -> Table:
    """How the instances of every competitor ended."""
    counts = contest.lines.groupby(NAME, observed=True)["ended"].value_counts().unstack(fill_value=0)
    counts = counts.loc[:, counts.any() | counts.columns.isin(contest.ends)].rename(columns=str)
    ordered = [*contest.ends, *(name for name in counts if name not in contest.ends)]
    frame = counts.reindex(contest.competitors)[ordered].astype(int)
    frame.insert(0, "n", frame.sum(axis=1))
    terms = (SOLVED_TERM,) if contest.ends == (SOLVED,) else (DECIDED_TERM,)
    return Table(contest.title, _flat(frame, contest), dict.fromkeys(map(str, frame), count), terms, _counted(contest))


SOLVED_TERM = (
    "solved: every target was solved to the end, whatever the verdict, or a verdict found that was the goal; else how "
    "the first other target ended. An instance with several repeats or seeds is solved where all of them are."
)
DECIDED_TERM = (
    "verified, falsified: decided, which is what setups are compared by; else why not. n: instances, each an image and "
    "an epsilon."
)


def _counted(contest: Contest) -> tuple[str, ...]:
    """What there is to say of the number of instances."""
    each = f"Each instance counts once for each of the {contest.settings} settings that it was asked with."
    several: tuple[str, ...] = (each,) if contest.settings > 1 else ()
    asked = len(contest.times) + contest.spared
    spared = f"{contest.spared:,} of {counted_instances(asked)} called no solver: left out."
    several += (spared,) if contest.spared else ()
    outside = [name for name in contest.competitors if name not in contest.seconds]
    without = f"{'; '.join(outside)}: asked too few of the instances of the others to be in a table of all their times."
    several += (without,) if outside else ()
    partial = len(contest.times) - len(contest.seconds)
    shared = f"{partial:,} of {counted_instances(len(contest.times))} not asked of all of these: no times but of pairs."
    return (*several, shared) if partial else several


def full_table(contest: Contest) -> Table:
    """Times over all instances, with penalties, and the virtual best with each one's share of it."""
    ordered = [name for name in contest.competitors if name in contest.full]
    times = contest.full[ordered]
    best = virtual_best(contest.seconds.loc[times.index, ordered])
    virtual = np.where(np.isnan(best.seconds), times.min(axis=1), best.seconds)  # unsolved by all: the least penalty
    frame = _summary(np.column_stack([times, virtual]), "PAR2", [*ordered, VIRTUAL_BEST])
    frame["share of\nthe best"] = [*best.shares, np.nan]
    notes = (
        f"Over all {counted_instances(len(times))} that all were asked.{_penalty(contest)}{_without_limit(contest)}",
        *_ties(best.ties),
    )
    formats: dict[str, Format] = {**dict.fromkeys(map(str, frame), seconds), "share of\nthe best": _whole_percent}
    return Table(f"{contest.title}: all instances, with penalties", _flat(frame, contest), formats, FULL_TERMS, notes)


FULL_TERMS = (
    f"PAR2: mean time, {PENALTY:g} time limits for an instance that was not solved; the penalty counts in all columns. "
    "Who has no time limit is given the longest one of the others on that instance.",
    "shifted: shifted geometric mean, exp(mean(log(t + shift))) - shift: what takes far less than the shift counts for "
    "little. 25 %, median, 75 %: quartiles.",
    "virtual best: takes for every instance the fastest. share of the best: the instances, of those solved by any, on "
    f"which it is the fastest; ties (within {TIE:.0%}) are split evenly.".replace("%)", " %)"),
)


def _penalty(contest: Contest) -> str:
    unsolved = contest.seconds.loc[contest.full.index].isna().to_numpy()
    penalties = np.unique(contest.full.to_numpy()[unsolved])
    if not penalties.size:
        return " All of them solved all: there is no penalty in it."
    span = seconds(penalties[0]) + (f" to {seconds(penalties[-1])}" if len(penalties) > 1 else "")
    return f" {int(unsolved.sum()):,} unsolved ones count {span}."


def _without_limit(contest: Contest) -> str:
    left_out = len(contest.seconds) - len(contest.full)
    told = f" {counted_instances(left_out)} that somebody did not solve had no time limit: left out for all."
    return told if left_out else ""


def _ties(ties: int) -> tuple[str, ...]:
    return (f"Ties for the best: {ties:,}.",) if ties else ()


def common_table(contest: Contest) -> Table:
    """Times over the instances that all solved."""
    ordered = [name for name in contest.competitors if name in contest.common]
    frame = _summary(contest.common[ordered].to_numpy(), "mean", ordered)
    formats: dict[str, Format] = dict.fromkeys(map(str, frame), seconds)
    return Table(f"{contest.title}: what all solved", _flat(frame, contest), formats, (), (_shared(contest),))


def parts_table(contest: Contest) -> Table:
    """Where the time goes, in sums over the instances that all solved."""
    ordered = [name for name in contest.competitors if name in contest.common]
    lines = contest.parts_of(contest.common.index)
    frame = lines.groupby(NAME, observed=True)[PARTS].sum(min_count=1).rename(columns=lambda part: part[:-2])
    frame = frame.reindex(ordered)
    frame["times\nthe first"] = frame["total"] / frame["total"].iloc[0]
    formats: dict[str, Format] = {**dict.fromkeys(map(str, frame), seconds), "times\nthe first": ratio}
    return Table(f"{contest.title}: total times", _flat(frame, contest), formats, (PARTS_TERM,), (_shared(contest),))


PARTS_TERM = (
    "bounds, build, solve: of the neurons, of the models, by the solver. What is in none of these, as an attack, is in "
    "the total alone."
)


def pair_table(contest: Contest) -> Table:
    """How many times as long each takes as another one, with intervals, wins and losses."""
    pairs = [_pair(contest, first, other) for first, other in _pairs(contest.competitors)]
    frame = pd.DataFrame([pair for pair in pairs if pair["won:lost\n:tied"] != NOTHING])
    return Table(f"{contest.title}: pairs", frame, PAIR_FORMATS, PAIR_TERMS, _first_alone(contest))


PAIR_FORMATS: dict[str, Format] = {
    "n": count,
    "times": ratio,
    "from": ratio,
    "to": ratio,
    "won:lost\n:tied": str,
    "p": lambda value: f"{value:.2g}",
    "with\npenalty": ratio,
    "of": count,
}
PAIR_TERMS = (
    "times: geometric mean, over the n instances that both solved, of the second one's time over the first one's: "
    "above 1 the first one is faster. from, to: its 95 % interval, by bootstrap over the instances (above 1,000 "
    "Student's, which is the same there); one instance has none. An interval that holds 1 shows no difference. Setups "
    "of one method compare only on instances where one of them called its solver.",
    "won: instances on which the first one is faster, or alone in solving it. p: of the two-sided sign test: how "
    f"likely so uneven a split is where neither is faster. tied: times within {TIE:.0%}".replace("%", " %")
    + ", which the test leaves out.",
    "with penalty: the same geometric mean over all the instances under `of`, those that were not solved with their "
    "penalty.",
)


def _pairs(competitors: list[str]) -> Iterator[tuple[str, str]]:
    every = itertools.combinations(competitors, 2)
    return every if len(competitors) <= FEW else zip(itertools.repeat(competitors[0]), competitors[1:], strict=False)


def _pair(contest: Contest, first: str, other: str) -> dict[str, object]:
    both = contest.shared(first, other)
    one, two = contest.times.loc[both, first], contest.times.loc[both, other]
    faster, compared = contest.ratio(other, first), duel(one, two)
    full = contest.counted.loc[both, [first, other]].dropna()
    return {
        "pair": f"{first} : {other}",
        "n": int((one.notna() & two.notna()).sum()),
        "times": faster.estimate,
        "from": faster.low if faster.low > 0 else np.nan,
        "to": faster.high if np.isfinite(faster.high) else np.nan,
        "won:lost\n:tied": f"{compared.wins}:{compared.losses}:{compared.ties}",
        "p": compared.p_value,
        "with\npenalty": float(np.exp(np.log(full[other] / full[first]).mean())) if len(full) else np.nan,
        "of": len(full),
    }


def _first_alone(contest: Contest) -> tuple[str, ...]:
    pairs = len(contest.competitors) - 1
    return (f"The first one with each of the {pairs} others.",) if pairs >= FEW else ()


def _summary(times: Floats, mean: str, names: list[str]) -> pd.DataFrame:
    """Means and quartiles, one line a column of `times`."""
    columns = {
        mean: times.mean(axis=0),
        **{header: shifted_geometric_mean(times, shift) for header, shift in SHIFTS_S.items()},
        **{header: np.quantile(times, q, axis=0) for header, q in QUARTILES.items()},
    }
    return pd.DataFrame(columns, index=names)


def _shared(contest: Contest) -> str:
    nothing = [str(name) for name in contest.seconds if name not in contest.common]
    without = f" without {', '.join(nothing)}, which solved none" if nothing else ""
    return f"Over the {counted_instances(len(contest.common))} that all solved{without}."


def counted_instances(number: int) -> str:
    """`1 instance`, `12 instances`."""
    return counted(number, "instance")


def _whole_percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _flat(frame: pd.DataFrame, contest: Contest) -> pd.DataFrame:
    return frame.rename_axis(contest.kind).rename_axis(None, axis="columns").reset_index()
