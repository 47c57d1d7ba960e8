"""What samples completions, and where its random numbers come from."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlvr.types import Group, Problem, Rollout

if TYPE_CHECKING:
    from rlvr.policy import Policy


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


def noise(sampling: Sampling, problem_id: str, rollout: int) -> np.ndarray:
    """The uniform random numbers of one rollout, float64 in [0, 1), one a token: shape [max_new_tokens].

    They belong to (seed, step, problem, rollout) and to nothing else, so that a rollout does not depend on the batch, the
    process or the order it was sampled in.
    """
    name = f"{sampling.seed}/{sampling.step}/{rollout}/{problem_id}"
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key)).random(sampling.max_new_tokens)
