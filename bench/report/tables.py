"""The tables of a run: verdicts, times, bounds, attacks and solvers side by side."""

from __future__ import annotations

import pandas as pd

from bench.report.comparison import comparisons
from bench.report.frame import OUTCOMES, UNMEASURED, Run
from bench.report.instances import EPSILON_FORMAT, EPSILON_HEADER, by_setup, flat, per_instance
from bench.report.labels import OF_ALL, constants, joined, settings_lines
from bench.report.networks import Network, networks_of
from bench.report.render import Section, Table, count, number, percent, plain_number, seconds
from bench.report.stages import stage_table
from bench.report.switches import switch_table
from bench.report.tiers import tier_table
from bench.report.tightness import gap_table, tightness_tables

OF_ATTACK = {
    "steps": ", {} steps",
    "step": " of {:g}",
    "restarts": ", {} restarts",
    "target": ", target {}",
    "clip": ", clip {}",
}
HEADERS = {
    "verified": "veri-\nfied",
    "falsified": "falsi-\nfied",
    "unknown": "un-\nknown",
    "failed": "failed",
    "contradicted": "contra-\ndicted",
}


def run_sections(run: Run) -> list[Section]:
    """One section a network with its comparisons behind it, and one for the attacks."""
    attacks = run.rows[run.rows["kind"] == "attack"]
    sections = [section for network in networks_of(run) for section in _network_sections(network, run.targets)]
    if len(attacks):
        sections.append(Section("Attacks", tuple(attack_tables(attacks))))
    return sections


def _network_sections(network: Network, targets: pd.DataFrame) -> list[Section]:
    labelled = network.labelled
    results = per_instance(labelled)
    tables = [
        verdict_table(results),
        tier_table(results),
        time_table(results),
        gap_table(results),
        *tightness_tables(labelled, targets),
        stage_table(labelled, targets, results),
        switch_table(labelled),
        reason_table(labelled),
    ]
    lines = tuple(settings_lines(labelled))
    shown = tuple(table for table in tables if len(table.frame))
    return [Section(network.name, shown, lines), *comparisons(network)]


def verdict_table(results: pd.DataFrame) -> Table:
    """Outcomes and seconds for each epsilon and setup."""
    counted = results.assign(**{name: results["outcome"] == name for name in OUTCOMES})
    grouped = by_setup(counted)
    frame = grouped.agg(n=("rank", "size"), **{HEADERS[name]: (name, "sum") for name in reversed(OUTCOMES)})
    frame["median\ntime"] = grouped["total_s"].median()
    frame["95 %\ntime"] = grouped["total_s"].quantile(0.95)
    frame["total\ntime"] = grouped["total_s"].sum(min_count=1)
    left_out = [HEADERS[name] for name in UNMEASURED if not frame[HEADERS[name]].any()]
    counts = dict.fromkeys(["n", *HEADERS.values()], count)
    times = dict.fromkeys(["median\ntime", "95 %\ntime", "total\ntime"], seconds)
    shown = flat(frame.drop(columns=left_out)).rename(columns={"epsilon": EPSILON_HEADER})
    formats = {EPSILON_HEADER: plain_number, **counts, **times}
    return Table("Verdicts", shown, formats, VERDICT_TERMS, grouped=EPSILON_HEADER)


VERDICT_TERMS = (
    "n: instances, each an image and an epsilon. Repeats and seeds of one instance count once: the medians of their "
    "times and bounds, the weakest of their outcomes (contradicted, failed, unknown, falsified, verified).",
    "time: from bounds to verdict, without failed and contradicted rows; unknown ones count with the time that they "
    "took. 95 %: the time within which 95 % of the instances end, between two of them linearly.",
)


def time_table(results: pd.DataFrame) -> Table:
    """The median of each part of the time, for each epsilon and setup."""
    parts = {"bounds": "bounds_s", "build": "build_s", "solve": "solve_s", "total": "total_s"}
    frame = by_setup(results)[list(parts.values())].median().dropna(how="all")
    frame = frame.rename(columns={column: name for name, column in parts.items()})
    formats = EPSILON_FORMAT | dict.fromkeys(parts, seconds)
    return Table("Where the time goes (medians)", flat(frame), formats, grouped="epsilon")


def reason_table(labelled: pd.DataFrame) -> Table:
    """Why rows are unknown or failed, with the first example of each reason."""
    undecided = labelled[labelled["reason"].notna()]
    example = undecided["error"].fillna(undecided["evidence"])
    grouped = undecided.assign(example=example).groupby(["setup", "reason"])
    frame = grouped.agg(rows=("reason", "size"), example=("example", "first")).reset_index()
    frame = frame.sort_values("rows", ascending=False).rename(columns={"setup": "method"})
    return Table("Why rows are unknown or failed", frame, {"rows": count})


def attack_tables(attacks: pd.DataFrame) -> list[Table]:
    """All attacks, and why some failed; what is empty is left out."""
    told = [name for name in OF_ATTACK if name not in ("restarts", "clip") or attacks[name].dropna().nunique() > 1]
    setup = attacks["method"] + joined(attacks, {name: OF_ATTACK[name] for name in told})
    labelled = attacks.assign(attack=setup)
    everywhere = constants(attacks, OF_ALL)
    notes = (f"All attacks: {', '.join(everywhere)}.",) if everywhere else ()
    tables = [_error_rates(labelled[labelled["error_rate"].notna()], notes), _attack_failures(labelled)]
    return [table for table in tables if len(table.frame)]


def _error_rates(done: pd.DataFrame, notes: tuple[str, ...]) -> Table:
    keys = ["network", "attack", "epsilon", "images", "device"]
    medians = {"error\nrate": "error_rate", "images\nper s": "images_per_s", "time": "total_s"}
    grouped = done.groupby(keys, dropna=False, sort=False)[list(medians.values())].median().reset_index()
    frame = grouped.rename(columns={column: name for name, column in medians.items()})
    shown = [name for name in (*keys[:-1], *medians, "device") if name != "device" or done["device"].nunique() > 1]
    frame = frame.sort_values("network", kind="stable")[shown]
    formats = {"images": count, "error\nrate": percent, "images\nper s": number, "time": seconds}
    definition = "error rate: share of the images misclassified after the attack. Medians over repeats and seeds."
    return Table("Error under attack", frame, EPSILON_FORMAT | formats, (definition,), notes, grouped="network")


def _attack_failures(labelled: pd.DataFrame) -> Table:
    """Attacks that failed or were stopped, by what ended them."""
    ended = labelled[labelled["error_rate"].isna()]
    ended = ended.assign(why=ended["error"].fillna(ended["reason"]).fillna("no result"))
    grouped = ended.groupby(["attack", "why"])
    frame = grouped.agg(rows=("why", "size"), networks=("network", lambda names: ", ".join(names.unique())))
    frame = frame.reset_index()[["attack", "networks", "rows", "why"]]
    return Table("Attacks without a result", frame, {"rows": count})
