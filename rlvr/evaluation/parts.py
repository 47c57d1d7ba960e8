"""The parts of a run: what training and evaluation work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate import Accelerator

from rlvr.config.schema import Config
from rlvr.models.policy import Policy
from rlvr.rollout.base import RolloutEngine
from rlvr.rules.pack import RulePack
from rlvr.scoring.backend import Backend
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParts:
    """All that a configuration names, loaded and checked; `rlvr.runs.load` makes it, and closes what has to be closed."""

    config: Config
    accelerator: Accelerator
    policy: Policy
    reference: Policy | None
    """What the KL penalty is to: a second model, or the policy itself, which then stands for its model with the adapters off;
    None without a penalty."""
    engine: RolloutEngine
    backend: Backend
    pack: RulePack
    """As configured; training has `LiveRules` in addition, which may be edited."""
    eval_rules: RulePack | None
    """Evaluation-only rules (`rlvr.evaluation.eval_rules`)."""
    train: Sequence[Problem]
    """As rendered for the model; empty where only evaluation is wanted."""
    held_out: Sequence[Problem]
    warnings: tuple[str, ...]
    """About the data, for the user."""
