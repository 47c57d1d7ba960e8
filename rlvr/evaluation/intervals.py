"""Confidence intervals of what is measured on a sample of problems: what other problems of the same kind might have given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, pvariance, stdev

CONFIDENCE = 0.95


def of_bounded(
    values: Sequence[float], *, low: float = 0.0, high: float = 1.0, confidence: float = CONFIDENCE
) -> list[float] | None:
    """Lower and upper bound for the mean of values in [low, high], one a problem; None without any, or where low is high.

    Wilson's interval (Wilson 1927; Brown, Cai and DasGupta 2001 recommend it for small samples and shares near 0 or 1), which
    never leaves [low, high] and is no point where all problems agree. Values between the two (pass@k, maj@k) vary less than
    those of a share with the same mean: they count as as many problems as would vary like them (effective sample size, as in
    Dean and Pagano 2015). For values that are all 0 or 1 that is their number.
    """
    if not values or low >= high:
        return None
    scaled = [min(1.0, max(0.0, (value - low) / (high - low))) for value in values]
    mean, n = fmean(scaled), float(len(scaled))
    variance, at_most = pvariance(scaled), mean * (1 - mean)
    if at_most > 0:  # where it is not, all are 0 or all are 1
        n = n * at_most / variance if variance > 0 else math.inf
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(at_most / n + (z / (2 * n)) ** 2)
    return [low + (high - low) * min(1.0, max(0.0, bound)) for bound in (middle - half, middle + half)]


def of_mean(values: Sequence[float], *, confidence: float = CONFIDENCE) -> list[float] | None:
    """Lower and upper bound for the mean of values of any size, one a problem: mean -+ z x standard error (Miller 2024,
    "Adding Error Bars to Evals", eq. 1); None for fewer than two, which say nothing about how they vary."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * stdev(values) / math.sqrt(len(values))
    return [mean - half, mean + half]
