"""Statistics over instances, for reports and gates alike: what SciPy has is SciPy's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
RESAMPLES = 9_999


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval."""

    estimate: float
    low: float
    high: float


def mean_interval(
    values: ArrayLike, *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The mean of one value an instance, with a bootstrap interval over the instances.

    Of log ratios it is the log of their geometric mean. The interval is the percentile one of Efron (1979); of fewer
    than two values it is infinite, as one instance tells nothing of the others.

    Parameters
    ----------
    values : array_like, shape (n,), float
        Finite.
    seed : int
        Of the resampling: equal values have equal intervals.
    """
    from scipy.stats import bootstrap

    sample = np.asarray(values, dtype=float)
    if sample.size < 2:
        return Interval(float(sample.mean()) if sample.size else np.nan, -np.inf, np.inf)
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
