"""The jobs of a sweep that differ only by seed, and statistics over them: means, ranges, intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from statistics import fmean, stdev
from typing import Any

from rlvr.analysis.report.run_record import Record

_LEVEL = 0.95
_LAST = 5
"""The final value of a noisy metric is its mean over so many last steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a curve."""

    step: float
    mean: float
    low: float
    """The lowest and the highest value of the jobs; both are the mean for a single job."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The mean of a number over the jobs of a variant."""

    n: int
    """Jobs that have it."""
    mean: float
    half: float | None
    """Half the width of the 95 % t-interval of the mean; None for a single job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Jobs with the same overrides except for the seed."""

    overrides: tuple[str, ...]
    records: tuple[Record, ...]

    @property
    def label(self) -> str:
        return " ".join(self.overrides) or "as configured"

    @property
    def counted(self) -> tuple[Record, ...]:
        """The jobs that statistics use: finished ones, or all while none is, so that a running sweep can be watched."""
        return tuple(record for record in self.records if record.finished) or self.records

    def curve(self, key: str, rows_of: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Point]:
        """A metric by step, over the counted jobs that have it; rows_of: rows by name of the record."""
        values: dict[int, list[float]] = {}
        for record in self.counted:
            for step, value in series(rows_of[record.name], key):
                values.setdefault(step, []).append(value)
        return [Point(step=step, mean=fmean(of), low=min(of), high=max(of)) for step, of in sorted(values.items())]

    def estimate(self, key: str, pick: str) -> Estimate | None:
        """A metric of the counted jobs: `first`, `final`, `best` (highest), or `late` (mean of the last steps). None if no job
        has it."""
        found = [pick_value([value for _, value in series(record.rows, key)], pick) for record in self.counted]
        return estimate([value for value in found if value is not None])


def variants(records: Sequence[Record], overrides: Sequence[tuple[str, ...]]) -> list[Variant]:
    """Variants in the order in which they first occur."""
    order = {each: at for at, each in reversed(list(enumerate(overrides)))}
    pairs = sorted(zip(records, overrides, strict=True), key=lambda pair: order[pair[1]])
    return [
        Variant(overrides=each, records=tuple(record for record, _ in of)) for each, of in groupby(pairs, key=lambda p: p[1])
    ]


def series(rows: Iterable[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    """Steps and values of a metric where it is finite."""
    found = ((row["step"], row.get(key)) for row in rows)
    return [(s, float(value)) for s, value in found if isinstance(value, int | float) and math.isfinite(value)]


def pick_value(values: Sequence[float], pick: str) -> float | None:
    """The `first`, `final`, `best` or `late` value of a run; None without values."""
    if not values:
        return None
    return {"first": values[0], "final": values[-1], "best": max(values), "late": fmean(values[-_LAST:])}[pick]


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and 95 % interval by Student's t, which takes runs as draws from a normal distribution; None without values."""
    n = len(values)
    if not n:
        return None
    half = t_quantile(n - 1) * stdev(values) / math.sqrt(n) if n > 1 else None
    return Estimate(n=n, mean=fmean(values), half=half)


@lru_cache(maxsize=256)
def t_quantile(df: int) -> float:
    """The t with P(|T| <= t) = 0.95 for `df` degrees of freedom; P by the incomplete beta function (Abramowitz and Stegun,
    Handbook of Mathematical Functions, 26.7.1)."""
    from mpmath import betainc, findroot  # takes a while to import, and only sweeps over seeds need it

    def beyond(t: float) -> Any:
        return betainc(df / 2, 0.5, 0, df / (df + t * t), regularized=True) - (1 - _LEVEL)

    return float(findroot(beyond, (1.9, 12.8), solver="anderson"))  # between those of many degrees of freedom and of one
