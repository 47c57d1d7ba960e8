"""A rule: a verifier, or parts, with a name and a weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace

from rlvr.errors import describe
from rlvr.rules.schedule import Schedule
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

Slow = Callable[[Verifier, str, Problem], Verdict]
"""Scores a response where `Verifier.quick` cannot: by the full call, in a process that may hang or crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowRequest:
    """What a judgement cannot go on without: the verdict of `verifier(response, problem)`, from `Slow`."""

    verifier: Verifier
    response: str
    problem: Problem


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

    def judging(self, response: str, problem: Problem) -> Generator[SlowRequest, Verdict, Verdict]:
        """The verdict on an assistant's response; a verifier that raises has failed on our side: `error`."""
        if self.verifier is None:
            return (yield from self._judging_parts(response, problem))
        try:
            verdict = self.verifier.quick(response, problem)
        except Exception as error:  # noqa: BLE001  a bug of ours, never a zero for the model
            return Verdict.error("crash", describe(error))
        if verdict is None:
            verdict = yield SlowRequest(verifier=self.verifier, response=response, problem=problem)
        return verdict

    def _judging_parts(self, response: str, problem: Problem) -> Generator[SlowRequest, Verdict, Verdict]:
        verdicts: dict[str, Verdict] = {}
        for part in self.parts:
            verdicts[part.name] = yield from part.judging(response, problem)
        for part in self.parts:
            if part.weight and verdicts[part.name].score is None:
                return verdicts[part.name]
        weighted = [(part.weight, verdicts[part.name].score or 0.0) for part in self.parts]
        score = min(1.0, sum(weight * s for weight, s in weighted) / sum(weight for weight, _ in weighted))
        short = [verdicts[part.name].reason for part in self.parts if verdicts[part.name].score != 1.0]
        detail = "; ".join(f"{name}: {verdict.score} {verdict.reason}" for name, verdict in verdicts.items())
        answering = [verdict for verdict in verdicts.values() if verdict.answer is not None]
        answer, span = (answering[0].answer, answering[0].span) if answering else (None, None)
        return Verdict.scored(score, short[0] if short else "correct", answer, detail, span=span)
