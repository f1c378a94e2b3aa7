"""Statistics over instances, for reports and gates alike: what SciPy has is SciPy's.

Seconds stand in arrays with a line an instance and a column a competitor. NaN is an instance that was not solved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 9_999
MANY = 1_000  # values of which the bootstrap's interval and Student's are the same to some per cent of their width
PENALTY = 2.0  # time limits that an unsolved instance counts for: PAR2
SHIFT_S = 10.0  # of geometric means: what is far below it counts for little
TIE = 0.01  # share by which two times may differ and still be a tie: repeats of one measurement differ by more


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval."""

    estimate: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the interval holds a value."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, eq=False)
class VirtualBest:
    """A portfolio that takes for every instance the fastest competitor.

    Attributes
    ----------
    seconds : ndarray, shape (n,), float
        NaN where nobody solved the instance.
    shares : ndarray, shape (k,), float
        For each competitor the share of the solved instances on which it is the fastest. Those that tie have equal
        parts of an instance, so that the shares sum to one.
    ties : int
        Instances with more than one fastest competitor.
    """

    seconds: Floats
    shares: Floats
    ties: int


@dataclass(frozen=True, slots=True)
class Duel:
    """Two competitors on the same instances.

    Attributes
    ----------
    wins, losses, ties : int
        Of the first one. What only one of them solved is won by it; what neither solved is none of these.
    p_value : float
        Of the two-sided sign test on wins and losses: how likely a split as uneven as this is where neither is faster.
        NaN without wins and losses.
    """

    wins: int
    losses: int
    ties: int
    p_value: float


def mean_interval(
    values: ArrayLike, *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The mean of one value an instance, with a bootstrap interval over the instances.

    Of log ratios it is the log of their geometric mean. The interval is the percentile one of Efron (1979). Of more
    than MANY values it is Student's, which is the same there and takes no resampling; of fewer than two it is infinite,
    as one instance tells nothing of the others.

    Parameters
    ----------
    values : array_like, shape (n,), float
        Finite.
    seed : int
        Of the resampling: equal values have equal intervals.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size < 2:
        return Interval(float(sample.mean()) if sample.size else np.nan, -np.inf, np.inf)
    if sample.size > MANY:
        return _student(sample, confidence)
    return _bootstrapped(sample, confidence, resamples, seed)


def _student(sample: Floats, confidence: float) -> Interval:
    from scipy.stats import sem, t

    mean, error = sample.mean(), sem(sample)
    reach = error * t.ppf((1 + confidence) / 2, sample.size - 1)
    return Interval(float(mean), float(mean - reach), float(mean + reach))


def _bootstrapped(sample: Floats, confidence: float, resamples: int, seed: int) -> Interval:
    from scipy.stats import bootstrap

    found = bootstrap(
        (sample,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="percentile",
        rng=seed,
        batch=max(1, 10_000_000 // sample.size),
    )
    low, high = found.confidence_interval
    return Interval(float(sample.mean()), float(low), float(high))


def ratio_interval(first: ArrayLike, other: ArrayLike, *, seed: int = 0) -> Interval:
    """The geometric mean of first / other over the instances that both solved, with its interval over these.

    Parameters
    ----------
    first, other : array_like, shape (n,), float
        Positive seconds; NaN where unsolved.
    """
    quotient = np.asarray(first, dtype=float) / np.asarray(other, dtype=float)
    found = mean_interval(np.log(quotient[np.isfinite(quotient) & (quotient > 0)]), seed=seed)
    return Interval(*np.exp([found.estimate, found.low, found.high]).tolist())


def penalised(seconds: ArrayLike, limits_s: ArrayLike, factor: float = PENALTY) -> Floats:
    """Seconds, with `factor` times the time limit where an instance was not solved; NaN where there is no limit.

    Their mean is PAR2 for the factor 2.
    """
    given = np.asarray(seconds, dtype=float)
    return np.where(np.isnan(given), factor * np.asarray(limits_s, dtype=float), given)


def shifted_geometric_mean(seconds: ArrayLike, shift_s: float = SHIFT_S) -> Floats:
    """exp(mean(log(t + shift))) - shift over the instances: a scalar, or one for each column.

    The shift keeps the instances of a few milliseconds from ruling the mean.
    """
    from scipy.stats import gmean

    return np.asarray(gmean(np.asarray(seconds, dtype=float) + shift_s, axis=0) - shift_s)


def virtual_best(seconds: ArrayLike) -> VirtualBest:
    """The virtual best of competitors, and each one's share of it.

    Parameters
    ----------
    seconds : array_like, shape (n, k), float
    """
    times = _unsolved_last(seconds)
    best = times.min(axis=1, initial=np.inf)
    fastest = (times <= best[:, None] * (1 + TIE)) & np.isfinite(times)
    winners = fastest.sum(axis=1)
    solved = winners > 0
    parts = fastest[solved] / winners[solved, None]
    shares = parts.mean(axis=0) if solved.any() else np.full(times.shape[1], np.nan)
    return VirtualBest(np.where(solved, best, np.nan), shares, int((winners > 1).sum()))


def duel(first: ArrayLike, other: ArrayLike) -> Duel:
    """Wins, losses and ties of the first one against the other, with a sign test.

    Parameters
    ----------
    first, other : array_like, shape (n,), float
    """
    from scipy.stats import binomtest

    one, two = _unsolved_last(first), _unsolved_last(other)
    wins, losses = int((one * (1 + TIE) < two).sum()), int((two * (1 + TIE) < one).sum())
    ties = int((np.isfinite(one) | np.isfinite(two)).sum()) - wins - losses
    p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else np.nan
    return Duel(wins, losses, ties, p_value)


def times_the_best(seconds: ArrayLike) -> Floats:
    """Each competitor's time over the fastest one's on the instance; infinite where it did not solve it.

    The share of instances with at most `r` is the performance profile of Dolan and More (2002) at `r`.
    """
    times = _unsolved_last(seconds)
    best = times.min(axis=1, keepdims=True, initial=np.inf)
    ratios: Floats = np.divide(times, best, out=np.full(times.shape, np.inf), where=np.isfinite(times) & (best > 0))
    return ratios


def counted_up(values: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    """The finite values in rising order, each once, and how many values are at most as large: a curve in steps.

    Of seconds it is a cactus plot, of `times_the_best` a performance profile.
    """
    given = np.asarray(values, dtype=float)
    steps, counts = np.unique(given[np.isfinite(given)], return_counts=True)
    return steps, np.cumsum(counts)


def _unsolved_last(seconds: ArrayLike) -> Floats:
    """Unsolved as infinite seconds, which lose to all others."""
    times = np.asarray(seconds, dtype=float)
    return np.where(np.isnan(times), np.inf, times)
