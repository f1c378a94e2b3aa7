"""A comparison as sections: made once, shown in a terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from bench.compare.comparison import Comparison, Excluded, Finding, Lane, Level, Ratio
from bench.report.render import Section, Table, count, ratio

SHOWN = 20  # findings of one level in a terminal; `--json` has all
GATES = {True: "blocks", False: "shown only"}
HEADINGS = {Level.FAILURE: "Failures", Level.WARNING: "Warnings", Level.NOTICE: "Changes that block nothing"}
RATIO_TERMS = {
    False: "HEAD / BASE: the geometric mean over the instances. Held to each count where the same program on the same "
    "kind of machine repeats each step, else to that mean.",
    True: "HEAD / BASE: the geometric mean over the instances, with its 95 % bootstrap interval. Two runs at two times "
    "differ in more than the program: `relubench pair` measures what may gate.",
}


def summary_section(comparison: Comparison) -> Section:
    """One line a lane, and what the notes say."""
    lines = [
        (lane.name, GATES[bool(lane.code)], lane.cells, lane.values, *_levels(lane), _excluded_cells(lane))
        for lane in comparison.lanes
    ]
    columns = ["lane", "gate", "cells", "values", "fail-\nures", "warn-\nings", "notices", "not com-\npared"]
    frame = pd.DataFrame(lines, columns=columns)
    formats = dict.fromkeys(columns[2:], count)
    terms = ("cells, values: how many were compared; not compared: cells with a value that could not be.",)
    told = (f"BASE: {comparison.base}", f"HEAD: {comparison.head}", *comparison.notes)
    return Section(
        f"{comparison.verdict[0].upper()}{comparison.verdict[1:]}",
        tables=(Table("Lanes", frame, formats, terms),),
        lines=told,
    )


def finding_sections(comparison: Comparison, level: Level, most: int = SHOWN) -> list[Section]:
    """The findings of one level, at most so many, with how many more there are; empty where there are none."""
    found = [(lane.name, finding) for lane in comparison.lanes for finding in lane.at(level)]
    if not found:
        return []
    return [Section(HEADINGS[level], tables=(_finding_table(found[:most], len(found) - most),))]


def detail_sections(comparison: Comparison, most: int = SHOWN) -> list[Section]:
    """How the work and the times compare, and what could not be compared, by its first reasons."""
    tables = [_ratio_table(lane) for lane in comparison.lanes if lane.ratios]
    excluded = [item for lane in comparison.lanes for item in lane.excluded]
    sections = [Section("Work and times", tables=tuple(tables))] if tables else []
    return sections + ([Section("Not compared", tables=(_excluded_table(excluded, most),))] if excluded else [])


def _levels(lane: Lane) -> tuple[int, ...]:
    return tuple(len(lane.at(level)) for level in Level)


def _excluded_cells(lane: Lane) -> int:
    return len({item.where for item in lane.excluded})


def _finding_table(found: Sequence[tuple[str, Finding]], more: int) -> Table:
    lines = [
        (lane, item.where, item.what.replace("_", " "), item.base, item.head, item.message) for lane, item in found
    ]
    frame = pd.DataFrame(lines, columns=["lane", "cell", "what", "BASE", "HEAD", "that is"])
    notes = (f"And {more:,} more, which `--json` has.",) if more > 0 else ()
    return Table("By cell", frame, notes=notes, grouped="lane")


def _ratio_table(lane: Lane) -> Table:
    lines = [
        (
            item.setup,
            item.what.replace("_", " "),
            item.count,
            item.more,
            item.fewer,
            item.estimate,
            _interval(item),
            _held(lane, item),
        )
        for item in lane.ratios
    ]
    of_work = bool(lane.code) and not lane.terms
    more = ("more", "fewer") if of_work else ("slower", "faster")
    columns = ["setup", "what", "cells", *more, "HEAD /\nBASE", "95 %", "held to"]
    frame = pd.DataFrame(lines, columns=columns).dropna(axis="columns", how="all")
    formats = dict.fromkeys(columns[2:5], count) | {columns[5]: ratio}
    return Table(lane.name.capitalize(), frame, formats, (lane.terms or RATIO_TERMS[not lane.code],), grouped="setup")


def _interval(item: Ratio) -> str | None:
    if math.isnan(item.low):
        return None
    if math.isinf(item.high):
        return "too few"
    return f"{ratio(item.low)} to {ratio(item.high)}"


def _held(lane: Lane, item: Ratio) -> str | None:
    if not lane.code or lane.terms:
        return None
    return "each count" if item.exact else "the mean"


def _excluded_table(excluded: Iterable[Excluded], most: int) -> Table:
    """One line a reason: what of how many cells, and the first of them."""
    lines = [(item.reason, item.what, item.where) for item in excluded]
    grouped = pd.DataFrame(lines, columns=["reason", "what", "cell"]).groupby("reason", sort=False)
    table = grouped.agg(cells=("cell", "nunique"), what=("what", _listed), first=("cell", "first")).reset_index()
    notes = (f"And {len(table) - most:,} more reasons, which `--json` has.",) if len(table) > most else ()
    shown = table.rename(columns={"first": "the first of them"}).head(most)
    return Table("By reason", shown, {"cells": count}, notes=notes)


def _listed(words: pd.Series[str]) -> str:
    return ", ".join(words.drop_duplicates()).replace("_", " ")
