"""The tables of a run: verdicts, times, bounds, attacks and solvers side by side."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bench.report.frame import INSTANCE, OUTCOMES, Run
from bench.report.instances import EPSILON_FORMAT, EPSILON_HEADER, by_setup, flat, per_instance
from bench.report.labels import OF_ALL, constants, joined, method_rank, settings_lines, with_setup
from bench.report.render import Section, Table, count, number, percent, plain_number, seconds
from bench.report.setups import setup_lines, setup_table
from bench.report.stages import stage_table
from bench.report.switches import switch_table
from bench.report.tightness import gap_table, tightness_tables

OF_ATTACK = {
    "steps": ", {} steps",
    "step": " of {:g}",
    "restarts": ", {} restarts",
    "target": ", target {}",
    "clip": ", clip {}",
}
HEADERS = {"verified": "veri-\nfied", "falsified": "falsi-\nfied", "unknown": "un-\nknown", "failed": "failed"}


def run_sections(run: Run) -> list[Section]:
    """One section a network, and one for the attacks."""
    verify = run.rows[run.rows["kind"] == "verify"]
    attacks = run.rows[run.rows["kind"] == "attack"]
    sections = [_network_section(name, rows, run.targets) for name, rows in _by_network(verify)]
    if len(attacks):
        sections.append(Section("Attacks", tuple(attack_tables(attacks))))
    return sections


def _by_network(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Networks by name; where two share a name, with the start of their digests."""
    for name, same_name in rows.groupby("network"):
        for digest, part in same_name.groupby("network_digest"):
            yield (f"{name} ({str(digest)[:8]})" if len(part) < len(same_name) else str(name)), part


def _network_section(name: str, rows: pd.DataFrame, targets: pd.DataFrame) -> Section:
    labelled = with_setup(rows)
    results = per_instance(labelled)
    tables = [
        verdict_table(results),
        time_table(results),
        gap_table(results),
        *tightness_tables(labelled, targets),
        stage_table(labelled, targets, results),
        switch_table(labelled),
        setup_table(results),
        *solver_tables(labelled),
        reason_table(labelled),
    ]
    lines = (*settings_lines(rows), *setup_lines(labelled, results))
    return Section(name, tuple(table for table in tables if len(table.frame)), lines)


def verdict_table(results: pd.DataFrame) -> Table:
    """Outcomes and seconds for each epsilon and setup."""
    counted = results.assign(**{name: results["outcome"] == name for name in OUTCOMES})
    grouped = by_setup(counted)
    frame = grouped.agg(n=("rank", "size"), **{HEADERS[name]: (name, "sum") for name in reversed(OUTCOMES)})
    frame["median\ntime"] = grouped["total_s"].median()
    frame["95 %\ntime"] = grouped["total_s"].quantile(0.95)
    frame["total\ntime"] = grouped["total_s"].sum(min_count=1)
    left_out = [] if frame[HEADERS["failed"]].any() else [HEADERS["failed"]]
    counts = dict.fromkeys(["n", *HEADERS.values()], count)
    times = dict.fromkeys(["median\ntime", "95 %\ntime", "total\ntime"], seconds)
    shown = flat(frame.drop(columns=left_out)).rename(columns={"epsilon": EPSILON_HEADER})
    formats = {EPSILON_HEADER: plain_number, **counts, **times}
    return Table("Verdicts", shown, formats, VERDICT_TERMS, grouped=EPSILON_HEADER)


VERDICT_TERMS = (
    "n: instances, each an image and an epsilon. Repeats and seeds of one instance count once: the medians of their "
    "times and bounds, the weakest of their outcomes (failed, unknown, falsified, verified).",
    "time: from bounds to verdict, without failed rows; unknown ones count with the time that they took. 95 %: the "
    "time within which 95 % of the instances end, between two of them linearly.",
)


def time_table(results: pd.DataFrame) -> Table:
    """The median of each part of the time, for each epsilon and setup."""
    parts = {"bounds": "bounds_s", "build": "build_s", "solve": "solve_s", "total": "total_s"}
    frame = by_setup(results)[list(parts.values())].median().dropna(how="all")
    frame = frame.rename(columns={column: name for name, column in parts.items()})
    formats = EPSILON_FORMAT | dict.fromkeys(parts, seconds)
    return Table("Where the time goes (medians)", flat(frame), formats, grouped="epsilon")


def solver_tables(labelled: pd.DataFrame) -> Iterator[Table]:
    """Solvers against each other, for every method that more than one solver answered."""
    solved = labelled[labelled["solver"].notna()]
    for method in sorted(solved["method"].unique(), key=method_rank):
        rows = solved[solved["method"] == method]
        if rows["solver"].nunique() > 1:
            yield _solver_table(method, rows)


def _solver_table(method: str, rows: pd.DataFrame) -> Table:
    done = rows.assign(ended=rows["status"].where(~rows["solved"], "solved").str.replace("_", " "))
    instances = done.groupby([*INSTANCE, "variant"], dropna=False, sort=False)
    once = instances.agg(ended=("ended", _weakest), total_s=("total_s", "median")).reset_index()
    ended = once.groupby("variant")["ended"].value_counts().unstack(fill_value=0)
    if "solved" not in ended:
        ended["solved"] = 0
    ended = ended[["solved", *(name for name in ended if name != "solved")]]
    times = common_times(once)
    frame = ended.join(times).sort_values(["solved", "total"], ascending=[False, True])
    shared = int(times["common"].max()) if len(times) else 0
    formats = dict.fromkeys(ended, count) | {"median": seconds, "total": seconds}
    note = f"Times are over the {shared} instance{'s' * (shared != 1)} that all of those with any solved one solved."
    title = f"Solvers on {MODELS.get(method, method)}"
    flat = frame.drop(columns="common").reset_index().rename(columns={"variant": "solver"})
    return Table(title, flat, {str(name): write for name, write in formats.items()}, (SOLVED_TERM,), (note,))


MODELS = {"lp": "the LP", "milp": "the MILP", "staged": "staged verification"}
SOLVED_TERM = (
    "solved: every target was solved to the end, whatever the verdict, or a verdict found that was the goal; else how "
    "the first other target ended."
)


def _weakest(ended: pd.Series[str]) -> str:
    """Solved only where every repeat solved."""
    return next((value for value in ended if value != "solved"), "solved")


def common_times(once: pd.DataFrame) -> pd.DataFrame:
    """Median and total seconds on what all solvers with any solved instance solved, by variant; `common` counts it.

    Parameters
    ----------
    once : DataFrame
        One line an instance and variant, with `ended` and `total_s`.
    """
    solved = once[once["ended"] == "solved"]
    spread = solved.set_index([*INSTANCE, "variant"])["total_s"].unstack("variant").dropna()
    frame = pd.DataFrame({"median": spread.median(), "total": spread.sum(min_count=1)})
    return frame.assign(common=len(spread))


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
    tables = [_error_rates(labelled[labelled["error"].isna()], notes), _attack_failures(labelled)]
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
    failed = labelled[labelled["error"].notna()]
    grouped = failed.groupby(["attack", "error"])
    frame = grouped.agg(rows=("error", "size"), networks=("network", lambda names: ", ".join(names.unique())))
    frame = frame.reset_index()[["attack", "networks", "rows", "error"]]
    return Table("Attacks that failed", frame, {"rows": count})
