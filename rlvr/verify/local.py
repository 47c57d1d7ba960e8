"""Judging on this machine: quick rules in this process, rules that can hang in worker processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from rlvr.config import VerifyConfig
from rlvr.rules.pack import RulePack, Slow
from rlvr.types import Group, Problem, Rollout, RunStopped, Verdict
from rlvr.verifiers.base import Verifier
from rlvr.verify.processes import shared

_Done = tuple[Rollout, float]
"""A judged rollout, and the wall time of its judgement."""


class JudgingFailed(RunStopped):
    """Too many rollouts could not be judged for reasons of ours; going on would train on what is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Groups with verdicts and rewards, and what judging took."""

    groups: tuple[Group, ...]
    seconds: tuple[float, ...]
    """Wall time of each rollout's judgement, in order; waiting for a free worker process is no part of it."""


def judge(groups: Sequence[Group], pack: RulePack, verify: VerifyConfig) -> Judged:
    """Judge every rollout; errors are tried again, then stay masked (and counted: `check_error_share`).

    A rollout is judged here and now where all verdicts are quick; else it is judged in a thread that waits for worker
    processes, beside the others. Verdicts do not depend on the number of workers.
    """
    pool = shared(workers=verify.workers, deadline_s=verify.deadline_s, memory_mb=verify.memory_mb)
    threads = ThreadPoolExecutor(pool.workers)

    def start(rollout: Rollout, problem: Problem) -> Future[_Done] | _Done:
        try:
            return _judge(rollout, problem, pack, verify.retries, _refuse)
        except _NotQuick:
            return threads.submit(_judge, rollout, problem, pack, verify.retries, pool.judge)

    try:
        started = [[start(rollout, group.problem) for rollout in group.rollouts] for group in groups]
        rows = [[each if isinstance(each, tuple) else each.result() for each in row] for row in started]
    except BaseException:  # interrupted: neither what waits nor what is being judged is of use to anybody
        threads.shutdown(wait=False, cancel_futures=True)
        pool.close()
        raise
    finally:
        threads.shutdown()
    judged = tuple(replace(group, rollouts=tuple(r for r, _ in row)) for group, row in zip(groups, rows, strict=True))
    return Judged(groups=judged, seconds=tuple(seconds for row in rows for _, seconds in row))


class _NotQuick(Exception):
    """Some rule needs a worker process."""


def _refuse(verifier: Verifier, turn: str, problem: Problem) -> Verdict:
    raise _NotQuick


def _judge(rollout: Rollout, problem: Problem, pack: RulePack, retries: int, slow: Slow) -> _Done:
    start = time.perf_counter()
    judgement = pack.judge(rollout.text, problem, slow)
    for _ in range(retries):
        if judgement.outcome != "error":
            break
        judgement = pack.judge(rollout.text, problem, slow)
    return replace(rollout, verdicts=judgement.verdicts, reward=judgement.reward), time.perf_counter() - start


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
