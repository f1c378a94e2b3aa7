"""From pairs of measurements to a decision: is head slower than base by more than a threshold?

A cell's ratio is the median over its pairs of `log(head / base)`. Both measurements of a pair lie next to each other,
so what slows the machine for longer than a pair cancels; what strikes one measurement alone, as another program's
burst does, makes an outlier, which a mean would follow and a median does not. What depends on the place in a round (the
second finds warmer caches) has both signs equally often, as every round has its mirror image in the next.

Over the cells, the estimate is the geometric mean with a bootstrap interval over the cells. The percentile interval of
few values is too narrow: its level is raised so that it is as wide as Student's would be (Hesterberg 2015, "What
teachers should know about the bootstrap": the expanded percentile interval).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bench.pairing.side import Timing
from bench.statistics import CONFIDENCE, Interval, mean_interval

PARTS = ("wall_s", "cpu_s", "bounds_s", "build_s", "solve_s")
LEAST_CELLS = 5  # that all lie above their median happens by chance to one in 32, and to four cells in one of 16
LEAST_PART_S = 1e-3  # of a part in one measurement: below it the ratio is that of two noises


@dataclass(frozen=True, slots=True)
class Pair:
    """Two measurements of one cell, one after the other; seconds are those of one call.

    Attributes
    ----------
    round : int
    head_first : bool
    base, head : Timing
    """

    round: int
    head_first: bool
    base: Timing
    head: Timing

    def seconds(self, part: str) -> tuple[float, float]:
        """Of a part, base's and head's."""
        return getattr(self.base, part), getattr(self.head, part)


class Decision(StrEnum):
    """What the interval says of the threshold."""

    FINE = "fine"
    SLOWER = "slower"
    UNDECIDED = "undecided"


def log_ratio(pairs: Sequence[Pair], calls: int, part: str) -> float:
    """The median over a cell's pairs of `log(head / base)`; NaN where the part is too short to be measured."""
    seconds = np.array([pair.seconds(part) for pair in pairs]).reshape(-1, 2)
    if not len(pairs) or (np.median(seconds, axis=0) * calls).min() < LEAST_PART_S or not (seconds > 0).all():
        return math.nan
    return float(np.median(np.log(seconds[:, 1] / seconds[:, 0])))


def ratio_interval(log_ratios: Iterable[float]) -> tuple[Interval, int]:
    """The geometric mean of ratios, one a cell, with its interval, and over how many cells it is; NaN ones are none."""
    values = np.array([value for value in log_ratios if not math.isnan(value)])
    found = mean_interval(values, confidence=expanded(len(values)))
    return Interval(*(float(np.exp(value)) for value in (found.estimate, found.low, found.high))), len(values)


def expanded(count: int) -> float:
    """The level at which a percentile interval over `count` values is as wide as Student's of 95 %."""
    from scipy.stats import norm, t

    if count < 2:
        return CONFIDENCE
    reach = math.sqrt(count / (count - 1)) * t.ppf((1 + CONFIDENCE) / 2, count - 1)
    return float(1 - 2 * norm.sf(reach))


def decide(interval: Interval, threshold: float) -> Decision:
    """Slower or fine once the whole interval lies on one side of the threshold."""
    if interval.low > threshold:
        return Decision.SLOWER
    return Decision.UNDECIDED if interval.high > threshold else Decision.FINE
