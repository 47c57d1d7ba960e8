"""The result of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.evaluation.metrics import Evaluation
from rlvr.rules.pack import RulePack


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What `Trainer.run` returns."""

    before: Evaluation | None
    """Before the first step; None without held-out problems."""
    after: Evaluation | None
    """After the last step; of a stopped run the latest, if any."""
    forced: Evaluation | None
    """Of the untrained model, with responses that start with `eval.forced_prefix`."""
    steps: int
    """Steps done."""
    tokens: int
    """Completion tokens sampled in training."""
    seconds: dict[str, float]
    """Wall time of `train` (the steps) and `eval`."""
    stopped: str | None
    """Why the run ended before its last step, if it did."""
    pack: RulePack
    """The rules in force at the end."""
