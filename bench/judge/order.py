r"""Relaxations in order, and solvers in agreement.

A relaxation that contains another has a minimum that is no larger. What holds by construction, with `LP(B)` the
relaxation made from the pre-activation bounds B:

- interval <= linear, dual, alpha: none is anywhere wider than the intervals of the layer before (`networks.bounds`);
- linear <= LP(linear), alpha <= LP(alpha), interval <= LP(B): bounds by lines are feasible points of the dual of the LP
  made from the same bounds, and what an LP's neurons reach lies within these;
- LP(interval) <= LP(linear) <= LP(lp), LP(interval) <= LP(alpha): narrower bounds make narrower triangles, as long as
  the LP's own neurons reach no further. Bounds by MILPs may cut off more than that and settle a neuron that the LP lets
  have either sign: LP(milp) is above none of the others for certain;
- everything <= MILP: it is exact, whatever the bounds that it was made from. So is what is proven in any other way, are
  the bounds of a search for a verdict, and those of methods that are not known here ("other").

Neither of linear, alpha and dual contains another, as each has bounds of its own on the layers before.

The lower value may be of a search that was cut off, any lower bound will do; the upper one must be the whole optimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.judge.conflict import Claim, Conflict, Result, Trust
from bench.judge.facts import AGREEMENT, ANY, Facts, lines_of
from bench.verdict import DONE

MILP, OTHER = "milp", "other"
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
    OTHER: (),
}
PLACES = {node: place for place, node in enumerate(ABOVE)}
ALIKE = ("lp interval", "lp linear", MILP)  # one model, or one optimum, whoever makes it: solvers must agree
ROUNDING = 1e-9  # share of a margin, or of the scale: rigorous bounds differ in what they lose to rounding


def order(facts: Facts) -> Result:
    """Every lower bound against the optima of the relaxations that its own contains."""
    edges = [(node, above) for node, contained in ABOVE.items() for above in (*contained, MILP)]
    lines = _noded(facts)
    return _compare(facts, lines, _optima(lines), edges, "lower bound", "above the optimum of a tighter relaxation")


def agreement(facts: Facts) -> Result:
    """Optima of one model by different solvers, of an LP whose bounds anyone makes alike, or of a MILP."""
    optima = _optima(_noded(facts))
    edges = [(node, node) for node in ALIKE]
    return _compare(facts, optima, optima, edges, "optimum", "solvers disagree on an optimum")


def _noded(facts: Facts) -> pd.DataFrame:
    """The lines with bounds, each with its relaxation, the solver's word, and by how much that may be off.

    What is certified has a line of its own where it may say more. A query `maximum` answers the least margin of all
    targets alone: so do then the other rows, by their least one.
    """
    rows, told = facts.rows, facts.lines[facts.where(facts.rows["ball"].notna())]  # nothing lies inside another ball
    row = told["row"].to_numpy()
    share = np.where(rows["by_solver"], AGREEMENT + rows["mip_gap"].fillna(0.0) * rows["method"].eq(MILP), ROUNDING)
    # A MILP's bound without a safety is not its solver's, and how far that one's word may be off is not told.
    of_milp = rows["method"].eq(MILP).to_numpy()[row]
    spoken = rows["owes_margins"].to_numpy(dtype=bool)[row] & ~(of_milp & told["safety"].eq(0).to_numpy())
    lines = pd.DataFrame(
        {
            "row": row,
            "margin": told["margin"],
            "node": _nodes(rows)[row],
            "value": told["lower"],
            "word": told["claimed"].fillna(told["lower"]),
            "whole": told["status"].isin(DONE) & spoken,
            "proved": told["proved"],
            "slack": told["safety"] + facts.slack(told, share[row]),
        },
        copy=False,
    )
    more = (told["certified"].notna() & ~(told["certified"] <= lines["value"])).to_numpy()
    proven = lines[more].assign(value=told["certified"][more], node=PLACES[OTHER], whole=False, proved=True, slack=0.0)
    maxima = rows["query"].eq("maximum").to_numpy(dtype=bool, na_value=False)[row]
    least = [_least(lines, maxima, rows)] if maxima.any() else []
    both: pd.DataFrame = pd.concat([lines[~maxima], proven, *least], ignore_index=True)
    return both


def _nodes(rows: pd.DataFrame) -> NDArray[np.int8]:
    """Each row's relaxation, as its place in ABOVE."""
    of_lp = "lp " + rows["bounds_used"].astype(object).fillna("unknown")
    names = rows["method"].astype(object).where(rows["method"] != "lp", of_lp)
    return np.asarray(names.where(rows["owes_margins"], OTHER).map(PLACES).fillna(PLACES[OTHER]), dtype=np.int8)


def _least(lines: pd.DataFrame, of_maxima: NDArray[np.bool_], rows: pd.DataFrame) -> pd.DataFrame:
    """One line a row with its least margin, where a row of the same margins has no other."""
    row = lines["row"].to_numpy()
    least, complete = rows["least"].to_numpy()[row], rows["complete"].to_numpy()[row]
    asked = lines[np.isin(least, np.unique(least[of_maxima])) & complete]
    by_row = asked.groupby("row")
    whole = by_row["whole"].transform("all") & asked["word"].notna()
    # What is proven of a target may be above the one word on all of them: the row's least bound is its own least.
    value = (
        by_row["value"].transform("min").where(by_row["value"].transform("count") == by_row["value"].transform("size"))
    )
    ordered = asked.assign(whole=whole, value=value, proved=by_row["proved"].transform("all"))
    firsts: pd.DataFrame = ordered.sort_values("word", na_position="first", kind="stable").drop_duplicates("row")
    return firsts.assign(margin=rows["least"].to_numpy()[firsts["row"].to_numpy()])


def _optima(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines that have the whole optimum of their relaxation."""
    whole = lines[lines["whole"]]
    return whole.assign(value=whole["word"], proved=False)


def _compare(
    facts: Facts, lows: pd.DataFrame, highs: pd.DataFrame, edges: list[tuple[str, str]], said: str, message: str
) -> Result:
    """Values that must not be larger than others, by more than both may be off."""
    lowest = _extremes(lows, lows["value"] - lows["slack"], np.maximum, len(facts.margins))
    highest = _extremes(highs, highs["value"] + highs["slack"], np.minimum, len(facts.margins))
    tested, conflicts = 0, []
    for node, above in edges:
        (least, rows), (most, rows_above) = lowest[node], highest[above]
        both = (rows > 0) & (rows_above > 0)
        if node == above:  # nobody is held against himself
            both &= np.maximum(rows, rows_above) > 1
        tested += int(both.sum())
        pairs = _pairs(lows, highs, node, above, np.flatnonzero(both & (least > most)))
        conflicts += [_conflict(facts, line, said, message) for line in lines_of(pairs)]
    return Result(tested, conflicts)


def _extremes(
    lines: pd.DataFrame, values: pd.Series[float], better: np.ufunc, count: int
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """For each relaxation the extreme of the values, and how many there are, for each of `count` margins."""
    known = values.notna().to_numpy() & lines["value"].notna().to_numpy()
    node, margin, value = lines["node"].to_numpy(), lines["margin"].to_numpy(), values.to_numpy()
    extremes = {}
    for name, place in PLACES.items():
        of_node = known & (node == place)
        extreme = np.full(count, -np.inf if better is np.maximum else np.inf)
        better.at(extreme, margin[of_node], value[of_node])
        extremes[name] = extreme, np.bincount(margin[of_node], minlength=count)
    return extremes


def _pairs(lows: pd.DataFrame, highs: pd.DataFrame, node: str, above: str, margins: Any) -> pd.DataFrame:
    """The lines of two relaxations that do not fit each other, of the margins where some do not."""
    if not len(margins):
        return lows[:0]
    low = lows[(lows["node"] == PLACES[node]) & lows["margin"].isin(margins)]
    high = highs[(highs["node"] == PLACES[above]) & highs["margin"].isin(margins)]
    pairs = low.merge(high, on="margin", suffixes=("", "_above"))
    pairs = pairs.assign(tolerance=pairs["slack"] + pairs["slack_above"])
    too_large = pairs["value"] > pairs["value_above"] + pairs["tolerance"]
    return pairs[too_large & (pairs["row"] != pairs["row_above"])]


def _conflict(facts: Facts, line: Any, said: str, message: str) -> Conflict:
    low = Claim(line.row, said, line.value, Trust.PROOF if line.proved else Trust.WORD)
    high = Claim(line.row_above, "optimum", line.value_above)
    target = int(facts.margins["target"][line.margin])
    return Conflict(message, (low, high), None if target == ANY else target, line.tolerance)
