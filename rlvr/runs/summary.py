"""What is said of a run when it is over: summary.json, and what to try next."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlvr.models.policy import Policy
from rlvr.rules.pack import RulePack
from rlvr.runs.plan import Plan
from rlvr.runs.provenance import model_name, versions
from rlvr.training.result import TrainResult


def summarise(plan: Plan, policy: Policy, outcome: TrainResult, *, seconds: float) -> dict[str, Any]:
    """summary.json."""
    config = plan.config
    return {
        "name": config.name,
        "seed": config.seed,
        "model": {"name": model_name(config), "parameters": policy.n_parameters},
        "rules": dict(outcome.pack.weights),
        **{
            key: None if evaluation is None else dataclasses.asdict(evaluation)
            for key, evaluation in (("before", outcome.before), ("after", outcome.after), ("forced", outcome.forced))
        },
        "steps": outcome.steps,
        "stopped": outcome.stopped,
        "tokens": outcome.tokens,
        "seconds": {**{name: round(value, 3) for name, value in outcome.seconds.items()}, "total": round(seconds, 3)},
        "versions": versions(),
    }


def hints(pack: RulePack) -> list[str]:
    """What to try next: one rule out, and a sweep over its weight."""
    rule = next(iter(pack.rules))
    return [
        "try next, with the same groups:",
        f"python train.py rules.{rule}.weight=0                    what is learned when {rule} pays nothing",
        f"python train.py -m rules.{rule}.weight=0,0.05,0.1 seed=0,1   a sweep over weights and seeds",
        "python train.py --help                                   every key",
    ]
