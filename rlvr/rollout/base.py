"""Rollout engines: how completions are sampled."""

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
    """How completions are sampled."""

    group_size: int
    """Completions of each problem."""
    temperature: float
    """0: greedy."""
    max_new_tokens: int
    """Tokens of a completion at most."""
    seed: int = 0
    """Of the run; part of the RNG key."""
    step: int = 0
    """Sampling round; part of the RNG key, so each step draws fresh noise."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion; the text that is scored ends with the first of them."""


OnFinished = Callable[[Problem, int, Rollout], None]
"""Called as soon as a rollout is finished, while others are still sampled: problem, index in the group, rollout."""


class RolloutEngine(ABC):
    """Samples groups of rollouts, not yet scored, for rendered problems, with the policy of the last `sync`."""

    @abstractmethod
    def sync(self, policy: Policy) -> None:
        """Sample with this policy from now on. Called before the first `sample`, and whenever its weights have changed."""

    @abstractmethod
    def sample(self, problems: Sequence[Problem], sampling: Sampling, *, on_finished: OnFinished | None = None) -> list[Group]:
        """One group for each problem, in order, with `group_size` rollouts of at least one token each.

        on_finished: called once for each rollout, in the calling thread and before this returns; it must not block.
        """

    def close(self) -> None:  # noqa: B027 # most engines hold nothing
        """Release what the engine holds; it samples no more."""
