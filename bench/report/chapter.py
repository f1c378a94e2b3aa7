"""The values that chapter 4 of Kolter and Madry's tutorial prints, with a run's rows beside them.

J. Z. Kolter and A. Madry, "Adversarial Robustness: Theory and Practice", 2018, https://adversarial-ml-tutorial.org.
The chapter's networks were trained from other random weights than ours: order and size can agree, digits cannot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.report.frame import Run, answers_margins
from bench.report.render import Format, Section, Table, count, number, percent, ratio
from bench.verdict import DONE
from networks.zoo import PUBLISHED_TEST_ERROR

FACTOR = 2.0  # within this factor two values count as of one size
IMAGE = 0  # the first test image, a 7
TARGETS = (0, 1, 2, 3, 4, 5, 6, 8, 9)
UNIT_BOX = "[0, 1]"


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """A published error rate on the 10,000 test images."""

    block: str
    network: str
    error: float
    method: str
    epsilon: float
    clip: str | None  # None: it does not matter
    steps: int | None = None
    step: float | None = None
    restarts: int = 1


@dataclass(frozen=True, slots=True)
class LogitBounds:
    """Published interval bounds of the logits of the first test image: lowest and highest."""

    network: str
    epsilon: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Margins:
    """Published lower bounds on the margins of the first test image, one a target."""

    network: str
    method: str
    epsilon: float
    values: tuple[float, ...]
    targets: tuple[int, ...] = TARGETS


CLEAN, FGSM = "Clean test error", "FGSM, epsilon 0.1, no clip"
PGD_LINF, PGD_L2 = "PGD l-infinity, epsilon 0.1, 40 steps of 0.01, no clip", "PGD l2, epsilon 2, 40 steps of 0.1"

ERROR_RATES = (
    *(ErrorRate(CLEAN, name, error, "fgsm", 0, None) for name, error in PUBLISHED_TEST_ERROR.items()),
    ErrorRate(FGSM, "mnist_dnn_2", 0.9259, "fgsm", 0.1, "none"),
    ErrorRate(FGSM, "mnist_dnn_4", 0.8827, "fgsm", 0.1, "none"),
    ErrorRate(FGSM, "mnist_cnn", 0.4173, "fgsm", 0.1, "none"),
    ErrorRate(PGD_LINF, "mnist_dnn_2", 0.9637, "pgd_linf", 0.1, "none", 40, 0.01),
    ErrorRate(PGD_LINF, "mnist_dnn_4", 0.9838, "pgd_linf", 0.1, "none", 40, 0.01),
    ErrorRate(PGD_LINF, "mnist_cnn", 0.7432, "pgd_linf", 0.1, "none", 40, 0.01),
    ErrorRate(f"{PGD_LINF}, 10 restarts", "mnist_cnn", 0.7648, "pgd_linf", 0.1, "none", 40, 0.01, 10),
    ErrorRate(PGD_L2, "mnist_dnn_2", 0.9232, "pgd_l2", 2, UNIT_BOX, 40, 0.1),
    ErrorRate(PGD_L2, "mnist_dnn_4", 0.9435, "pgd_l2", 2, UNIT_BOX, 40, 0.1),
    ErrorRate(PGD_L2, "mnist_cnn", 0.7854, "pgd_l2", 2, UNIT_BOX, 40, 0.1),
)

LOGIT_BOUNDS = (
    LogitBounds("mnist_cnn", 0.1, -3000, 2900),
    LogitBounds("mnist_dnn_2", 0.1, -32, 32),
    LogitBounds("mnist_dnn_4", 0.1, -233, 231),
)

MARGINS = (
    Margins("mnist_small", "milp", 0.05, (5.81, 10.84, 2.04, 0.02, 13.53, 5.15, 20.45, 3.54, 4.27)),
    Margins("mnist_small", "milp", 0.1, (-2.55, 3.04, -4.97, -7.31, 4.74, -4.87, 7.98, -6.95, -3.31)),
    Margins("mnist_small", "lp", 0.1, (-26.12,), targets=(2,)),
    Margins("mnist_small", "lp", 0.02, (8.68, 12.23, 4.12, 1.86, 16.24, 7.96, 23.46, 6.10, 5.58)),
    Margins("mnist_small", "interval", 0.02, (-7.43, -2.03, -8.32, -15.40, 2.38, -10.80, 5.58, -13.85, -11.28)),
    Margins("mnist_dnn_4", "lp", 0.01, (5.48, 2.20, 0.46, -2.26, 9.81, 1.50, 12.84, -0.39, -1.99)),
)

INTRODUCTION = (
    "Published values are those of chapter 4 of Kolter and Madry, Adversarial Robustness: Theory and Practice. The "
    "networks here were trained by the same recipe from other random weights, so order and size can agree, digits "
    "cannot. [low, high] is what a time limit left open."
)


def chapter_sections(run: Run) -> list[Section]:
    """The chapter's values beside those of `run`; empty where it has none of them."""
    blocks = list(dict.fromkeys(rate.block for rate in ERROR_RATES))
    tables = [
        *(_error_table(run.rows, [rate for rate in ERROR_RATES if rate.block == block]) for block in blocks),
        _logit_table(run.rows),
        *(_margin_table(run, margins) for margins in MARGINS),
    ]
    found = tuple(table for table in tables if table.frame["ours"].ne("-").any())
    if not found:
        return []
    missing = [table.title for table in tables if table not in found]
    lines = (INTRODUCTION, *([f"No rows in this run for: {'; '.join(missing)}."] if missing else []))
    return [Section("The chapter's values beside ours", found, lines)]


def _error_table(rows: pd.DataFrame, rates: Sequence[ErrorRate]) -> Table:
    found = [_attack_row(rows, rate) for rate in rates]
    ours = [math.nan if row is None else float(row["error_rate"]) for row in found]
    published = [rate.error for rate in rates]
    frame = pd.DataFrame(
        {
            "network": [rate.network for rate in rates],
            "chapter": [percent(value) for value in published],
            "ours": ["-" if math.isnan(value) else percent(value) for value in ours],
            "images": [None if row is None else row["images"] for row in found],
            "ours /\nchapter": [own / value for own, value in zip(ours, published, strict=True)],
            "remark": [
                _missing_attack(rows, rate) if row is None else "" for rate, row in zip(rates, found, strict=True)
            ],
        }
    )
    formats: dict[str, Format] = {"chapter": str, "ours": str, "images": count, "ours /\nchapter": ratio}
    return Table(
        rates[0].block, _without_empty(frame, "remark"), formats, notes=_size_checks(published, ours, "error rates")
    )


def _attack_row(rows: pd.DataFrame, rate: ErrorRate) -> pd.Series[Any] | None:
    """The row on most images that asks the same."""
    asked = _same(rows, kind="attack", network=rate.network, method=rate.method, epsilon=rate.epsilon)
    asked = asked[asked["target"].isna() & asked["error_rate"].notna() & (asked["restarts"].fillna(1) == rate.restarts)]
    settings = {"clip": rate.clip, "steps": rate.steps, "step": rate.step}
    asked = _same(asked, **{name: value for name, value in settings.items() if value is not None})
    return None if asked.empty else asked.sort_values("images", ascending=False, kind="stable").iloc[0]


def _missing_attack(rows: pd.DataFrame, rate: ErrorRate) -> str:
    asked = _same(rows, kind="attack", network=rate.network, method=rate.method, epsilon=rate.epsilon)
    ended = asked["error"].where(asked["failed"], asked["reason"]).dropna()
    if len(ended):
        return f"{'failed: ' if asked.loc[ended.index[0], 'failed'] else ''}{ended.iloc[0]}"
    return "no row" if asked.empty else "no row with these settings"


def _logit_table(rows: pd.DataFrame) -> Table:
    found = [_logit_row(rows, bounds) for bounds in LOGIT_BOUNDS]
    ours = [math.nan if row is None else row["counter.logit_upper"] - row["counter.logit_lower"] for row in found]
    published = [bounds.upper - bounds.lower for bounds in LOGIT_BOUNDS]
    frame = pd.DataFrame(
        {
            "network": [bounds.network for bounds in LOGIT_BOUNDS],
            "chapter": [f"about [{bounds.lower:g}, {bounds.upper:g}]" for bounds in LOGIT_BOUNDS],
            "ours": [
                "-" if row is None else _interval(row["counter.logit_lower"], row["counter.logit_upper"])
                for row in found
            ],
            "width, ours /\nchapter": [own / value for own, value in zip(ours, published, strict=True)],
            "remark": ["no row" if row is None else "" for row in found],
        }
    )
    formats: dict[str, Format] = {"chapter": str, "ours": str, "width, ours /\nchapter": ratio}
    checks = _size_checks(published, ours, "widths")
    title = "Interval bounds of the logits, epsilon 0.1, first test image"
    return Table(title, _without_empty(frame, "remark"), formats, notes=checks)


def _logit_row(rows: pd.DataFrame, bounds: LogitBounds) -> pd.Series[Any] | None:
    if "counter.logit_lower" not in rows:
        return None
    asked = _same(rows, network=bounds.network, method="interval", epsilon=bounds.epsilon, image=IMAGE, clip=UNIT_BOX)
    asked = asked[asked["counter.logit_lower"].notna() & asked["counter.logit_upper"].notna()]
    return None if asked.empty else asked.iloc[0]


@dataclass(frozen=True, slots=True)
class Bound:
    """Our answer for one target: the value itself where it is `exact`, else a bracket and how the solve ended."""

    lower: float
    upper: float
    status: str

    @property
    def exact(self) -> bool:
        """Whether `lower` is the method's own value, not what a limit left of it."""
        return self.status in DONE

    @property
    def sign(self) -> int:
        """1 or -1; 0 where the bracket leaves it open."""
        if self.lower > 0:
            return 1
        return -1 if self.exact or self.upper < 0 else 0

    @property
    def text(self) -> str:
        """The value, or the bracket."""
        return f"{self.lower:.2f}" if self.exact else _interval(self.lower, self.upper)


def _margin_table(run: Run, margins: Margins) -> Table:
    found = _bounds(run, margins)
    reason = _missing_margin(run.rows, margins)
    lines = []
    for target, published in zip(margins.targets, margins.values, strict=True):
        line = {"target": target, "chapter": published}
        bound = found.get(target)
        if bound is None:
            lines.append(line | {"ours": "-", "sign": "-", "remark": reason})
        else:
            remark = "" if bound.exact else bound.status.replace("_", " ")
            lines.append(line | {"ours": bound.text, "sign": _compared(published, bound), "remark": remark})
    title = f"Margins by {NAMES[margins.method]}, {margins.network}, epsilon {margins.epsilon:g}, first test image"
    formats: dict[str, Format] = {"target": str, "chapter": lambda value: f"{value:.2f}", "ours": str}
    return Table(title, _without_empty(pd.DataFrame(lines), "remark"), formats, notes=_margin_checks(margins, found))


NAMES = {"milp": "the MILP", "lp": "the LP", "interval": "interval bounds"}


def _bounds(run: Run, margins: Margins) -> dict[int, Bound]:
    """Our best answer for each target that has one: exact before open, then the larger lower bound."""
    asked = _same(run.rows, network=margins.network, method=margins.method, epsilon=margins.epsilon)
    asked = _same(asked[answers_margins(asked)], kind="verify", image=IMAGE, clip=UNIT_BOX)
    lines = run.targets[run.targets["row"].isin(asked.index) & run.targets["lower"].notna()]
    best: dict[int, Bound] = {}
    columns = (lines[name] for name in ("target", "lower", "upper", "status"))
    for target, lower, upper, status in zip(*columns, strict=True):
        bound = Bound(lower, upper, status)
        if target not in best or (bound.exact, bound.lower) > (best[target].exact, best[target].lower):
            best[target] = bound
    return {target: best[target] for target in margins.targets if target in best}


def _missing_margin(rows: pd.DataFrame, margins: Margins) -> str:
    asked = _same(rows, network=margins.network, method=margins.method, epsilon=margins.epsilon, image=IMAGE)
    reasons = asked["reason"].dropna()
    if len(reasons):
        return str(reasons.iloc[0])
    return "no row" if asked.empty else "no row with these settings"


def _compared(published: float, bound: Bound) -> str:
    if bound.sign == 0:
        return "open"
    return "same" if bound.sign * published > 0 else "differs"


def _margin_checks(margins: Margins, found: dict[int, Bound]) -> tuple[str, ...]:
    if not found:
        return ()
    published = dict(zip(margins.targets, margins.values, strict=True))
    signs = {target: bound.sign for target, bound in found.items()}
    same = sum(sign * published[target] > 0 for target, sign in signs.items())
    still_open = sum(sign == 0 for sign in signs.values())
    checks = [f"Check: signs agree for {same} of {len(published)}{f', {still_open} open' if still_open else ''}."]
    if len(signs) == len(TARGETS):
        ours = "no" if -1 in signs.values() else _yes(0 not in signs.values(), otherwise="open")
        checks.append(f"Check: all nine positive: chapter {_yes(min(margins.values) > 0)}, ours {ours}.")
    exact = {target: bound.lower for target, bound in found.items() if bound.exact}
    if len(exact) > 2:
        both = pd.DataFrame({"chapter": pd.Series(published), "ours": pd.Series(exact)}).dropna()
        means = f"{number(both['chapter'].mean())} (chapter), {number(both['ours'].mean())} (ours)"
        agreement = both["chapter"].rank().corr(both["ours"].rank())
        checks.append(f"Check: mean margin {means}; rank correlation of the targets {agreement:.2f}.")
    return tuple(checks)


def _size_checks(published: Sequence[float], ours: Sequence[float], what: str) -> tuple[str, ...]:
    """Whether order and size agree, over those that both have."""
    both = pd.DataFrame({"chapter": published, "ours": ours}).dropna()
    if both.empty:
        return ()
    ratios = both["ours"] / both["chapter"]
    near = int(ratios.between(1 / FACTOR, FACTOR).sum())
    checks = [f"Check: within a factor of {FACTOR:g}: {near} of {len(both)}."]
    if len(both) > 1:
        same = both["chapter"].rank().equals(both["ours"].rank())
        checks.insert(0, f"Check: order of the networks' {what} equal: {_yes(same)}.")
    return tuple(checks)


def _yes(agreed: bool, otherwise: str = "no") -> str:
    return "yes" if agreed else otherwise


def _same(rows: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows with these values; floats up to rounding."""
    for name, value in values.items():
        if isinstance(value, float):
            rows = rows[(rows[name].astype(float) - value).abs() <= 1e-9 * max(1.0, abs(value))]
        else:
            rows = rows[rows[name].eq(value).fillna(False)]
    return rows


def _interval(lower: float, upper: float) -> str:
    return f"[{number(lower)}, {'?' if math.isnan(upper) else number(upper)}]"


def _without_empty(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame if frame[column].any() else frame.drop(columns=column)
