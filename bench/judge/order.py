r"""Relaxations in order, and solvers in agreement.

A relaxation that contains another has a minimum that is no larger. What holds by construction, with `LP(B)` the
relaxation made from the pre-activation bounds B:

- interval <= linear, dual, alpha: none is anywhere wider than the intervals of the layer before (`networks.bounds`);
- linear <= LP(linear), alpha <= LP(alpha), interval <= LP(B): bounds by lines are feasible points of the dual of the LP
  made from the same bounds, and what an LP's neurons reach lies within these;
- LP(interval) <= LP(linear) <= LP(lp), LP(interval) <= LP(alpha): narrower bounds make narrower triangles, as long as
  the LP's own neurons reach no further. Bounds by MILPs may cut off more than that and settle a neuron that the LP lets
  have either sign: LP(milp) is above none of the others for certain;
- everything <= MILP: it is exact, whatever the bounds that it was made from.

Neither of linear, alpha and dual contains another, as each has bounds of its own on the layers before.

The lower value may be of a search that was cut off, any lower bound will do; the upper one must be the whole optimum.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.judge.conflict import Claim, Conflict, Result, Trust
from bench.judge.facts import AGREEMENT, ANY, SET, Facts, lines_of
from bench.verdict import DONE

MILP = "milp"
ABOVE = {  # each relaxation with those whose optimum is at least as large; the MILP, above all of them, is left out
    "interval": ("linear", "dual", "alpha", "lp interval", "lp linear", "lp alpha", "lp lp"),
    "linear": ("lp linear", "lp lp"),
    "alpha": ("lp alpha",),
    "dual": (),
    "lp interval": ("lp interval", "lp linear", "lp alpha", "lp lp"),
    "lp linear": ("lp linear", "lp lp"),
    "lp alpha": (),
    "lp lp": (),
    "lp milp": (),
    MILP: (),
}
ALIKE = ("lp interval", "lp linear", MILP)  # one model, or one optimum, whoever makes it: solvers must agree
ROUNDING = 1e-9  # share of a margin, or of one: rigorous bounds differ in what they lose to rounding
MARGIN = ["question", *SET]
OPTIMUM = [*MARGIN, "target"]
PART = ["row", "node", *OPTIMUM, "value", "slack", "proved"]


def order(facts: Facts) -> Result:
    """Every lower bound against the optima of the relaxations that its own contains."""
    edges = [(node, above) for node, contained in ABOVE.items() for above in (*contained, MILP)]
    lines = _noded(facts)
    lows = lines.assign(value=lines["lower"], proved=lines["safety"] == 0)[PART].dropna(subset="value")
    return _compare(lows, _optima(lines), edges, "lower bound", "above the optimum of a tighter relaxation")


def agreement(facts: Facts) -> Result:
    """Optima of one model by different solvers, of an LP whose bounds anyone makes alike, or of a MILP."""
    optima = _optima(_noded(facts))
    return _compare(optima, optima, [(node, node) for node in ALIKE], "optimum", "solvers disagree on an optimum")


def _noded(facts: Facts) -> pd.DataFrame:
    """The lines that answer margins, each with its relaxation, the solver's word, and by how much that may be off.

    A query `maximum` answers the least margin of all targets alone: so do then the other rows, by their least one.
    """
    lines = facts.owed
    size = lines["lower"].abs().clip(lower=1.0)
    solver_slack = AGREEMENT + lines["mip_gap"].fillna(0.0) * lines["method"].eq(MILP)
    lines = lines.assign(
        node=lines["method"].where(lines["method"] != "lp", "lp " + lines["bounds_used"].fillna("unknown")),
        word=lines["claimed"].fillna(lines["lower"]),
        whole=lines["status"].isin(DONE),
        slack=lines["safety"] + size * solver_slack.where(lines["by_solver"], ROUNDING),
    )
    return pd.concat([lines[lines["query"] != "maximum"], _least(lines)], ignore_index=True)


def _least(lines: pd.DataFrame) -> pd.DataFrame:
    """One line a row with its least margin, where a row of the same margins has no other."""
    least_only = lines["query"].eq("maximum").groupby([lines[name] for name in MARGIN]).transform("any")
    asked = lines[least_only & lines["complete"]]
    whole = asked["whole"].groupby(asked["row"]).transform("all") & asked["word"].notna()
    ordered = asked.assign(whole=whole, target=ANY).sort_values("word", na_position="first", kind="stable")
    return ordered.drop_duplicates("row")


def _optima(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines that have the whole optimum of their relaxation."""
    return lines[lines["whole"]].assign(value=lines["word"], proved=False)[PART].dropna(subset="value")


def _compare(lows: pd.DataFrame, highs: pd.DataFrame, edges: list[tuple[str, str]], said: str, message: str) -> Result:
    """Values that must not be larger than others, by more than both may be off."""
    lowest = _extreme(lows.assign(least=lows["value"] - lows["slack"]), "least", "max")
    highest = _extreme(highs.assign(most=highs["value"] + highs["slack"]), "most", "min")
    pairs_of_nodes = pd.DataFrame(edges, columns=["node", "above"])
    compared = lowest.merge(pairs_of_nodes, on="node").merge(
        highest.rename(columns={"node": "above"}), on=[*OPTIMUM, "above"]
    )
    alone = compared["node"].eq(compared["above"]) & compared[["rows_x", "rows_y"]].max(axis=1).eq(1)
    compared = compared[~alone]
    wrong = compared.loc[compared["least"] > compared["most"], [*OPTIMUM, "node", "above"]]
    pairs = lows.merge(wrong, on=[*OPTIMUM, "node"]).merge(
        highs, left_on=[*OPTIMUM, "above"], right_on=[*OPTIMUM, "node"], suffixes=("", "_above")
    )
    tolerance = pairs["slack"] + pairs["slack_above"]
    too_large = (pairs["value"] > pairs["value_above"] + tolerance) & (pairs["row"] != pairs["row_above"])
    pairs = pairs.assign(tolerance=tolerance)[too_large]
    return Result(len(compared), [_conflict(line, said, message) for line in lines_of(pairs)])


def _extreme(lines: pd.DataFrame, name: str, how: str) -> pd.DataFrame:
    grouped = lines.groupby([*OPTIMUM, "node"])
    return grouped.agg(**{name: (name, how), "rows": ("row", "nunique")}).reset_index()


def _conflict(line: Any, said: str, message: str) -> Conflict:
    low = Claim(line.row, said, line.value, Trust.PROOF if line.proved else Trust.WORD)
    high = Claim(line.row_above, "optimum", line.value_above)
    return Conflict(message, (low, high), None if line.target == ANY else int(line.target), line.tolerance)
