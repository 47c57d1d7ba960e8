"""Scores rollouts concurrently with generation; identical inputs are scored once."""

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
    """Too many rollouts could not be scored, through our own failure; going on would train on the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredGroups:
    """Groups with verdicts and rewards, and the time that scoring took."""

    groups: tuple[Group, ...]
    seconds: tuple[float, ...]
    """Wall time of scoring each rollout, in order; waiting for a free worker, or for the verdict on an identical rollout, does
    not count."""


@dataclass(slots=True, kw_only=True)
class _Task:
    """A completion to score."""

    completion: str
    problem: Problem
    seconds: float = 0.0
    """Wall time spent on it so far."""
    judgement: Future[Judgement] = field(default_factory=Future)


class _NotQuick(Exception):
    """Some rule needs a worker."""


class _Elsewhere(Exception):
    """The same input is being scored for another completion, whose thread resubmits this one."""


class ScoringBatch:
    """One batch, scored as its completions arrive; `scoring` makes it.

    If all verdicts are quick, a completion is scored at once in the calling thread; else in a thread that waits for the
    backend. Completions with the same `Verifier.same` share one verdict, except a verdict of `error`. Verdicts depend neither
    on the number of threads nor on the order of arrival.
    """

    def __init__(self, pack: RulePack, backend: Backend, threads: ThreadPoolExecutor, *, retries: int) -> None:
        self._pack, self._backend, self._threads, self._retries = pack, backend, threads, retries
        self._rollouts: dict[tuple[str, int], _Task] = {}
        self._lock = threading.Lock()
        self._known: dict[bytes, Verdict] = {}
        self._waiting: dict[bytes, list[_Task]] = {}
        """Tasks that wait for a verdict in the making, by its key."""

    def submit(self, problem: Problem, index: int, rollout: Rollout) -> None:
        """Start scoring rollout `index` of a problem's group. Errors: `ValueError` if it was submitted before."""
        if (problem.id, index) in self._rollouts:
            raise ValueError(f"rollout {index} of problem {problem.id} was submitted twice: ids of problems must be unique")
        self._rollouts[problem.id, index] = self._start(rollout.text, problem)

    def collect(self, groups: Sequence[Group]) -> ScoredGroups:
        """The groups with all their verdicts; waits for pending ones, and starts those that were not submitted."""
        tasks = [
            [self._rollouts.get((g.problem.id, at)) or self._start(r.text, g.problem) for at, r in enumerate(g.rollouts)]
            for g in groups
        ]
        scored = [
            [_with(rollout, task.judgement.result()) for rollout, task in zip(group.rollouts, row, strict=True)]
            for group, row in zip(groups, tasks, strict=True)
        ]
        return ScoredGroups(
            groups=tuple(replace(group, rollouts=tuple(row)) for group, row in zip(groups, scored, strict=True)),
            seconds=tuple(task.seconds for row in tasks for task in row),
        )

    def score(self, completions: Iterable[tuple[str, Problem]]) -> list[Judgement]:
        """Judgements of completions, in order."""
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
            task.judgement.set_result(self._judge(task, partial(self._score_once, task)))
        except _Elsewhere:
            pass
        except BaseException as error:  # noqa: BLE001  raised where the judgement is read
            task.judgement.set_exception(error)

    def _judge(self, task: _Task, slow: Slow) -> Judgement:
        start = time.perf_counter()
        try:
            return self._pack.judge(task.completion, task.problem, slow, retries=self._retries)
        finally:
            task.seconds += time.perf_counter() - start

    def _score_once(self, task: _Task, verifier: Verifier, response: str, problem: Problem) -> Verdict:
        """The backend's verdict, or its earlier one for the same input."""
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
                self._resubmit(each)

    def _resubmit(self, task: _Task) -> None:
        try:
            self._threads.submit(self._work, task)
        except RuntimeError as error:  # interrupted: the threads take no more work
            task.judgement.set_exception(error)


@contextmanager
def threads_for(backend: Backend) -> Iterator[ThreadPoolExecutor]:
    """As many threads as the backend can use. An exception in the block (Ctrl-C) cancels what waits and closes the backend."""
    threads = ThreadPoolExecutor(backend.concurrency, thread_name_prefix="rlvr-scoring")
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
    """`with scoring(...) as batch: groups = engine.sample(..., on_finished=batch.submit); scored = batch.collect(groups)`.

    retries: how many times at most a judgement of `error` is repeated.
    """
    with threads_for(backend) as threads:
        yield ScoringBatch(pack, backend, threads, retries=retries)


def _refuse(verifier: Verifier, response: str, problem: Problem) -> Verdict:
    raise _NotQuick


def _key(verifier: Verifier, response: str, problem: Problem) -> bytes:
    """A key that is equal only for equal values of equal types: in a dict, 1 and True would be the same."""
    try:
        same = pickle.dumps((verifier, verifier.same(response, problem), problem.truth))
    except Exception:  # noqa: BLE001  code of verifiers; the backend fails on the same and says why
        return os.urandom(32)
    return hashlib.blake2b(same, digest_size=32).digest()


def _with(rollout: Rollout, judgement: Judgement) -> Rollout:
    return replace(rollout, verdicts=judgement.verdicts, reward=judgement.reward)


def check_error_share(groups: Sequence[Group], pack: RulePack, allowed: float) -> None:
    """Pass the groups of all processes, so that all of them stop together. Errors: `ScoringFailed` above `allowed`."""
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
            f"{failed} of {len(rollouts)} rollouts could not be scored, more than "
            f"verify.max_error_share={allowed}: {failures[0]}"
        )
