"""When a policy has collapsed: it says one thing, says nothing, never ends, or its rewards no longer tell anything apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlvr.config.schema import EarlyStopConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sign:
    """A metric that must not stay beyond its limit."""

    key: str
    """Of `EarlyStopConfig`."""
    metric: str
    beyond: Literal["below", "above"]
    what: str
    """It means."""
    remedy: str
    """What to try."""

    def shown_by(self, value: float, limit: float) -> bool:
        return value < limit if self.beyond == "below" else value > limit


_SIGNS = (
    _Sign(
        key="min_entropy",
        metric="policy/entropy",
        beyond="below",
        what="the policy has collapsed onto one answer",
        remedy="a higher algo.temperature or algo.entropy_bonus, or a lower algo.learning_rate",
    ),
    _Sign(
        key="max_degenerate",
        metric="group/degenerate",
        beyond="above",
        what="the rollouts of nearly every problem earn the same, so there is nothing to learn from",
        remedy="other problems (easier where reward/mean is low, harder where it is high), algo.curriculum=true, "
        "or a higher algo.temperature",
    ),
    _Sign(
        key="min_length",
        metric="rollout/length",
        beyond="below",
        what="completions have collapsed to almost nothing",
        remedy="a rule that asks for reasoning, algo.aggregation=max_length, or a lower algo.learning_rate",
    ),
    _Sign(
        key="max_truncated",
        metric="rollout/truncated",
        beyond="above",
        what="the policy no longer ends its completions",
        remedy="a higher algo.max_new_tokens, a rule that punishes length, or a lower algo.learning_rate",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollapseWatch:
    """Tells from the metrics of each step when to end a run. What it remembers between steps is handed in and out."""

    limits: EarlyStopConfig

    def after(self, streaks: Mapping[str, int], metrics: Mapping[str, float]) -> tuple[dict[str, int], str | None]:
        """For how many steps in a row each limit has been passed, one step on, and why to end the run, if so.

        streaks: of the step before, empty before the first; by key of `EarlyStopConfig`, plain JSON. A step that lacks a
        metric leaves its streak as it is. A streak that ends a run begins anew, so that a run resumed after that has
        `early_stop.patience` steps to recover.
        """
        counted: dict[str, int] = {}
        reasons = []
        for sign in _SIGNS:
            limit: float | None = getattr(self.limits, sign.key)
            if limit is None:
                continue
            streak, value = streaks.get(sign.key, 0), metrics.get(sign.metric)
            if value is not None:
                streak = streak + 1 if sign.shown_by(value, limit) else 0
                if streak >= self.limits.patience:
                    reasons.append(_reason(sign, value, limit, streak))
                    streak = 0
            counted[sign.key] = streak
        return counted, "; ".join(reasons) or None


def _reason(sign: _Sign, value: float, limit: float, steps: int) -> str:
    span = "1 step" if steps == 1 else f"{steps} steps"
    return f"{sign.metric} was {sign.beyond} {limit:g} for {span} ({value:.3g}): {sign.what}; try {sign.remedy}"
