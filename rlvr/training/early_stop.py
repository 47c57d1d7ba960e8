"""Early stopping of a collapsed policy: no entropy, empty or endless completions, or only degenerate groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlvr.config.schema import EarlyStopConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sign:
    """A metric that shows collapse when it stays beyond its limit."""

    key: str
    """The limit's name in `EarlyStopConfig`."""
    metric: str
    beyond: Literal["below", "above"]
    meaning: str
    """What it says of the policy, for the message."""
    remedy: str
    """What to try."""

    def passed(self, value: float, limit: float) -> bool:
        return value < limit if self.beyond == "below" else value > limit


_SIGNS = (
    _Sign(
        key="min_entropy",
        metric="policy/entropy",
        beyond="below",
        meaning="the policy has collapsed onto one answer",
        remedy="a higher algo.temperature or algo.entropy_bonus, or a lower algo.learning_rate",
    ),
    _Sign(
        key="max_degenerate",
        metric="group/degenerate",
        beyond="above",
        meaning="the rollouts of nearly every problem earn the same, so there is nothing to learn from",
        remedy="other problems (easier where reward/mean is low, harder where it is high), algo.curriculum=true, "
        "or a higher algo.temperature",
    ),
    _Sign(
        key="min_length",
        metric="rollout/length",
        beyond="below",
        meaning="completions have collapsed to almost nothing",
        remedy="a rule that asks for reasoning, algo.aggregation=max_length, or a lower algo.learning_rate",
    ),
    _Sign(
        key="max_truncated",
        metric="rollout/truncated",
        beyond="above",
        meaning="the policy no longer ends its completions",
        remedy="a higher algo.max_new_tokens, a rule that punishes length, or a lower algo.learning_rate",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """Decides from the metrics of each step whether to end a run. It holds no state: streaks are passed in and returned."""

    limits: EarlyStopConfig

    def after(self, streaks: Mapping[str, int], metrics: Mapping[str, float]) -> tuple[dict[str, int], str | None]:
        """The streaks after one more step, and the reason to end the run, or None.

        streaks: by key of `EarlyStopConfig`, for how many consecutive steps its limit has been passed; empty before the first
        step. A step without the metric leaves its streak unchanged. A streak that ends a run restarts from 0, so that a
        resumed run has `early_stop.patience` steps to recover.
        """
        counted: dict[str, int] = {}
        reasons = []
        for sign in _SIGNS:
            limit: float | None = getattr(self.limits, sign.key)
            if limit is None:
                continue
            streak, value = streaks.get(sign.key, 0), metrics.get(sign.metric)
            if value is not None:
                streak = streak + 1 if sign.passed(value, limit) else 0
                if streak >= self.limits.patience:
                    reasons.append(_reason(sign, value, limit, streak))
                    streak = 0
            counted[sign.key] = streak
        return counted, "; ".join(reasons) or None


def _reason(sign: _Sign, value: float, limit: float, steps: int) -> str:
    span = "1 step" if steps == 1 else f"{steps} steps"
    return f"{sign.metric} was {sign.beyond} {limit:g} for {span} ({value:.3g}): {sign.meaning}; try {sign.remedy}"
