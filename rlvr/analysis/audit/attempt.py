"""One attack on a rule pack: honest solutions to start from, and the reward that the attack gains beyond what is fair."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from rlvr.analysis.audit.attacks.base import BLUFF, Attack, Target
from rlvr.data.prompts import Prompts
from rlvr.rules.pack import Judge, RulePack
from rlvr.types import Problem

_CLOSE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The result of one attack."""

    attack: Attack
    tried: int
    """Problems to which it applies."""
    gained: int
    """Problems on which it got more reward than is fair."""
    worst: tuple[str, float, float] | None
    """The completion that gained most, its reward, and what would have been fair."""
    declared: str | None
    """Why the rules allow it, if all rules that count do."""
    errors: int
    """Completions that could not be scored."""

    @property
    def share(self) -> float:
        return self.gained / self.tried if self.tried else 0.0


def target_of(
    problem: Problem, chosen: Sequence[Problem], answers: Sequence[str], prompts: Prompts, judge: Judge
) -> Target | None:
    """The problem with honest solutions; None if no other problem's completion is wrong for it. answers: those of `chosen`."""
    rendered = prompts.render(problem)
    right = prompts.completion(problem)
    full = judge(right, rendered).reward
    if "completion" in problem.metadata:
        others = [prompts.completion(other) for other in chosen if other is not problem]
        wrong = next((each for each in others if _scores_less(judge, each, rendered, full)), None)
        if wrong is None:
            return None
        honest = (full or 0.0, judge(wrong, rendered).reward or 0.0)
        return Target(problem=rendered, right=right, wrong=wrong, answer="", wrong_answers=("", ""), write=None, honest=honest)
    write = partial(prompts.completion, problem)
    choices = problem.truth.get("choices")
    candidates = [chr(ord("A") + at) for at in range(len(choices))] if choices else answers
    wrong_answers: list[str] = []
    for each in candidates:
        if len(wrong_answers) < 2 and each != answer_of(problem) and _scores_less(judge, write(each, BLUFF), rendered, full):
            wrong_answers.append(each)
    # If no answer is wrong (no rule scores answers), any other one will do.
    wrong_answers += [each for each in ("0", "1") if len(wrong_answers) < 2 and each != answer_of(problem)]
    wrong = write(wrong_answers[0], BLUFF)
    return Target(
        problem=rendered,
        right=right,
        wrong=wrong,
        answer=answer_of(problem),
        wrong_answers=tuple(wrong_answers),
        write=write,
        honest=(full or 0.0, judge(wrong, rendered).reward or 0.0),
    )


def attempt(attack: Attack, targets: Sequence[Target], pack: RulePack, judge: Judge, threads: ThreadPoolExecutor) -> Attempt:
    """Run the attack on all targets."""
    built = [[each for each in attack.build(target) if each is not None] for target in targets]
    tries = threads.map(lambda *each: _try(attack, *each, judge=judge), targets, built)
    made = [each for each in tries if each is not None]
    gained = [each for each in made if each.excess > _CLOSE]
    return Attempt(
        attack=attack,
        tried=len(made),
        gained=len(gained),
        worst=max(gained, key=lambda each: each.excess).best if gained else None,
        declared=pack.allows(attack.name(), attack.family()) if gained else None,
        errors=sum(each.errors for each in made),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """The result of an attack on one problem."""

    excess: float
    """Reward beyond what is fair."""
    best: tuple[str, float, float]
    """The completion that got most, its reward, and what would have been fair."""
    errors: int


def _try(attack: Attack, target: Target, completions: Sequence[str], judge: Judge) -> _Try | None:
    """None where the attack does not apply."""
    if not completions:
        return None
    right, wrong = target.honest
    scores = [judge(each, target.problem).reward for each in completions]
    rewards = [reward or 0.0 for reward in scores]
    most = max(rewards)
    if attack.earns == "guess":  # one completion a candidate
        fair = (right + (len(rewards) - 1) * wrong) / len(rewards)
        excess = sum(rewards) / len(rewards) - fair
    else:
        fair = wrong if attack.earns == "nothing" else right
        # An attack with `less` gains if it gets the full reward.
        excess = most - fair + (2 * _CLOSE if attack.earns == "less" else 0.0)
    errors = sum(reward is None for reward in scores)
    return _Try(excess=excess, best=(completions[rewards.index(most)], most, fair), errors=errors)


def _scores_less(judge: Judge, completion: str, problem: Problem, full: float | None) -> bool:
    reward = judge(completion, problem).reward
    return reward is not None and full is not None and reward < full - _CLOSE


def answer_of(problem: Problem) -> str:
    return str(problem.metadata.get("answer", problem.truth.get("answer", "")))
