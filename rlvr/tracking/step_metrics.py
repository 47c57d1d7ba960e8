"""The metrics of a step, named as in metrics.jsonl and W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rlvr.evaluation.metrics import Evaluation
from rlvr.rules.pack import RulePack
from rlvr.types import Group, Rollout


def rollout_metrics(groups: Sequence[Group], pack: RulePack) -> dict[str, float]:
    """Metrics of sampling and scoring. Rewards and entropy are of the rollouts that are not masked, entropy of the tokens that
    count in the loss."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    entropies = [r.entropies[r.loss_mask] for r in rollouts if r.reward is not None and r.entropies is not None]
    verdicts = [verdict for rollout in rollouts for verdict in rollout.verdicts.values()]
    metrics = {
        "reward/mean": _mean(rewards),
        "reward/std": float(np.std(rewards)) if rewards else 0.0,
        "group/degenerate": _mean([float(group.degenerate) for group in groups]),
        "group/masked": _mean([float(rollout.reward is None) for rollout in rollouts]),
        "rollout/length": _mean([len(rollout.token_ids) for rollout in rollouts]),
        "rollout/truncated": _mean([float(rollout.finish_reason == "length") for rollout in rollouts]),
        "verify/timeout": float(sum(verdict.reason == "timeout" for verdict in verdicts)),
        "verify/unscorable": float(sum(verdict.outcome == "unscorable" for verdict in verdicts)),
        "verify/error": float(sum(verdict.outcome == "error" for verdict in verdicts)),
    }
    if entropies:
        metrics["policy/entropy"] = _mean(np.concatenate(entropies, dtype=np.float64))
    for name, rule in pack.rules.items():
        metrics[f"rule/{name}/score"] = _mean(_scores(rollouts, name))
        metrics[f"rule/{name}/weight"] = rule.weight
    return metrics


def time_metrics(seconds: Mapping[str, float], *, scoring: Sequence[float], tokens: int) -> dict[str, float]:
    """Seconds of each part of the step (`rollout`, `verify`, `train`), and completion tokens a second over the whole step.

    `verify` is the part of scoring that did not overlap with sampling: from its end until the last verdict. scoring: seconds
    for each rollout.
    """
    p50, p99 = np.percentile(scoring, [50, 99]) if len(scoring) else (0.0, 0.0)
    return {
        **{f"time/{part}": value for part, value in seconds.items()},
        "verify/seconds_p50": float(p50),
        "verify/seconds_p99": float(p99),
        "tokens_per_second": tokens / sum(seconds.values()),
    }


def eval_metrics(evaluation: Evaluation | None) -> dict[str, float]:
    """Metrics of an evaluation; empty without one."""
    return {} if evaluation is None else evaluation.metrics()


def _scores(rollouts: Sequence[Rollout], rule: str) -> list[float]:
    return [v.score for rollout in rollouts if (v := rollout.verdicts.get(rule)) and v.score is not None]


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else 0.0
