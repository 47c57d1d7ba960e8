"""Confidence intervals of means over problems, which are taken as a sample of all problems of their kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, pvariance, stdev

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""Standard errors on each side of the mean."""


def of_bounded(values: Sequence[float], *, low: float = 0.0, high: float = 1.0) -> list[float] | None:
    """Lower and upper bound for the mean of values in [low, high], one a problem; None without any, or where low is high.

    Wilson's interval (Wilson 1927; recommended by Brown, Cai and DasGupta 2001 for small samples and shares near 0 or 1),
    which stays within [low, high] and has a width even where all values are equal to a bound. Values strictly between the
    bounds (pass@k, maj@k) vary less than a share with the same mean, so the effective sample size replaces the number of
    problems (Dean and Pagano 2015); for values that are all 0 or 1 it is that number.
    """
    if not values or low >= high:
        return None
    scaled = [min(1.0, max(0.0, (value - low) / (high - low))) for value in values]
    mean, n = fmean(scaled), float(len(scaled))
    variance, at_most = pvariance(scaled), mean * (1 - mean)
    if at_most > 0:  # else all are 0 or all are 1
        n = n * at_most / variance if variance > 0 else math.inf
    middle = (mean + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(at_most / n + (_Z / (2 * n)) ** 2)
    return [low + (high - low) * min(1.0, max(0.0, bound)) for bound in (middle - half, middle + half)]


def of_mean(values: Sequence[float]) -> list[float] | None:
    """Lower and upper bound for the mean of unbounded values, one a problem: mean -+ z x standard error (Miller 2024,
    "Adding Error Bars to Evals", eq. 1); None for fewer than two."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    half = _Z * stdev(values) / math.sqrt(len(values))
    return [mean - half, mean + half]
