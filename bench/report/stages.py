"""What each stage of staged verification decides, and what it costs."""

from __future__ import annotations

import pandas as pd

from bench.report.frame import BY_STAGE, DECIDED, INSTANCE
from bench.report.instances import EPSILON_HEADER
from bench.report.render import Format, Table, count, plain_number, seconds

STAGES = ("attack", "interval", "linear", "alpha", "lp", "tighten", "milp")  # as they follow each other
GROUP = ["epsilon", "setup", "stage"]
TITLE = "Stages"


def stage_table(labelled: pd.DataFrame, targets: pd.DataFrame, results: pd.DataFrame) -> Table:
    """Targets decided, instances ended and seconds of each stage, for each epsilon and setup."""
    came = _came(labelled)
    if came.empty:
        return Table(TITLE, came)
    decided = _decided(labelled, targets)
    frame = (
        _seconds(came)
        .join(decided.groupby(GROUP).size().rename("targets"))
        .join(_ended(decided, results))
        .fillna({"targets": 0, "verified": 0, "falsified": 0})
    )
    frame["share"] = frame["total"] / results.groupby(["epsilon", "setup"])["total_s"].sum(min_count=1)
    frame = frame.reset_index().sort_values(GROUP, key=_in_order)
    left_out = ["setup"] if frame["setup"].nunique() == 1 else []
    shown = frame[list(HEADERS)].drop(columns=left_out).rename(columns=HEADERS)
    return Table(TITLE, shown, FORMATS, STAGE_TERMS, grouped=EPSILON_HEADER)


def whole_percent(value: float) -> str:
    """A share in per cent without digits behind the point."""
    return f"{100 * value:.0f} %"


HEADERS = {
    "epsilon": EPSILON_HEADER,
    "setup": "method",
    "stage": "stage",
    "n": "n",
    "targets": "tar-\ngets",
    "verified": "veri-\nfied",
    "falsified": "falsi-\nfied",
    "median": "median\ntime",
    "total": "total\ntime",
    "share": "share",
}
FORMATS: dict[str, Format] = {
    EPSILON_HEADER: plain_number,
    **dict.fromkeys(["n", "tar-\ngets", "veri-\nfied", "falsi-\nfied"], count),
    **dict.fromkeys(["median\ntime", "total\ntime"], seconds),
    "share": whole_percent,
}
STAGE_TERMS = (
    "n: instances that came to the stage. targets: those that it decided; with several repeats, those that no repeat "
    "left to a later stage.",
    "verified, falsified: instances with that verdict of which no target was decided further down. The lp stage comes "
    "again after tighten: both are one line.",
    "time: of the stage, over the instances that came to it; medians over repeats. share: of the total time of the "
    "epsilon, what lies outside of all stages included.",
)


def _came(labelled: pd.DataFrame) -> pd.DataFrame:
    """One line an instance, setup and stage that it came to, with the stage's median seconds over repeats."""
    columns = [name for name in labelled if str(name).startswith(BY_STAGE)]
    keys = [*INSTANCE, "epsilon", "setup"]
    staged = labelled[labelled[columns].notna().any(axis=1)]
    spent = staged.melt(keys, columns, var_name="stage", value_name="spent_s").dropna(subset="spent_s")
    spent["stage"] = spent["stage"].str.removeprefix(BY_STAGE)
    return spent.groupby([*keys, "stage"], dropna=False)["spent_s"].median().reset_index()


def _seconds(came: pd.DataFrame) -> pd.DataFrame:
    spent = came.groupby(GROUP)["spent_s"]
    return pd.DataFrame({"n": spent.size(), "median": spent.median(), "total": spent.sum()})


def _decided(labelled: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """One line an instance, setup and target that a stage decided, with the latest such stage of all repeats."""
    decided = targets[targets["stage"].ne("")]
    lines = decided.assign(stage=decided["stage"].astype(str)).join(
        labelled[["epsilon", "setup"]], on="row", how="inner"
    )
    ranked = lines.assign(rank=lines["stage"].map({stage: _rank(stage) for stage in lines["stage"].unique()}))
    return _latest(ranked, [*INSTANCE, "epsilon", "setup", "target"])


def _ended(decided: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Instances by the last stage that decided one of their targets, and by verdict."""
    keys = [*INSTANCE, "epsilon", "setup"]
    last = _latest(decided, keys).merge(results[[*keys, "outcome"]], on=keys)
    counts = last.groupby([*GROUP, "outcome"]).size().unstack("outcome", fill_value=0)
    return counts.reindex(columns=list(DECIDED), fill_value=0)


def _latest(ranked: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return ranked.sort_values("rank", kind="stable").groupby(keys, dropna=False).last().reset_index()


def _rank(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


def _in_order(column: pd.Series) -> pd.Series:
    return column.map(_rank) if column.name == "stage" else column
