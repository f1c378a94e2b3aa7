"""What a table calls a row: its method and those settings that differ; the others are said once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from bench.choices import SWITCHES
from bench.row import HARD_LIMITS, LIMITS, SETUP

METHOD_ORDER = ("interval", "dual", "linear", "alpha", "lp", "milp", "staged")  # by tightness, as a rule
USUAL = {name: values[0] for name, values in SWITCHES.items()}
# How what tells two setups of one method apart is written, where it is not simply the field's name and value.
WRITTEN = {
    "solver_version": " {}",
    "formulation": ", {}",
    "time_limit_s": ", time limit {:g} s",
    "node_limit": ", node limit {:,.0f}",
    "mip_gap": ", MIP gap {:g}",
    "hard_limit_s": ", killed after {:g} s",
    "memory_limit_mb": ", memory limit {:,.0f} MB",
}
PATTERNS = {name: WRITTEN.get(name, f", {name.replace('_', ' ')} {{}}") for name in SETUP}
OF_ALL = {"clip": ", clip {}", "device": PATTERNS["device"]}
OF_QUESTION = {"dataset": ", {}", "norm": ", {}"}  # of rows of one table they hardly ever differ
OF_METHOD = {"solver": " {}"} | {name: pattern for name, pattern in PATTERNS.items() if name not in OF_ALL}
SETTINGS = {name: pattern for name, pattern in OF_METHOD.items() if name not in ("solver", "solver_version", *SWITCHES)}
SETTINGS |= {name: f", {name} {{}}" for name in SWITCHES}
SEPARATORS = " ,"  # with which a pattern begins
OF_RUN = {"run": ", run {}"}
MISSING_MEANS_NONE = (*LIMITS, *HARD_LIMITS)  # else a missing value was not said, or means nothing to the row


def with_setup(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with `variant`, the settings that differ in a method, and `setup`: method, variant and the rest.

    A switch at its usual value goes without saying: `settings_lines` says what is usual. Runs of one suite are told
    apart, which makes them setups to compare; runs of different suites add up.
    """
    rows = rows.assign(**_hard_limits(rows))
    parts = [_variants(part) for _, part in rows[["method", *OF_METHOD]].groupby("method", observed=True)]
    told = {name: pattern for name, pattern in (OF_ALL | OF_QUESTION).items() if differs(rows, name)}
    repeated = bool(rows.groupby("suite", observed=True)["run"].nunique().gt(1).any())
    rest = joined(rows, told | (OF_RUN if repeated else {}))
    variant = pd.concat(parts).reindex(rows.index)
    return rows.assign(setup=rows["method"] + variant + rest, variant=variant.str.strip(SEPARATORS))


def _hard_limits(rows: pd.DataFrame) -> dict[str, Any]:
    """The limits past which cells were killed, where they explain anything.

    That on time does where a cell has no other limit on time, which is lower; that on memory, which each machine has
    another of, where a cell has met it.
    """
    met = rows["reason"].eq("memory limit").any()
    return {
        "hard_limit_s": rows["hard_limit_s"].where(rows["time_limit_s"].isna()),
        "memory_limit_mb": rows["memory_limit_mb"] if met else np.nan,
    }


def _variants(rows: pd.DataFrame) -> pd.Series[str]:
    """What of the settings differs between the rows of one method."""
    patterns = {name: pattern for name, pattern in OF_METHOD.items() if differs(rows, name)}
    common = _common_limit(rows)
    usual: dict[str, Any] = {**USUAL, **common}
    limits = rows["time_limit_s"].fillna(math.inf) if common else rows["time_limit_s"]  # what has none says so then
    given = rows.assign(time_limit_s=limits)
    said = given.assign(**{name: given[name].where(given[name] != value) for name, value in usual.items()})
    return joined(said, patterns)


def _common_limit(rows: pd.DataFrame) -> dict[str, Any]:
    """The time limit that more than half of the rows have: like a switch's usual value it goes without saying."""
    shares = rows["time_limit_s"].value_counts(normalize=True, dropna=False)
    common = len(shares) > 1 and shares.iloc[0] > 0.5 and pd.notna(shares.index[0])
    return {"time_limit_s": shares.index[0]} if common else {}


def differs(rows: pd.DataFrame, name: str) -> bool:
    """Whether rows differ in a setting."""
    if name == "solver_version":  # of course it differs between solvers
        return bool(rows.groupby("solver", observed=True)[name].nunique().gt(1).any())
    return bool(rows[name].nunique(dropna=name not in MISSING_MEANS_NONE) > 1)


def _bare(text: str) -> str:
    """A pattern's text without the separator that it begins with."""
    return text.strip(SEPARATORS)


def settings_lines(rows: pd.DataFrame) -> list[str]:
    """What the labels leave out: a line for each set of settings of methods, and one with what all rows share."""
    methods_with: dict[str, list[str]] = {}
    limited = rows[["solver", "time_limit_s", "node_limit"]].notna().any(axis=1)
    for method in sorted(rows.loc[limited, "method"].unique(), key=method_rank):
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
    silent = [f"{name} {value}" for name, value in USUAL.items() if differs(rows, name) and rows[name].eq(value).any()]
    silent += [_bare(SETTINGS[name].format(value)) for name, value in _common_limit(rows).items()]
    return f"; unless said otherwise {', '.join(silent)}" if silent else ""


def constants(rows: pd.DataFrame, patterns: dict[str, str]) -> list[str]:
    """The settings that have one value in all rows, in words."""
    values = {name: rows[name].dropna().unique() for name in patterns if not differs(rows, name)}
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
