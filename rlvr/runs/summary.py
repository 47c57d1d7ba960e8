"""summary.json of a finished run, and of an evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.evaluation.metrics import Evaluation
from rlvr.evaluation.parts import RunParts
from rlvr.rules.pack import RulePack
from rlvr.runs.provenance import model_name, versions
from rlvr.training.result import TrainResult
from rlvr.types import Group


def training_summary(parts: RunParts, result: TrainResult, *, seconds: float) -> dict[str, Any]:
    """seconds: of the whole run."""
    evaluations = {"before": result.before, "after": result.after, "forced": result.forced}
    return {
        **_identity(parts, result.pack),
        **{key: None if found is None else dataclasses.asdict(found) for key, found in evaluations.items()},
        "steps": result.steps,
        "stopped": result.stopped,
        "tokens": result.tokens,
        "seconds": _rounded({**result.seconds, "total": seconds}),
        "versions": versions(),
    }


def evaluation_summary(
    parts: RunParts, found: Evaluation, groups: Sequence[Group], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """groups: the scored ones. seconds: by part of the evaluation."""
    rules = parts.eval_rules
    return {
        **_identity(parts, parts.pack),
        "eval_rules": None if rules is None else dict(rules.weights),
        "evaluation": dataclasses.asdict(found),
        "tokens": sum(len(rollout.token_ids) for group in groups for rollout in group.rollouts),
        "seconds": _rounded(seconds),
        "versions": versions(),
    }


def _identity(parts: RunParts, pack: RulePack) -> dict[str, Any]:
    config = parts.config
    return {
        "name": config.name,
        "seed": config.seed,
        "model": {"name": model_name(config), "parameters": parts.policy.n_parameters},
        "rules": dict(pack.weights),
    }


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}
