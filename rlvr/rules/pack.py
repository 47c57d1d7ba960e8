"""Rules and rule packs: verifiers with names and weights, and the reward that they add up to."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from rlvr.errors import describe
from rlvr.rules.schedule import Schedule
from rlvr.types import Problem, Verdict, VerdictStatus
from rlvr.verifiers.base import Verifier

Slow = Callable[[Verifier, str, Problem], Verdict]
"""Scores a response where `Verifier.quick` cannot: by the full call, in a process that may hang or crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A name, a weight, and one of: a verifier; parts, whose weighted mean is the score."""

    name: str
    weight: float
    """What a full score adds to the reward; negative for a penalty, 0 to report only. With a schedule: the weight at the step
    last given to `at`, or at step 0."""
    schedule: Schedule | None = None
    """The weight by step; None: it is constant."""
    verifier: Verifier | None = None
    parts: tuple[Rule, ...] = ()
    requires: tuple[str, ...] = ()
    """Names of rules of the pack that must have the full score; else this one scores 0 without being run."""
    datasets: tuple[str, ...] = ()
    """Names of data sets of a mixture whose problems it scores; empty: all problems with the ground truth it needs."""
    allows: Mapping[str, str] = field(default_factory=dict)
    """Known weaknesses: attacks of the audit (or families of them) that it does not stop, each with the reason."""

    def __post_init__(self) -> None:
        if isinstance(self.weight, bool) or not isinstance(self.weight, int | float) or not math.isfinite(self.weight):
            raise ValueError(f"{self.name}.weight={self.weight}: must be a finite number")
        if (self.verifier is None) == (not self.parts):
            raise ValueError(f"{self.name}: needs either a verifier or parts, and not both")
        if any(part.schedule for part in self.parts):
            raise ValueError(f"{self.name}.parts: the weight of a part is one number; the rule's may change with the step")
        if self.parts and (min(part.weight for part in self.parts) < 0 or not sum(part.weight for part in self.parts)):
            raise ValueError(f"{self.name}.parts: weights must not be negative, and one must be above 0")
        if any(part.requires for part in self.parts):
            raise ValueError(f"{self.name}.parts: a part cannot have requires; give it to the rule")

    @property
    def counts(self) -> bool:
        """Whether its weight is not 0, now or at any other step."""
        return bool(self.weight) or (self.schedule is not None and any(weight for _, weight in self.schedule.points))

    def at(self, step: int) -> Rule:
        """The rule with the weight in force at a step."""
        return replace(self, weight=self.schedule.at(step)) if self.schedule else self

    def verifiers(self) -> tuple[Verifier, ...]:
        """The rule's own verifier, or those of its parts, at any depth."""
        return (self.verifier,) if self.verifier else tuple(v for part in self.parts for v in part.verifiers())

    def applies(self, problem: Problem) -> bool:
        """Whether it scores this problem, or leaves it to other rules of the pack."""
        if self.datasets:
            return problem.metadata.get("dataset") in self.datasets
        return all(verifier.applies(problem.truth) for verifier in self.verifiers())

    def judge(self, response: str, problem: Problem, slow: Slow) -> Verdict:
        """The verdict on an assistant's response; a verifier that raises has failed on our side: `error`."""
        if self.verifier is None:
            return self._judge_parts(response, problem, slow)
        try:
            verdict = self.verifier.quick(response, problem)
        except Exception as error:  # noqa: BLE001  a bug of ours, never a zero for the model
            return Verdict.error("crash", describe(error))
        return slow(self.verifier, response, problem) if verdict is None else verdict

    def _judge_parts(self, response: str, problem: Problem, slow: Slow) -> Verdict:
        verdicts = {part.name: part.judge(response, problem, slow) for part in self.parts}
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
    """Sum of weight x score; None if a rule with a weight could not score it, so that the rollout must be masked."""
    outcome: VerdictStatus
    """`scored`, or the worst outcome among the rules that count (`error`, then `unscorable`)."""
    verdicts: Mapping[str, Verdict]
    """By rule name, in the pack's order; of the rules that apply to the problem."""


Judge = Callable[[str, Problem], Judgement]
"""`RulePack.judge` with all other arguments bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counting:
    """Rules that count: whose weight is not 0."""

    names: tuple[str, ...]
    decisive: tuple[str, ...]
    """Those of them that score answers; if there are none, all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePack:
    """Rules in order; a rule comes after those that it requires."""

    rules: Mapping[str, Rule]
    _order: tuple[str, ...] = field(init=False)
    _phases: tuple[_Counting, ...] = field(init=False)
    """Which rules count now, and at the steps at which that changes."""

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("rules: the pack holds no rules; name one of conf/rules, or several joined with '+'")
        for rule in self.rules.values():
            unknown = [name for name in rule.requires if name not in self.rules]
            if unknown:
                raise ValueError(f"rules.{rule.name}.requires={unknown[0]}: the pack's rules are {', '.join(self.rules)}")
        object.__setattr__(self, "_order", self._sorted_by_requirement())
        steps = sorted({step for rule in self.rules.values() if rule.schedule for step in rule.schedule.breakpoints()})
        phases = [self.rules, *({name: rule.at(step) for name, rule in self.rules.items()} for step in steps)]
        object.__setattr__(self, "_phases", tuple(dict.fromkeys(self._count(rules) for rules in phases)))

    def _count(self, rules: Mapping[str, Rule]) -> _Counting:
        counting = tuple(name for name, rule in rules.items() if rule.weight)
        answering = tuple(name for name in self.named("answer") if name in counting)
        return _Counting(names=counting, decisive=answering or counting)

    def at(self, step: int) -> RulePack:
        """The pack with the weights in force at a training step (from 1; 0 is before training)."""
        if not any(rule.schedule for rule in self.rules.values()):
            return self
        return type(self)(rules={name: rule.at(step) for name, rule in self.rules.items()})

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

    @property
    def isolated(self) -> bool:
        """Whether a rule that counts at any step runs programs, and so needs a machine that can isolate them."""
        return any(verifier.isolated for rule in self.rules.values() if rule.counts for verifier in rule.verifiers())

    def allows(self, *names: str) -> str | None:
        """Why an attack of the audit may gain, by its name or its family's: the reasons of all rules that count. None: one of
        them does not allow it."""
        reasons = [next(filter(None, map(rule.allows.get, names)), None) for rule in self.rules.values() if rule.weight]
        return "; ".join(dict.fromkeys(map(str, reasons))) if reasons and all(reasons) else None

    def check_allows(self, attacks: Collection[str]) -> None:
        """Errors: `ValueError` for a rule that allows an attack or a family which does not exist."""
        for rule in self.rules.values():
            for name in rule.allows:
                if name not in attacks:
                    allowed = ", ".join(sorted(attacks))
                    raise ValueError(f"rules.{rule.name}.allows.{name}: there is no such attack (allowed: {allowed})")

    def named(self, judges: str) -> tuple[str, ...]:
        """Names of the rules all of whose verifiers score that (`answer`, `format`); see `Verifier.judges`."""
        return tuple(name for name, rule in self.rules.items() if {v.judges for v in rule.verifiers()} == {judges})

    def applicable(self, problem: Problem) -> tuple[str, ...]:
        """Names of the rules that score this problem, required ones before those that require them."""
        return tuple(name for name in self._order if self.rules[name].applies(problem))

    def _unscored(self, problem: Problem, counting: _Counting) -> tuple[str, ...]:
        """The decisive rules, if none of them applies to the problem.

        Format alone must not earn a reward, and a problem that no rule scores must not get a zero.
        """
        return () if any(self.rules[name].applies(problem) for name in counting.decisive) else counting.decisive

    def check_truth(self, problem: Problem) -> str | None:
        """Why a rule that counts, at any step, cannot score this problem, or None."""
        return next(filter(None, (self._check_truth(problem, counting) for counting in self._phases)), None)

    def _check_truth(self, problem: Problem, counting: _Counting) -> str | None:
        unscored = self._unscored(problem, counting)
        for name in unscored or self.applicable(problem):
            for verifier in self.rules[name].verifiers() if name in counting.names else ():
                reason = verifier.check_truth(problem.truth)
                if reason:
                    return f"{name}: {reason}"
        return f"{', '.join(unscored)}: {_not_meant(problem)}" if unscored else None

    def judge(self, completion: str, problem: Problem, slow: Slow, *, retries: int = 0) -> Judgement:
        """Score one completion. Pure: the same completion and problem always get the same judgement.

        slow: scores what may hang or crash, in worker processes (`rlvr.scoring.backend.Backend.score`).
        retries: how many times at most a judgement of `error` is repeated.
        """
        judgement = self._judge(completion, problem, slow)
        for _ in range(retries):
            if judgement.outcome != "error":
                break
            judgement = self._judge(completion, problem, slow)
        return judgement

    def _judge(self, completion: str, problem: Problem, slow: Slow) -> Judgement:
        response = problem.response(completion)
        verdicts: dict[str, Verdict] = {
            name: Verdict.unscorable("not_applicable", _not_meant(problem)) for name in self._unscored(problem, self._phases[0])
        }
        for name in self.applicable(problem):
            rule = self.rules[name]
            lacking = next((other for other in rule.requires if other in verdicts and verdicts[other].score != 1.0), None)
            if lacking is None:
                verdicts[name] = rule.judge(response, problem, slow)
            elif verdicts[lacking].score is None:
                verdicts[name] = verdicts[lacking]
            else:
                verdicts[name] = Verdict.scored(0.0, "requires", detail=f"not run: {lacking} has no full score")
        return self.total({name: verdicts[name] for name in self.rules if name in verdicts})

    def total(self, verdicts: Mapping[str, Verdict]) -> Judgement:
        """Reward and outcome from the verdicts of all rules that apply to a problem."""
        weighted = [(self.rules[name].weight, verdict) for name, verdict in verdicts.items() if self.rules[name].weight]
        outcomes = {verdict.outcome for _, verdict in weighted}
        outcome: VerdictStatus = "error" if "error" in outcomes else "unscorable" if "unscorable" in outcomes else "scored"
        reward = None
        if outcome == "scored":
            reward = math.fsum(weight * (verdict.score or 0.0) for weight, verdict in weighted)
        return Judgement(reward=reward, outcome=outcome, verdicts=verdicts)


def _not_meant(problem: Problem) -> str:
    dataset = problem.metadata.get("dataset")
    return f"not meant for a truth with {', '.join(problem.truth) or 'no keys'}" + (
        f" of data set {dataset}" if dataset else ""
    )
