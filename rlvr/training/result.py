"""What a training run returns."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.evaluation.metrics import Evaluation
from rlvr.rules.pack import RulePack


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a training run came to."""

    before: Evaluation | None
    after: Evaluation | None
    """At the end; the latest one, if there was any, when the run was stopped."""
    forced: Evaluation | None
    """The untrained model with its response made to begin with `eval.forced_prefix`."""
    steps: int
    """Steps done."""
    tokens: int
    """Completion tokens sampled in training."""
    seconds: dict[str, float]
    """Wall time of `train` (the steps) and `eval`."""
    stopped: str | None
    """Why the run ended before its last step."""
    pack: RulePack
    """The rules in force at the end."""
