"""Rule packs: rules in order, and the reward that they add up to."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field, replace

from rlvr.rules.rule import Rule, Slow, SlowRequest
from rlvr.types import Problem, Verdict, VerdictStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a rule pack says of one completion."""

    reward: float | None
    """Sum of weight x score; None if a rule with a weight could not score it, so that the rollout must be masked."""
    outcome: VerdictStatus
    """`scored`, or the worst outcome among the rules that count (`error`, then `unscorable`)."""
    verdicts: Mapping[str, Verdict]
    """By rule name, in the pack's order; of the rules that apply to the problem."""


Judging = Generator[SlowRequest, Verdict, Judgement]
"""A judgement in the making; `advance` takes it to the next verdict that it waits for."""
Judge = Callable[[str, Problem], Judgement]
"""`RulePack.judge` with all other arguments bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counting:
    """Rules that count: whose weight is not 0."""

    names: tuple[str, ...]
    decisive: tuple[str, ...]
    """Those of them that score answers; if there are none, all of them."""

    def unscored(self, applicable: Collection[str]) -> tuple[str, ...]:
        """The decisive rules, if none of them is applicable.

        Format alone must not earn a reward, and a problem that no rule scores must not get a zero.
        """
        return self.decisive if set(self.decisive).isdisjoint(applicable) else ()


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

    def check_truth(self, problem: Problem) -> str | None:
        """Why a rule that counts, at any step, cannot score this problem, or None."""
        return next(filter(None, (self._check_truth(problem, counting) for counting in self._phases)), None)

    def _check_truth(self, problem: Problem, counting: _Counting) -> str | None:
        applicable = self.applicable(problem)
        unscored = counting.unscored(applicable)
        for name in unscored or applicable:
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
        judging = self.judging(completion, problem, retries=retries)
        step = advance(judging)
        while isinstance(step, SlowRequest):
            step = advance(judging, slow(step.verifier, step.response, step.problem))
        return step

    def judging(self, completion: str, problem: Problem, *, retries: int = 0) -> Judging:
        """`judge` for a caller who does other things while a slow verdict is computed; it computes the others as it goes."""
        judgement = yield from self._judging_once(completion, problem)
        for _ in range(retries):
            if judgement.outcome != "error":
                break
            judgement = yield from self._judging_once(completion, problem)
        return judgement

    def _judging_once(self, completion: str, problem: Problem) -> Judging:
        response = problem.response(completion)
        prefill = len(response) - len(completion)
        applicable = self.applicable(problem)
        verdicts: dict[str, Verdict] = {
            name: Verdict.unscorable("not_applicable", _not_meant(problem)) for name in self._phases[0].unscored(applicable)
        }
        for name in applicable:
            rule = self.rules[name]
            lacking = [other for other in rule.requires if other in verdicts and verdicts[other].score != 1.0]
            if not lacking:
                verdict = yield from rule.judging(response, problem)
                verdicts[name] = moved(verdict, -prefill)  # counted from the start of the completion
            elif verdicts[lacking[0]].score is None:
                verdicts[name] = verdicts[lacking[0]]
            else:
                verdicts[name] = Verdict.scored(0.0, "requires", detail=f"not run: {lacking[0]} has no full score")
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


def advance(judging: Judging, verdict: Verdict | None = None) -> SlowRequest | Judgement:
    """The next request of a judgement, or the judgement. verdict: on its last request; None: there was none."""
    try:
        return next(judging) if verdict is None else judging.send(verdict)
    except StopIteration as done:
        return done.value


def moved(verdict: Verdict, by: int) -> Verdict:
    """The verdict with its span `by` characters further on; what then lies before the start of the text is left out."""
    if verdict.span is None or not by:
        return verdict
    start, end = (at + by for at in verdict.span)
    if start < 0 and end <= 0:
        return replace(verdict, span=None)
    return replace(verdict, span=(max(start, 0), end))


def _not_meant(problem: Problem) -> str:
    dataset = problem.metadata.get("dataset")
    return f"not meant for a truth with {', '.join(problem.truth) or 'no keys'}" + (
        f" of data set {dataset}" if dataset else ""
    )
