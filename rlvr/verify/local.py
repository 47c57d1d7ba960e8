"""Judging in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlvr.config import VerifyConfig
from rlvr.rules.pack import Judgement, RulePack
from rlvr.types import Group, Problem, RunStopped


class JudgingFailed(RunStopped):
    """Too many rollouts could not be judged for reasons of ours; going on would train on what is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Groups with verdicts and rewards, and what judging took."""

    groups: tuple[Group, ...]
    seconds: tuple[float, ...]
    """Wall time of each rollout's judgement, in order."""


def judge(groups: Sequence[Group], pack: RulePack, verify: VerifyConfig) -> Judged:
    """Judge every rollout; errors are tried again, then stay masked (and counted: `check_error_share`)."""
    seconds: list[float] = []
    judged_groups = []
    for group in groups:
        rollouts = []
        for rollout in group.rollouts:
            start = time.perf_counter()
            judgement = _with_retries(pack, rollout.text, group.problem, verify.retries)
            seconds.append(time.perf_counter() - start)
            rollouts.append(replace(rollout, verdicts=judgement.verdicts, reward=judgement.reward))
        judged_groups.append(replace(group, rollouts=tuple(rollouts)))
    return Judged(groups=tuple(judged_groups), seconds=tuple(seconds))


def _with_retries(pack: RulePack, completion: str, problem: Problem, retries: int) -> Judgement:
    judgement = pack.judge(completion, problem)
    for _ in range(retries if judgement.outcome == "error" else 0):
        judgement = pack.judge(completion, problem)
        if judgement.outcome != "error":
            break
    return judgement


def check_error_share(groups: Sequence[Group], pack: RulePack, allowed: float) -> None:
    """Of the groups of all processes, so that all of them stop together. Errors: `JudgingFailed` past `allowed`."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    failures = [
        f"{name}: {verdict.reason}: {verdict.detail}"
        for rollout in rollouts
        for name, verdict in rollout.verdicts.items()
        if verdict.outcome == "error" and pack.rules[name].weight
    ]
    failed = sum(any(v.outcome == "error" and pack.rules[n].weight for n, v in r.verdicts.items()) for r in rollouts)
    if failed > allowed * len(rollouts):
        raise JudgingFailed(
            f"{failed} of {len(rollouts)} rollouts could not be judged, more than "
            f"verify.max_error_share={allowed}: {failures[0]}"
        )
