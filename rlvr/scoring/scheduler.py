"""ScoringBatch beside sampling: quick rules at once in this process, slow ones by a backend's workers, what is the same once."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from rlvr.errors import RunStopped
from rlvr.rules.pack import Judgement, RulePack, Slow
from rlvr.scoring.backend import Backend
from rlvr.types import Group, Problem, Rollout, Verdict
from rlvr.verifiers.base import Verifier


class ScoringFailed(RunStopped):
    """Too many rollouts could not be judged for reasons of ours; going on would train on what is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredGroups:
    """Groups with verdicts and rewards, and what judging took."""

    groups: tuple[Group, ...]
    seconds: tuple[float, ...]
    """Wall time of each rollout's judgement, in order; waiting for a free worker, or for the verdict on another rollout that is
    the same, is no part of it."""


@dataclass(slots=True, kw_only=True)
class _Task:
    """A completion to judge."""

    completion: str
    problem: Problem
    seconds: float = 0.0
    """Wall time spent on it so far."""
    judgement: Future[Judgement] = field(default_factory=Future)


class _NotQuick(Exception):
    """Some rule needs a worker."""


class _Elsewhere(Exception):
    """The verdict is being found for another completion, whose thread starts this one again."""


class ScoringBatch:
    """One batch, judged as its completions come; see `judging`, which makes it.

    A completion is judged here and now where all verdicts are quick; else in a thread that waits for the backend, beside the
    others. What verdicts depend on (`Verifier.same`) is judged once where it is the same in several completions, except that a
    verdict of `error` holds for nobody else. Verdicts depend neither on the number of threads nor on the order of arrival.
    """

    def __init__(self, pack: RulePack, backend: Backend, threads: ThreadPoolExecutor, *, retries: int) -> None:
        self._pack, self._backend, self._threads, self._retries = pack, backend, threads, retries
        self._rollouts: dict[tuple[str, int], _Task] = {}
        self._lock = threading.Lock()
        self._known: dict[bytes, Verdict] = {}
        self._waiting: dict[bytes, list[_Task]] = {}
        """By what is being judged now: those that wait for the verdict."""

    def submit(self, problem: Problem, index: int, rollout: Rollout) -> None:
        """Begin to judge rollout `index` of a problem's group. Errors: `ValueError` for one that was there before."""
        if (problem.id, index) in self._rollouts:
            raise ValueError(f"rollout {index} of problem {problem.id} was handed in twice: ids of problems must be unique")
        self._rollouts[problem.id, index] = self._start(rollout.text, problem)

    def collect(self, groups: Sequence[Group]) -> ScoredGroups:
        """The groups with all their verdicts; waits for what is not done, begins what was not handed in."""
        tasks = [
            [self._rollouts.get((g.problem.id, at)) or self._start(r.text, g.problem) for at, r in enumerate(g.rollouts)]
            for g in groups
        ]
        judged = [
            [_with(rollout, task.judgement.result()) for rollout, task in zip(group.rollouts, row, strict=True)]
            for group, row in zip(groups, tasks, strict=True)
        ]
        return ScoredGroups(
            groups=tuple(replace(group, rollouts=tuple(row)) for group, row in zip(groups, judged, strict=True)),
            seconds=tuple(task.seconds for row in tasks for task in row),
        )

    def score(self, completions: Iterable[tuple[str, Problem]]) -> list[Judgement]:
        """Judgements of completions, in their order."""
        return [task.judgement.result() for task in [self._start(text, problem) for text, problem in completions]]

    def _start(self, completion: str, problem: Problem) -> _Task:
        task = _Task(completion=completion, problem=problem)
        try:
            task.judgement.set_result(self._judge(task, _refuse))
        except _NotQuick:
            task.seconds = 0.0
            self._threads.submit(self._work, task)
        return task

    def _work(self, task: _Task) -> None:
        try:
            task.judgement.set_result(self._judge(task, partial(self._once, task)))
        except _Elsewhere:
            pass
        except BaseException as error:  # noqa: BLE001  raised where the judgement is asked for
            task.judgement.set_exception(error)

    def _judge(self, task: _Task, slow: Slow) -> Judgement:
        start = time.perf_counter()
        try:
            return self._pack.judge(task.completion, task.problem, slow, retries=self._retries)
        finally:
            task.seconds += time.perf_counter() - start

    def _once(self, task: _Task, verifier: Verifier, response: str, problem: Problem) -> Verdict:
        """The backend's verdict, or the one that it had for the same before."""
        key = _key(verifier, response, problem)
        with self._lock:
            if key in self._known:
                return self._known[key]
            if key in self._waiting:
                self._waiting[key].append(task)
                raise _Elsewhere
            self._waiting[key] = []
        verdict = None
        try:
            verdict = self._backend.score(verifier, response, problem)
            return verdict
        finally:
            with self._lock:
                if verdict is not None and verdict.outcome != "error":
                    self._known[key] = verdict
                waiting = self._waiting.pop(key)
            for each in waiting:
                self._again(each)

    def _again(self, task: _Task) -> None:
        try:
            self._threads.submit(self._work, task)
        except RuntimeError as error:  # interrupted: no thread begins anything more
            task.judgement.set_exception(error)


@contextmanager
def threads_for(backend: Backend) -> Iterator[ThreadPoolExecutor]:
    """As many threads as the backend can use. Where the block is left by an exception (Ctrl-C), neither what waits nor what is
    being judged is of use to anybody: the backend is closed."""
    threads = ThreadPoolExecutor(backend.concurrency, thread_name_prefix="rlvr-judging")
    try:
        yield threads
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        backend.close()
        raise
    finally:
        threads.shutdown()


@contextmanager
def scoring(pack: RulePack, backend: Backend, *, retries: int) -> Iterator[ScoringBatch]:
    """`with judging(...) as batch: groups = engine.sample(..., on_finished=batch.submit); judged = batch.collect(groups)`.

    `retries`: how often a judgement of `error` is made again before it stays.
    """
    with threads_for(backend) as threads:
        yield ScoringBatch(pack, backend, threads, retries=retries)


def _refuse(verifier: Verifier, response: str, problem: Problem) -> Verdict:
    raise _NotQuick


def _key(verifier: Verifier, response: str, problem: Problem) -> bytes:
    """Equal only for what is the same down to types: 1 is not True, as it would be in a dict."""
    try:
        same = pickle.dumps((verifier, verifier.same(response, problem), problem.truth))
    except Exception:  # noqa: BLE001  code of verifiers; the backend meets the same and says what is wrong
        return os.urandom(32)
    return hashlib.blake2b(same, digest_size=32).digest()


def _with(rollout: Rollout, judgement: Judgement) -> Rollout:
    return replace(rollout, verdicts=judgement.verdicts, reward=judgement.reward)


def check_error_share(groups: Sequence[Group], pack: RulePack, allowed: float) -> None:
    """Of the groups of all processes, so that all of them stop together. Errors: `ScoringFailed` past `allowed`."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    failures = [
        f"{name}: {verdict.reason}: {verdict.detail}"
        for rollout in rollouts
        for name, verdict in rollout.verdicts.items()
        if verdict.outcome == "error" and pack.rules[name].weight
    ]
    failed = sum(any(v.outcome == "error" and pack.rules[n].weight for n, v in r.verdicts.items()) for r in rollouts)
    if failed > allowed * len(rollouts):
        raise ScoringFailed(
            f"{failed} of {len(rollouts)} rollouts could not be judged, more than "
            f"verify.max_error_share={allowed}: {failures[0]}"
        )
