"""Rules and rule packs: verifiers with names and weights, and the reward they add up to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rlvr.types import Outcome, Problem, Verdict
from rlvr.verifiers.base import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A name, a weight, and one of: a verifier; parts, whose weighted mean is the score."""

    name: str
    weight: float
    """What full marks add to the reward; below zero it is a penalty, at 0 the rule only reports."""
    verifier: Verifier | None = None
    parts: tuple[Rule, ...] = ()
    requires: tuple[str, ...] = ()
    """Names of rules of the pack that must have full marks, or this one scores 0 without being judged."""

    def __post_init__(self) -> None:
        if isinstance(self.weight, bool) or not isinstance(self.weight, int | float) or not math.isfinite(self.weight):
            raise ValueError(f"{self.name}.weight={self.weight}: must be a finite number")
        if (self.verifier is None) == (not self.parts):
            raise ValueError(f"{self.name}: needs either a verifier or parts, and not both")
        if self.parts and (min(part.weight for part in self.parts) < 0 or not sum(part.weight for part in self.parts)):
            raise ValueError(f"{self.name}.parts: weights must not be negative, and one must be above 0")

        if any(part.requires for part in self.parts):
            raise ValueError(f"{self.name}.parts: a part cannot have requires; give it to the rule")

    def verifiers(self) -> tuple[Verifier, ...]:
        """The rule's own verifier, or those of its parts, at any depth."""
        return (self.verifier,) if self.verifier else tuple(v for part in self.parts for v in part.verifiers())

    def judge(self, turn: str, problem: Problem) -> Verdict:
        """The verdict on an assistant's turn; a verifier that raises has failed on our side: `error`."""
        if self.verifier is None:
            return self._judge_parts(turn, problem)
        try:
            return self.verifier(turn, problem)
        except Exception as error:  # noqa: BLE001  any exception of a verifier is a defect of ours, never the model's zero
            return Verdict.error("crash", f"{type(error).__name__}: {error}")

    def _judge_parts(self, turn: str, problem: Problem) -> Verdict:
        verdicts = {part.name: part.judge(turn, problem) for part in self.parts}
        for part in self.parts:
            if part.weight and verdicts[part.name].score is None:
                return verdicts[part.name]
        weighted = [(part.weight, verdicts[part.name].score or 0.0) for part in self.parts]
        score = min(1.0, sum(weight * s for weight, s in weighted) / sum(weight for weight, _ in weighted))
        short = [verdicts[part.name].reason for part in self.parts if verdicts[part.name].score != 1.0]
        detail = "; ".join(f"{name}: {verdict.score} {verdict.reason}" for name, verdict in verdicts.items())
        answer = next((verdict.answer for verdict in verdicts.values() if verdict.answer is not None), None)
        return Verdict.scored(score, short[0] if short else "correct", answer, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a rule pack says of one completion."""

    reward: float | None
    """Sum of weight x score; None when a rule with a weight could not judge, so that the rollout must be masked."""
    outcome: Outcome
    """`scored`, or the worst outcome among the rules that count (`error`, then `unscorable`)."""
    verdicts: Mapping[str, Verdict]
    """By rule name, in the pack's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePack:
    """Rules in order; a rule comes after those that it requires."""

    rules: Mapping[str, Rule]
    _order: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("rules: the pack holds no rules; name one of conf/rules, or several joined with '+'")
        for rule in self.rules.values():
            unknown = [name for name in rule.requires if name not in self.rules]
            if unknown:
                raise ValueError(f"rules.{rule.name}.requires={unknown[0]}: the pack's rules are {', '.join(self.rules)}")
        object.__setattr__(self, "_order", self._sorted_by_requirement())

    def _sorted_by_requirement(self) -> tuple[str, ...]:
        order: list[str] = []
        waiting = dict(self.rules)
        while waiting:
            ready = [name for name, rule in waiting.items() if all(needed in order for needed in rule.requires)]
            if not ready:
                raise ValueError(f"rules: {' and '.join(waiting)} require each other in a circle")
            order += ready
            waiting = {name: rule for name, rule in waiting.items() if name not in ready}
        return tuple(order)

    @property
    def weights(self) -> Mapping[str, float]:
        return {name: rule.weight for name, rule in self.rules.items()}

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest reward that the weights allow."""
        weights = self.weights.values()
        return sum(min(w, 0.0) for w in weights), sum(max(w, 0.0) for w in weights)

    def named(self, judges: str) -> tuple[str, ...]:
        """Names of the rules all of whose verifiers judge that (`answer`, `format`); see `Verifier.judges`."""
        return tuple(name for name, rule in self.rules.items() if {v.judges for v in rule.verifiers()} == {judges})

    def check_truth(self, problem: Problem) -> str | None:
        """Why a rule that counts cannot score this problem, or None."""
        for name, rule in self.rules.items():
            for verifier in rule.verifiers() if rule.weight else ():
                reason = verifier.check_truth(problem.truth)
                if reason:
                    return f"{name}: {reason}"
        return None

    def judge(self, completion: str, problem: Problem) -> Judgement:
        """Judge one completion. Pure: the same completion and problem get the same judgement, any number of times."""
        turn = problem.turn(completion)
        verdicts: dict[str, Verdict] = {}
        for name in self._order:
            rule = self.rules[name]
            lacking = next((needed for needed in rule.requires if verdicts[needed].score != 1.0), None)
            if lacking is None:
                verdicts[name] = rule.judge(turn, problem)
            elif verdicts[lacking].score is None:
                verdicts[name] = verdicts[lacking]
            else:
                verdicts[name] = Verdict.scored(0.0, "requires", detail=f"not judged: {lacking} has no full marks")
        return self.total({name: verdicts[name] for name in self.rules})

    def total(self, verdicts: Mapping[str, Verdict]) -> Judgement:
        """Reward and outcome from the verdicts of all rules."""
        outcomes = {verdicts[name].outcome for name, rule in self.rules.items() if rule.weight}
        outcome: Outcome = "error" if "error" in outcomes else "unscorable" if "unscorable" in outcomes else "scored"
        reward = None
        if outcome == "scored":
            reward = math.fsum(rule.weight * (verdicts[name].score or 0.0) for name, rule in self.rules.items())
        return Judgement(reward=reward, outcome=outcome, verdicts=verdicts)
