"""What a table calls a row: its method and those settings that differ; the others are said once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from bench.choices import SWITCHES

METHOD_ORDER = ("interval", "dual", "linear", "alpha", "lp", "milp", "staged")  # by tightness, as a rule
USUAL = {name: values[0] for name, values in SWITCHES.items()}
# What tells two setups of one method apart, and how it is written. The first group only means something with a solver.
OF_SOLVER = {
    "solver": " {}",
    "solver_version": " {}",
    **{name: f", {name} {{}}" for name in SWITCHES},
    "formulation": ", {}",
    "threads": ", threads {}",
    "time_limit_s": ", time limit {:g} s",
    "node_limit": ", node limit {:,.0f}",
    "mip_gap": ", MIP gap {:g}",
}
SETTINGS = {name: OF_SOLVER[name] for name in ("threads", "time_limit_s", "node_limit", "mip_gap")} | {
    name: f", {name} {{}}" for name in SWITCHES
}
SEPARATORS = " ,"  # with which a pattern begins
OF_RUN = {"run": ", run {}"}
OF_ALL = {"clip": ", clip {}", "device": ", device {}"}


def with_setup(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with `variant`, the solver's settings that differ in a method, and `setup`: method, variant and the rest.

    A switch at its usual value goes without saying: `settings_lines` says what is usual. Runs of one suite are told
    apart, which makes them setups to compare; runs of different suites add up.
    """
    parts = [_variants(part) for _, part in rows[["method", *OF_SOLVER]].groupby("method", observed=True)]
    told = {name: pattern for name, pattern in OF_ALL.items() if _differs(rows, name)}
    repeated = bool(rows.groupby("suite", observed=True)["run"].nunique().gt(1).any())
    rest = joined(rows, told | (OF_RUN if repeated else {}))
    variant = pd.concat(parts).reindex(rows.index)
    return rows.assign(setup=rows["method"] + variant + rest, variant=variant.str.strip(SEPARATORS))


def _variants(rows: pd.DataFrame) -> pd.Series[str]:
    """What of the settings differs between the rows of one method; empty without a solver."""
    patterns = {name: pattern for name, pattern in OF_SOLVER.items() if _differs(rows, name)}
    common = _common_limit(rows)
    usual: dict[str, Any] = {**USUAL, **common}
    limits = rows["time_limit_s"].fillna(math.inf) if common else rows["time_limit_s"]  # what has none says so then
    given = rows.assign(time_limit_s=limits)
    said = given.assign(**{name: given[name].where(given[name] != value) for name, value in usual.items()})
    return joined(said, patterns).where(rows["solver"].notna(), "")


def _common_limit(rows: pd.DataFrame) -> dict[str, Any]:
    """The time limit that more than half of the rows have: like a switch's usual value it goes without saying."""
    shares = rows["time_limit_s"].value_counts(normalize=True, dropna=False)
    common = len(shares) > 1 and shares.iloc[0] > 0.5 and pd.notna(shares.index[0])
    return {"time_limit_s": shares.index[0]} if common else {}


def _differs(rows: pd.DataFrame, name: str) -> bool:
    if name == "solver_version":  # of course it differs between solvers
        return bool(rows.groupby("solver")[name].nunique(dropna=False).gt(1).any())
    return rows[name].nunique(dropna=name in SWITCHES) > 1  # a switch is missing where it means nothing


def _bare(text: str) -> str:
    """A pattern's text without the separator that it begins with."""
    return text.strip(SEPARATORS)


def settings_lines(rows: pd.DataFrame) -> list[str]:
    """What the labels leave out: a line for each set of settings of methods, and one with what all rows share."""
    methods_with: dict[str, list[str]] = {}
    for method in sorted(rows.loc[rows["solver"].notna(), "method"].unique(), key=method_rank):
        part = rows[rows["method"] == method]
        settings = ", ".join([*_solver_names(part), *constants(part, SETTINGS)]) + _usual(part)
        methods_with.setdefault(settings, []).append(method)
    everywhere = ", ".join(constants(rows, OF_ALL))
    lines = [f"{', '.join(methods)}: {settings}." for settings, methods in methods_with.items()]
    return [*lines, f"All rows: {everywhere}."] if everywhere else lines


def _solver_names(rows: pd.DataFrame) -> list[str]:
    """Each solver with the versions of it that were used."""
    return [
        " ".join([str(solver), *part.dropna().unique()]) for solver, part in rows.groupby("solver")["solver_version"]
    ]


def _usual(rows: pd.DataFrame) -> str:
    """What a label means that says nothing of a switch that differs; empty where every label does."""
    silent = [f"{name} {value}" for name, value in USUAL.items() if _differs(rows, name) and rows[name].eq(value).any()]
    silent += [_bare(SETTINGS[name].format(value)) for name, value in _common_limit(rows).items()]
    return f"; unless said otherwise {', '.join(silent)}" if silent else ""


def constants(rows: pd.DataFrame, patterns: dict[str, str]) -> list[str]:
    """The settings that have one value in all rows, in words."""
    values = {name: rows[name].dropna().unique() for name in patterns if not _differs(rows, name)}
    return [_bare(patterns[name].format(value[0])) for name, value in values.items() if len(value)]


def joined(rows: pd.DataFrame, patterns: dict[str, str]) -> pd.Series[str]:
    """The columns' values written by their patterns one behind the other, missing values left out."""
    text = np.full(len(rows), "", dtype=object)
    for name, pattern in patterns.items():
        codes, values = pd.factorize(rows[name])
        written = [pattern.format(value) for value in values]
        text += np.array([*written, ""], dtype=object)[codes]  # the code of what is missing is -1
    said = pd.Series(text, index=rows.index, dtype=str)
    return said.str.replace("clip none", "no clip").str.replace("time limit inf s", "no time limit")


def method_rank(method: Any) -> tuple[int, str]:
    """Sorts methods by tightness, unknown ones behind by name."""
    return (METHOD_ORDER.index(method) if method in METHOD_ORDER else len(METHOD_ORDER), method)
