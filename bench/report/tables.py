"""The tables of a run: verdicts, times, bounds, attacks and solvers side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.report.frame import INSTANCE, OUTCOMES, SOLVED, Run
from bench.report.render import Section, Table, count, number, percent, plain_number, ratio, seconds

METHOD_ORDER = ("interval", "linear", "lp", "milp")  # each at least as tight as the one before
# What tells two setups of one method apart, and how it is written. The first group only means something with a solver.
OF_SOLVER = {
    "solver": " {}",
    "solver_version": " {}",
    "formulation": ", {}",
    "threads": ", threads {}",
    "time_limit_s": ", time limit {:g} s",
    "mip_gap": ", MIP gap {:g}",
}
SETTINGS = {name: OF_SOLVER[name] for name in ("threads", "time_limit_s", "mip_gap")} | {
    "formulation": "formulation {}"
}
OF_ALL = {"clip": ", clip {}", "device": ", device {}"}
OF_ATTACK = {
    "steps": ", {} steps",
    "step": " of {:g}",
    "restarts": ", {} restarts",
    "target": ", target {}",
    "clip": ", clip {}",
}
EPSILON_FORMAT = {"epsilon": plain_number}
EPSILON_HEADER = "eps-\nilon"  # in a table that needs the space
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
        tightness_table(labelled, targets),
        *solver_tables(labelled),
        reason_table(labelled),
    ]
    return Section(name, tuple(table for table in tables if len(table.frame)), tuple(settings_lines(rows)))


def with_setup(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with `variant`, the solver's settings that differ in a method, and `setup`: method, variant and the rest."""
    parts = [_label_method(part) for _, part in rows.groupby("method")]
    rest = _joined(rows, {name: pattern for name, pattern in OF_ALL.items() if _differs(rows, name)})
    labelled = pd.concat(parts).reindex(rows.index)
    return labelled.assign(
        setup=labelled["method"] + labelled["variant"] + rest, variant=labelled["variant"].map(_bare)
    )


def _label_method(rows: pd.DataFrame) -> pd.DataFrame:
    patterns = {name: pattern for name, pattern in OF_SOLVER.items() if _differs(rows, name)}
    return rows.assign(variant=_joined(rows, patterns).where(rows["solver"].notna(), ""))


def _differs(rows: pd.DataFrame, name: str) -> bool:
    if name == "solver_version":  # of course it differs between solvers
        return bool(rows.groupby("solver")[name].nunique(dropna=False).gt(1).any())
    return rows[name].nunique(dropna=False) > 1


def _bare(text: str) -> str:
    """A pattern's text without the separator that it begins with."""
    return text.strip(" ,")


def settings_lines(rows: pd.DataFrame) -> list[str]:
    """What the labels leave out: a line for each set of settings of methods, and one with what all rows share."""
    methods_with: dict[str, list[str]] = {}
    for method in sorted(rows.loc[rows["solver"].notna(), "method"].unique(), key=method_rank):
        part = rows[rows["method"] == method]
        methods_with.setdefault(", ".join([*_solver_names(part), *_constants(part, SETTINGS)]), []).append(method)
    everywhere = ", ".join(_constants(rows, OF_ALL))
    lines = [f"{', '.join(methods)}: {settings}." for settings, methods in methods_with.items()]
    return [*lines, f"All rows: {everywhere}."] if everywhere else lines


def _solver_names(rows: pd.DataFrame) -> list[str]:
    """Each solver with the versions of it that were used."""
    return [
        " ".join([str(solver), *part.dropna().unique()]) for solver, part in rows.groupby("solver")["solver_version"]
    ]


def _constants(rows: pd.DataFrame, patterns: dict[str, str]) -> list[str]:
    """The settings that have one value in all rows."""
    values = {name: rows[name].dropna().unique() for name in patterns if not _differs(rows, name)}
    return [_bare(patterns[name].format(value[0])) for name, value in values.items() if len(value)]


def _joined(rows: pd.DataFrame, patterns: dict[str, str]) -> pd.Series[str]:
    """The columns' values written by their patterns one behind the other, missing values left out."""
    text = pd.Series("", index=rows.index, dtype=str)
    for name, pattern in patterns.items():
        values = [pattern.format(value) if pd.notna(value) else "" for value in rows[name]]
        text += pd.Series(values, index=rows.index, dtype=str)
    return text.str.replace("clip none", "no clip")


def per_instance(labelled: pd.DataFrame) -> pd.DataFrame:
    """One line an instance and setup: medians over repeats and seeds, and the weakest outcome among them."""
    times = ["bounds_s", "build_s", "solve_s", "total_s"]
    ranked = labelled.assign(rank=labelled["outcome"].map(OUTCOMES.index))
    ranked[times] = ranked[times].where(ranked["outcome"] != "failed")  # a failure's seconds are no measurement
    grouped = ranked.groupby([*INSTANCE, "method", "variant", "setup"], dropna=False, sort=False)
    numbers = {name: (name, "median") for name in ["bound_gap", *times]}
    results = grouped.agg(rank=("rank", "min"), **numbers).reset_index()
    return results.assign(outcome=results["rank"].map(OUTCOMES.__getitem__))


def verdict_table(results: pd.DataFrame) -> Table:
    """Outcomes, bound gap and seconds for each epsilon and setup."""
    counted = results.assign(**{name: results["outcome"] == name for name in OUTCOMES})
    grouped = _by_setup(counted)
    frame = grouped.agg(n=("rank", "size"), **{HEADERS[name]: (name, "sum") for name in reversed(OUTCOMES)})
    frame["bound\ngap"] = grouped["bound_gap"].mean()
    frame["no\nbound"] = grouped["bound_gap"].agg(lambda gaps: gaps.isna().sum())
    frame["median\ntime"] = grouped["total_s"].median()
    frame["total\ntime"] = grouped["total_s"].sum(min_count=1)
    empty = [name for name in (HEADERS["failed"], "no\nbound") if not frame[name].any()]
    counts = dict.fromkeys(["n", *HEADERS.values(), "no\nbound"], count)
    times = {"median\ntime": seconds, "total\ntime": seconds}
    formats = {EPSILON_HEADER: plain_number, **counts, "bound\ngap": number, **times}
    shown = _flat(frame.drop(columns=empty)).rename(columns={"epsilon": EPSILON_HEADER})
    return Table("Verdicts", shown, formats, VERDICT_TERMS, grouped=EPSILON_HEADER)


VERDICT_TERMS = (
    "n: instances, each an image and an epsilon. Repeats and seeds of one instance count once: the medians of their "
    "times and gaps, the weakest of their outcomes (failed, unknown, falsified, verified).",
    "bound gap: best known upper bound of a margin, by any method on the same instance, minus the lower bound; mean "
    "over the targets, then over the instances. Those without a finite bound for every target are left out and stand "
    "under `no bound`.",
    "time: from bounds to verdict, without failed rows; unknown ones count with the time that they took.",
)


def time_table(results: pd.DataFrame) -> Table:
    """The median of each part of the time, for each epsilon and setup."""
    parts = {"bounds": "bounds_s", "build": "build_s", "solve": "solve_s", "total": "total_s"}
    frame = _by_setup(results)[list(parts.values())].median().dropna(how="all")
    frame = frame.rename(columns={column: name for name, column in parts.items()})
    formats = EPSILON_FORMAT | dict.fromkeys(parts, seconds)
    return Table("Where the time goes (medians)", _flat(frame), formats, grouped="epsilon")


def _by_setup(results: pd.DataFrame) -> Any:
    """Groups by epsilon and setup, methods in the order of their tightness."""
    ordered = results.assign(order=results["method"].map(method_rank))
    return ordered.groupby(["epsilon", "order", "setup"], dropna=False)


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index().drop(columns="order").rename(columns={"setup": "method"})


def method_rank(method: Any) -> tuple[int, str]:
    """Sorts methods by tightness, unknown ones behind by name."""
    return (METHOD_ORDER.index(method) if method in METHOD_ORDER else len(METHOD_ORDER), method)


def tightness_table(labelled: pd.DataFrame, targets: pd.DataFrame) -> Table:
    """Mean lower bound of each method over common targets, and ratios of time, for each epsilon and solver."""
    bounds = targets.join(labelled[["method", "variant", "total_s"]], on="row", how="inner")
    # What has no variants, such as interval bounds or a method with one solver only, is compared with every variant.
    variants = sorted(set(bounds["variant"]) - {""}) or [""]
    lines = []
    for epsilon, here in bounds.groupby("epsilon"):
        for variant in variants:
            compared = compare_methods(here[here["variant"].isin(["", variant])])
            lines += [{"epsilon": epsilon, "solver": variant, **compared}] if compared else []
    frame = pd.DataFrame(lines)
    if len(frame) and not frame["solver"].any():
        frame = frame.drop(columns="solver")
    formats = {
        str(name): ratio if "/" in str(name) else number for name in frame.columns.drop("solver", errors="ignore")
    }
    title = "Interval against LP against MILP"
    return Table(
        title, _ratios_last(frame), formats | EPSILON_FORMAT | {"targets": count}, TIGHTNESS_TERMS, grouped="epsilon"
    )


TIGHTNESS_TERMS = (
    "Mean lower bound on the margin over the targets for which every method shown has one, medians over repeats; "
    "a MILP that met its time limit counts with the bound that it had.",
    "time: total seconds of one method over those of another, on the instances of those targets.",
)


def compare_methods(bounds: pd.DataFrame) -> dict[str, float]:
    """Means over common targets and ratios of time, from `by_target` lines with `method` and `total_s`.

    Empty where fewer than two methods have a bound in common.
    """
    keys = [*INSTANCE, "target"]
    lower = _spread(bounds, keys, "lower")
    if lower.shape[1] < 2 or not len(lower):
        return {}
    spent = _spread(bounds, INSTANCE, "total_s")
    seconds_of = (
        spent.loc[lower.reset_index().set_index(INSTANCE).index.unique().intersection(spent.index)].sum().to_dict()
    )
    methods = [str(method) for method in lower.columns]
    means = {method: float(lower[method].mean()) for method in methods}
    pairs = [(slow, fast) for fast, slow in itertools.pairwise(methods) if seconds_of.get(fast) and slow in seconds_of]
    return {"targets": len(lower), **means, **{f"{a}/{b}\ntime": seconds_of[a] / seconds_of[b] for a, b in pairs}}


def _spread(bounds: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """One column a method that has values; only the lines that all of them have."""
    medians = bounds.groupby([*keys, "method"], dropna=False)[value].median().unstack("method")
    present = medians.dropna(axis=1, how="all").dropna()
    return present[sorted(map(str, present.columns), key=method_rank)]


def _ratios_last(frame: pd.DataFrame) -> pd.DataFrame:
    """Bounds before ratios, whichever line came first."""
    return frame[sorted(map(str, frame.columns), key=lambda name: "/" in str(name))]


def solver_tables(labelled: pd.DataFrame) -> Iterator[Table]:
    """Solvers against each other, for every method that more than one solver answered."""
    solved = labelled[labelled["solver"].notna()]
    for method in sorted(solved["method"].unique(), key=method_rank):
        rows = solved[solved["method"] == method]
        if rows["solver"].nunique() > 1:
            yield _solver_table(method, rows)


def _solver_table(method: str, rows: pd.DataFrame) -> Table:
    done = rows.assign(ended=rows["status"].where(~rows["status"].isin(SOLVED), "solved").str.replace("_", " "))
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
    title = f"Solvers on the {method.upper()}"
    flat = frame.drop(columns="common").reset_index().rename(columns={"variant": "solver"})
    return Table(title, flat, {str(name): write for name, write in formats.items()}, (SOLVED_TERM,), (note,))


SOLVED_TERM = "solved: every target was solved to the end, whatever the verdict; else how the first other one ended."


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
    setup = attacks["method"] + _joined(attacks, {name: OF_ATTACK[name] for name in told})
    labelled = attacks.assign(attack=setup)
    everywhere = _constants(attacks, OF_ALL)
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
