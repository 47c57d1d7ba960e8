"""Which problems are asked next: an order of their own in every epoch, and fewer of those that are mastered or hopeless."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rlvr.rules.pack import RulePack
from rlvr.types import Group, Problem, Rollout

NEWEST = 0.5
"""What the latest group counts in a problem's pass rate; the ones before count half as much each."""


@dataclass(slots=True, kw_only=True)
class ProblemStream:
    """Hands out training problems. All it goes by is in `state`, so that a run can be resumed in the middle of an epoch.

    With a curriculum a problem whose pass rate p is known is asked with a chance of 4 p (1 - p), the spread of its rewards
    by the largest there is (groups without spread teach nothing), but never less than `floor`; else it waits an epoch.
    """

    problems: Sequence[Problem]
    seed: int
    """Of the run; every epoch is shuffled by (seed, epoch)."""
    curriculum: bool = False
    floor: float = 0.1
    epoch: int = 0
    at: int = 0
    """Problems of the epoch that have been handed out or left out."""
    rates: dict[str, float] = field(default_factory=dict)
    """Pass rate by problem id, of those asked so far."""

    def take(self, n: int) -> list[Problem]:
        """The next `n` problems, no two the same. An epoch's rest of fewer than `n` is left out; it differs by epoch."""
        taken: dict[str, Problem] = {}
        order, idle = self._order(), 0
        while len(taken) < n:
            if self.at + n - len(taken) > len(order):
                self.epoch, self.at, idle = self.epoch + 1, 0, idle + 1
                order = self._order()
            problem = self.problems[order[self.at]]
            self.at += 1
            if problem.id not in taken and (idle > 1 or self._is_asked(problem)):  # too few are: take them as they come
                taken[problem.id] = problem
        return list(taken.values())

    def learn(self, groups: Sequence[Group], pack: RulePack) -> None:
        """Take note of how problems went."""
        for group in groups:
            passed = [float(passes(rollout, pack)) for rollout in group.rollouts if rollout.reward is not None]
            if passed:
                rate, before = sum(passed) / len(passed), self.rates.get(group.problem.id)
                self.rates[group.problem.id] = rate if before is None else NEWEST * rate + (1.0 - NEWEST) * before

    def state(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return {"epoch": self.epoch, "at": self.at, "rates": dict(self.rates)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.at, self.rates = state["epoch"], state["at"], dict(state["rates"])

    def _order(self) -> np.ndarray:
        return np.random.Generator(np.random.Philox(key=[self.seed, self.epoch])).permutation(len(self.problems))

    def _is_asked(self, problem: Problem) -> bool:
        rate = self.rates.get(problem.id)
        if not self.curriculum or rate is None:
            return True
        name = f"{self.seed}/{self.epoch}/{problem.id}"
        key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")
        return np.random.Generator(np.random.Philox(key=key)).random() < max(self.floor, 4.0 * rate * (1.0 - rate))


def passes(rollout: Rollout, pack: RulePack) -> bool:
    """Full score from every rule that judges the answer; from all rules where none does."""
    names = pack.named("answer") or tuple(pack.rules)
    scores = [rollout.verdicts[name].score for name in names if name in rollout.verdicts]
    return bool(scores) and all(score == 1.0 for score in scores)


def enough(problems: Sequence[Problem], n: int) -> list[Problem]:
    """At least `n` problems: where there are fewer, each several times, as problems of their own with other noise.

    One problem many times is one-shot RLVR (Wang et al. 2025, arXiv:2504.20571).
    """
    copies = -(-n // len(problems))
    repeats = [replace(p, id=f"{p.id}#{k + 1}") for k in range(1, copies) for p in problems]
    return [*problems, *repeats]
