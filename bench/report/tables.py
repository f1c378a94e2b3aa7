"""The tables of a run: verdicts, times, bounds, attacks and solvers side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.report.frame import INSTANCE, OUTCOMES, SOLVED, Run
from bench.report.render import Section, Table, count, number, percent, plain_number, ratio, seconds

METHOD_ORDER = ("interval", "linear", "lp", "milp")  # each at least as tight as the one before
# What tells two setups of one method apart, and how it is written. The first group only means something with a solver.
OF_SOLVER = {
    "solver": "{}",
    "solver_version": "{}",
    "formulation": "{}",
    "threads": "threads {}",
    "time_limit_s": "time limit {:g} s",
    "mip_gap": "MIP gap {:g}",
}
OF_ALL = {"clip": "clip {}", "device": "device {}"}
OF_ATTACK = {
    "steps": "{} steps",
    "step": "of {:g}",
    "restarts": "{} restarts",
    "target": "target {}",
    "clip": "clip {}",
}
EPSILON_FORMAT = {"epsilon": plain_number}
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
    digests = rows.groupby("network")["network_digest"].nunique()
    for (name, digest), part in rows.groupby(["network", "network_digest"]):
        yield (f"{name} ({str(digest)[:8]})" if digests[name] > 1 else str(name)), part


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
    return Section(name, tuple(table for table in tables if len(table.frame)), tuple(common_settings(rows)))


def with_setup(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with `variant` (the solver's settings that differ between rows) and `setup` (with the method and the rest)."""
    solved = rows["solver"].notna()
    of_solver = [name for name in OF_SOLVER if rows.loc[solved, name].nunique(dropna=False) > 1]
    of_all = [name for name in OF_ALL if rows[name].nunique(dropna=False) > 1]
    variant = _joined(rows, {name: OF_SOLVER[name] for name in of_solver}).where(solved, "")
    rest = _joined(rows, {name: OF_ALL[name] for name in of_all})
    return rows.assign(variant=variant, setup=(rows["method"] + " " + variant + " " + rest).str.split().str.join(" "))


def common_settings(rows: pd.DataFrame) -> list[str]:
    """One line with the settings that all rows share."""
    shared = []
    for name, pattern in (OF_SOLVER | OF_ALL).items():
        values = rows[name].dropna().unique()
        if len(values) == 1:
            shared.append(f"{'solver ' if name == 'solver' else ''}{pattern.format(values[0])}")
    return [f"All rows: {', '.join(shared)}."] if shared else []


def _joined(rows: pd.DataFrame, patterns: dict[str, str]) -> pd.Series[str]:
    """The columns' values written by their patterns and joined by blanks, missing values left out."""
    text = pd.Series("", index=rows.index, dtype=str)
    for name, pattern in patterns.items():
        values = [f" {pattern.format(value)}" if pd.notna(value) else "" for value in rows[name]]
        text += pd.Series(values, index=rows.index, dtype=str)
    return text.str.strip()


def per_instance(labelled: pd.DataFrame) -> pd.DataFrame:
    """One line an instance and setup: medians over repeats and seeds, and the weakest outcome among them."""
    times = ["bounds_s", "build_s", "solve_s", "total_s"]
    ranked = labelled.assign(rank=labelled["outcome"].map(OUTCOMES.index))
    ranked[times] = ranked[times].where(ranked["outcome"] != "failed")  # a failure's seconds are no measurement
    grouped = ranked.groupby([*INSTANCE, "method", "variant", "setup"], dropna=False, sort=False)
    numbers = {name: (name, "median") for name in ["bound_gap", *times]}
    # pandas-stubs know no mapping of named aggregations
    results = grouped.agg(rank=("rank", "min"), **numbers).reset_index()  # type: ignore[call-overload]
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
    counts = ["n", *HEADERS.values(), "no\nbound"]
    formats = dict.fromkeys(counts, count) | {"bound\ngap": number, "median\ntime": seconds, "total\ntime": seconds}
    return Table("Verdicts", _flat(frame.drop(columns=empty)), EPSILON_FORMAT | formats, VERDICT_NOTES)


VERDICT_NOTES = (
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
    return Table("Where the time goes (medians)", _flat(frame), EPSILON_FORMAT | dict.fromkeys(parts, seconds))


def _by_setup(results: pd.DataFrame) -> Any:
    """Groups by epsilon and setup, methods in the order of their tightness."""
    ordered = results.assign(order=results["method"].map(method_rank))
    return ordered.groupby(["epsilon", "order", "setup"], dropna=False)


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    flat = frame.reset_index().drop(columns="order")
    flat["epsilon"] = flat["epsilon"].where(flat["epsilon"].ne(flat["epsilon"].shift())) if len(flat) else None
    return flat.rename(columns={"setup": "method"})


def method_rank(method: str) -> tuple[int, str]:
    """Sorts methods by tightness, unknown ones behind by name."""
    return (METHOD_ORDER.index(method) if method in METHOD_ORDER else len(METHOD_ORDER), method)


def tightness_table(labelled: pd.DataFrame, targets: pd.DataFrame) -> Table:
    """Mean lower bound of each method over common targets, and ratios of time, for each epsilon and solver."""
    bounds = targets.join(labelled[["method", "variant", "total_s"]], on="row", how="inner")
    plain, solved = bounds[bounds["variant"].isin([""])], bounds
    variants = [name for name in labelled["variant"].unique() if name] or [""]
    lines = []
    for epsilon in sorted(labelled["epsilon"].unique()):
        for variant in variants:
            own = solved[(solved["variant"] == variant) & (solved["variant"] != "")]
            both = pd.concat([plain, own])
            compared = compare_methods(both[both["epsilon"] == epsilon])
            lines += [{"epsilon": epsilon, "solver": variant, **compared}] if compared else []
    frame = pd.DataFrame(lines)
    if len(frame) and not frame["solver"].any():
        frame = frame.drop(columns="solver")
    written = {name: ratio if "/" in name else number for name in frame if name not in ("epsilon", "solver")}
    formats = EPSILON_FORMAT | written | {"targets": count}
    return Table("Interval against LP against MILP", _in_order(frame), formats, TIGHTNESS_NOTES)


TIGHTNESS_NOTES = (
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
    spent = spent[spent.index.isin(lower.index.droplevel("target"))].sum()
    methods = list(lower.columns)
    means = {method: float(lower[method].mean()) for method in methods}
    pairs = [(slow, fast) for fast, slow in zip(methods, methods[1:], strict=False) if {slow, fast} <= {*spent.index}]
    ratios = {f"{slow}/{fast}\ntime": float(spent[slow] / spent[fast]) for slow, fast in pairs if spent[fast] > 0}
    return {"targets": len(lower), **means, **ratios}


def _spread(bounds: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """One column a method that has values; only the lines that all of them have."""
    medians = bounds.groupby([*keys, "method"], dropna=False)[value].median().unstack("method")
    present = medians.dropna(axis=1, how="all").dropna()
    return present[sorted(present.columns, key=method_rank)]


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Bounds before ratios, whichever line came first."""
    return frame[sorted(frame.columns, key=lambda name: "/" in name)]


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
    note = (
        f"Times are over the {shared} instances that all of these solved, leaving aside who solved none. Solved: every "
        "target to the end that was asked for, whatever the verdict."
    )
    title = f"Solvers on the {method.upper()}"
    flat = frame.drop(columns="common").reset_index().rename(columns={"variant": "solver"})
    return Table(title, flat, {str(name): write for name, write in formats.items()}, (note,))


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


def attack_tables(attacks: pd.DataFrame) -> Iterator[Table]:
    """All attacks, and why some failed."""
    settings = {name: pattern for name, pattern in OF_ATTACK.items() if name == "steps" or _tells(attacks[name])}
    labelled = attacks.assign(setup=attacks["method"] + " " + _joined(attacks, settings), norm=attacks["norm"])
    done = labelled[labelled["error"].isna()]
    keys = ["network", "epsilon", "setup", "images", "device"]
    grouped = done.groupby(keys, dropna=False, sort=False)
    frame = grouped.agg(
        error=("error_rate", "median"), rate=("images_per_s", "median"), time=("total_s", "median")
    ).reset_index()
    frame = frame[["network", "setup", "epsilon", "images", "error", "rate", "time", "device"]]
    frame = frame.rename(columns={"setup": "attack", "error": "error\nrate", "rate": "images\nper s"})
    formats = {"images": count, "error\nrate": percent, "images\nper s": number, "time": seconds}
    note = "error rate: share of the images that are misclassified after the attack; medians over repeats and seeds."
    if len(frame):
        yield Table("Error under attack", frame, EPSILON_FORMAT | formats, (note,))
    failed = labelled[labelled["error"].notna()][["network", "setup", "error"]]
    if len(failed):
        yield Table("Attacks that failed", failed.rename(columns={"setup": "attack"}))


def _tells(values: pd.Series[Any]) -> bool:
    """Whether a setting is worth its space: it differs between rows."""
    return values.nunique(dropna=False) > 1
