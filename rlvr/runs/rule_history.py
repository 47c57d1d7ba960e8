"""Active rules by step, and verifier modules changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rlvr.rules.fingerprint import Fingerprint
from rlvr.runs.rollout_log import RolloutLogFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRules:
    """The same rules over consecutive steps."""

    first: int
    last: int
    rules: Fingerprint
    evaluation: bool = False
    """Whether they scored only evaluations (`eval.rules`, or the weights of step 0)."""

    @property
    def reward(self) -> str:
        """As a sum: `0.1 x format + 1 x answer`."""
        return " + ".join(f"{weight:g} x {name}" for name, weight in self.rules.weights.items())

    def plain(self) -> dict[str, Any]:
        """For summary.json."""
        found = {"first": self.first, "last": self.last, "hash": self.rules.hash, "weights": self.rules.weights}
        return {**found, "evaluation": True} if self.evaluation else found


def rule_history(rules_of: Mapping[RolloutLogFile, Fingerprint]) -> list[ActiveRules]:
    """Training rules in the order of steps, then rules that scored only evaluations."""
    files = sorted(rules_of)
    training = _intervals((file, rules_of[file]) for file in files if file.split == "train")
    evaluation = _intervals((file, rules_of[file]) for file in files if file.split != "train")
    if not training:
        return evaluation
    known = {each.rules.hash for each in training}
    return training + [replace(each, evaluation=True) for each in evaluation if each.rules.hash not in known]


def _intervals(rules_of: Iterable[tuple[RolloutLogFile, Fingerprint]]) -> list[ActiveRules]:
    found: list[ActiveRules] = []
    for file, rules in rules_of:
        if found and found[-1].rules.hash == rules.hash:
            found[-1] = replace(found[-1], last=file.step)
        else:
            found.append(ActiveRules(first=file.step, last=file.step, rules=rules))
    return found


def changed_code(then: Fingerprint, now: Fingerprint) -> list[str]:
    """Names of the modules that differ, or that only one of the two has."""
    return sorted(name for name in then.code.keys() | now.code.keys() if then.code.get(name) != now.code.get(name))
