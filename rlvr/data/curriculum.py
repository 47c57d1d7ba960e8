"""The order of training problems: shuffled anew every epoch; with a curriculum, fewer that always or never pass."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rlvr.rules.pack import RulePack
from rlvr.types import Group, Problem, Rollout

NEWEST = 0.5
"""Weight of the latest group in the running mean of a problem's pass rate."""


@dataclass(slots=True, kw_only=True)
class ProblemStream:
    """Hands out training problems. `state` is all that it depends on, so that a run can be resumed in the middle of an epoch.

    With a curriculum, a problem of known pass rate p is taken with probability 4 p (1 - p), at least `floor`; else it waits an
    epoch. That is the variance of its rewards, as a share of the largest: groups without variance give no gradient.
    """

    problems: Sequence[Problem]
    seed: int
    """The seed of the run; (seed, epoch) decides the order."""
    curriculum: bool = False
    floor: float = 0.1
    """Least probability; a problem that always or never passes may have changed."""
    epoch: int = 0
    at: int = 0
    """Problems of this epoch handed out or passed over so far."""
    rates: dict[str, float] = field(default_factory=dict)
    """Pass rate by problem id, of those handed out so far."""

    def take(self, n: int) -> list[Problem]:
        """The next `n` problems, all different. Drops the last incomplete batch of each epoch (drop_last)."""
        taken: dict[str, Problem] = {}
        order = self._order()
        idle = 0  # epochs that were begun
        while len(taken) < n:
            if self.at + n - len(taken) > len(order):
                self.epoch += 1
                self.at = 0
                idle += 1
                order = self._order()
            problem = self.problems[order[self.at]]
            self.at += 1
            if problem.id not in taken and (idle > 1 or self._is_due(problem)):  # after a whole epoch, take any
                taken[problem.id] = problem
        return list(taken.values())

    def learn(self, groups: Sequence[Group], pack: RulePack) -> None:
        """Update the pass rates from scored groups."""
        for group in groups:
            passed = [float(passes(rollout, pack)) for rollout in group.rollouts if rollout.reward is not None]
            if passed:
                rate = sum(passed) / len(passed)
                before = self.rates.get(group.problem.id)
                self.rates[group.problem.id] = rate if before is None else NEWEST * rate + (1.0 - NEWEST) * before

    def state(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"epoch": self.epoch, "at": self.at, "rates": dict(self.rates)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.at = state["at"]
        self.rates = dict(state["rates"])

    def _order(self) -> np.ndarray:
        return np.random.Generator(np.random.Philox(key=[self.seed, self.epoch])).permutation(len(self.problems))

    def _is_due(self, problem: Problem) -> bool:
        rate = self.rates.get(problem.id)
        if not self.curriculum or rate is None:
            return True
        name = f"{self.seed}/{self.epoch}/{problem.id}"
        key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")
        return np.random.Generator(np.random.Philox(key=key)).random() < max(self.floor, 4.0 * rate * (1.0 - rate))


def passes(rollout: Rollout, pack: RulePack) -> bool:
    """Full score from every rule that scores the answer; if none does, from all rules."""
    names = pack.named("answer") or tuple(pack.rules)
    scores = [rollout.verdicts[name].score for name in names if name in rollout.verdicts]
    return bool(scores) and all(score == 1.0 for score in scores)


def enough(problems: Sequence[Problem], n: int) -> list[Problem]:
    """At least `n` problems: if there are fewer, each several times under different ids, so that each samples differently.

    One problem many times is one-shot RLVR (Wang et al. 2025, arXiv:2504.20571).
    """
    copies = -(-n // len(problems))
    repeats = [replace(p, id=f"{p.id}#{k + 1}") for k in range(1, copies) for p in problems]
    return [*problems, *repeats]
