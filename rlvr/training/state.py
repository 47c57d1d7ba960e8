"""Where training is between two steps, as kept in checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr.evaluation.metrics import Evaluation


@dataclass(slots=True, kw_only=True)
class TrainState:
    """What the trainer needs, in addition to weights and rules, to resume between two steps."""

    done: int = 0
    """Steps done."""
    rounds: int = 0
    """Sampling rounds: one a step, more with `algo.resample`. Part of the RNG key of rollouts."""
    tokens: int = 0
    """Completion tokens sampled in training."""
    train_seconds: float = 0.0
    """Wall time of the steps, over all sessions of the run; `eval_seconds` likewise."""
    eval_seconds: float = 0.0
    before: Evaluation | None = None
    forced: Evaluation | None = None
    after: Evaluation | None = None
    """The latest."""
    best: float | None = None
    """The best evaluation so far: accuracy, or reward where no rule scores the answer."""
    best_step: int | None = None
    """The step after which it was measured."""
    streaks: dict[str, int] = field(default_factory=dict)
    """By key of `early_stop`: for how many consecutive steps its limit has been passed."""

    def record(self, evaluation: Evaluation | None) -> bool:
        """Record an evaluation after the steps done; returns whether it is the best so far."""
        self.after = evaluation
        if evaluation is None:
            return False
        score = evaluation.reward if evaluation.accuracy is None else evaluation.accuracy
        if score is None or (self.best is not None and score <= self.best):
            return False
        self.best, self.best_step = score, self.done
        return True

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainState:
        kinds = ("before", "forced", "after")
        evaluations = {kind: Evaluation.from_dict(values[kind]) if values[kind] else None for kind in kinds}
        return cls(**{**values, **evaluations})
