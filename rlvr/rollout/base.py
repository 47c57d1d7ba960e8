"""What samples completions, and where its random numbers come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlvr.types import Group, Problem, Rollout

if TYPE_CHECKING:
    from rlvr.models.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample."""

    group_size: int
    """Completions of each problem."""
    temperature: float
    """0: greedy."""
    max_new_tokens: int
    seed: int = 0
    """The run's."""
    step: int = 0
    """The round of sampling (as a rule the training step): other noise in every one."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion; the text that is judged ends with the first of them."""


OnFinished = Callable[[Problem, int, Rollout], None]
"""Hears of a rollout as soon as it has ended, while others still run: its problem, its place in the group, and itself."""


class RolloutEngine(ABC):
    """Turns rendered problems into groups of rollouts, without verdicts yet."""

    @abstractmethod
    def sample(
        self, policy: Policy, problems: Sequence[Problem], sampling: Sampling, *, on_finished: OnFinished | None = None
    ) -> list[Group]:
        """One group a problem, in the order given, each with `group_size` rollouts of at least one token.

        `on_finished` is called once for each of them, in the thread that called and before this returns; it must not block.
        """
