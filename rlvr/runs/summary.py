"""summary.json of a finished run, and hints on what to try next."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlvr.models.policy import Policy
from rlvr.rules.pack import RulePack
from rlvr.runs.plan import Plan
from rlvr.runs.provenance import model_name, versions
from rlvr.training.result import TrainResult


def summarise(plan: Plan, policy: Policy, result: TrainResult, *, seconds: float) -> dict[str, Any]:
    """summary.json."""
    config = plan.config
    return {
        "name": config.name,
        "seed": config.seed,
        "model": {"name": model_name(config), "parameters": policy.n_parameters},
        "rules": dict(result.pack.weights),
        **{
            key: None if evaluation is None else dataclasses.asdict(evaluation)
            for key, evaluation in (("before", result.before), ("after", result.after), ("forced", result.forced))
        },
        "steps": result.steps,
        "stopped": result.stopped,
        "tokens": result.tokens,
        "seconds": {**{name: round(value, 3) for name, value in result.seconds.items()}, "total": round(seconds, 3)},
        "versions": versions(),
    }


def hints(pack: RulePack) -> list[str]:
    """Commands to try next: without one rule, and a sweep over its weight."""
    rule = next(iter(pack.rules))
    return [
        "try next, with the same choices of model, data and rules:",
        f"rlvr train rules.{rule}.weight=0                         what is learned without a reward for {rule}",
        f"rlvr train -m rules.{rule}.weight=0,0.05,0.1 seed=0,1   a sweep over weights and seeds",
        "rlvr train --help                                        every key",
    ]
