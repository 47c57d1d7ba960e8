"""Scores rollouts concurrently with generation; identical inputs are scored once."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from rlvr.errors import RunStopped
from rlvr.rules.pack import Judgement, Judging, RulePack, advance, moved
from rlvr.rules.rule import SlowRequest
from rlvr.scoring.backend import Backend
from rlvr.types import Group, Problem, Rollout, Verdict

T = TypeVar("T")


class ScoringFailed(RunStopped):
    """Too many rollouts could not be scored, through our own failure; going on would train on the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredGroups:
    """Groups with verdicts and rewards, and the time that scoring took."""

    groups: tuple[Group, ...]
    seconds: tuple[float, ...]
    """Wall time of scoring each rollout, in order; waiting for a free worker, or for the verdict on an identical rollout, does
    not count."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Task:
    """A completion being scored; one thread at a time goes on with it."""

    seconds: float = 0.0
    """Wall time spent on it so far."""
    judgement: Future[Judgement] = field(default_factory=Future)

    def timed(self, call: Callable[..., T], *arguments: Any) -> T:
        start = time.perf_counter()
        result = call(*arguments)
        self.seconds += time.perf_counter() - start
        return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    """A task that waits for a slow verdict."""

    task: _Task
    judging: Judging
    request: SlowRequest
    start: int
    """Where in the response that begins which is scored (`Verifier.scored_part`)."""


class ScoringBatch:
    """One batch, scored as its completions arrive; `scoring` makes it.

    Quick verdicts are computed in the calling thread, so that a completion which needs no others is scored at once. For a slow
    one it joins a queue of those that need the same, by `Verifier.scored_part`; a thread asks the backend, and goes on with
    one after the other. They share the verdict, except an `error`: after that the next in the queue asks again.
    Verdicts depend neither on the number of threads nor on the order of arrival.
    """

    def __init__(self, pack: RulePack, backend: Backend, threads: ThreadPoolExecutor, *, retries: int) -> None:
        self._pack = pack
        self._backend = backend
        self._threads = threads
        self._retries = retries
        self._rollouts: dict[tuple[str, int], _Task] = {}
        self._lock = threading.Lock()
        self._known: dict[bytes, Verdict] = {}
        """Slow verdicts by key, their spans counted from the start of what was scored."""
        self._queues: dict[bytes, deque[_Waiting]] = {}
        """By key, while a thread works on them or is going to."""

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
        task = _Task()
        self._go_on(task, self._pack.judging(completion, problem, retries=self._retries), None)
        return task

    def _go_on(self, task: _Task, judging: Judging, verdict: Verdict | None) -> None:
        """To the judgement, or into a queue for a slow verdict. verdict: the last one; None: there was none.

        Errors: `RuntimeError` if the threads take no more work, after an interrupt.
        """
        step = task.timed(advance, judging, verdict)
        while isinstance(step, SlowRequest):
            key, start = task.timed(_key, step)
            known = self._known_or_queued(key, _Waiting(task=task, judging=judging, request=step, start=start))
            if known is None:
                return
            step = task.timed(advance, judging, known)
        task.judgement.set_result(step)

    def _known_or_queued(self, key: bytes, waiting: _Waiting) -> Verdict | None:
        with self._lock:
            if key in self._known:
                return moved(self._known[key], waiting.start)
            if key not in self._queues:
                self._threads.submit(self._work, key)
                self._queues[key] = deque()
            self._queues[key].append(waiting)
            return None

    def _work(self, key: bytes) -> None:
        """In a thread, until the queue is empty."""
        while (first := self._first(key)) is not None:
            try:
                self._go_on(first.task, first.judging, self._verdict(key, first))
            except BaseException as error:  # noqa: BLE001  raised where the judgement is read
                first.task.judgement.set_exception(error)

    def _first(self, key: bytes) -> _Waiting | None:
        """The next of a queue; None: it was empty, and is gone."""
        with self._lock:
            if self._queues[key]:
                return self._queues[key].popleft()
            del self._queues[key]
            return None

    def _verdict(self, key: bytes, waiting: _Waiting) -> Verdict:
        """The verdict that another has got, or else the backend's."""
        if key in self._known:
            return moved(self._known[key], waiting.start)
        request = waiting.request
        verdict = waiting.task.timed(self._backend.score, request.verifier, request.response, request.problem)
        if verdict.outcome != "error":
            self._known[key] = moved(verdict, -waiting.start)
        return verdict


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


def _key(request: SlowRequest) -> tuple[bytes, int]:
    """A key that is equal only for equal values of equal types (in a dict, 1 and True would be the same), and where in the
    response that begins which it stands for."""
    verifier, response, problem = request.verifier, request.response, request.problem
    try:
        part, start = verifier.scored_part(response, problem)
        same = pickle.dumps((verifier, part, problem.truth))
    except Exception:  # noqa: BLE001  code of verifiers; the backend fails on the same and says why
        return os.urandom(32), 0
    return hashlib.blake2b(same, digest_size=32).digest(), start


def _with(rollout: Rollout, judgement: Judgement) -> Rollout:
    return replace(rollout, verdicts=judgement.verdicts, reward=judgement.reward)


def check_error_share(groups: Sequence[Group], pack: RulePack, allowed: float) -> None:
    """Pass the groups of all processes, so that all of them stop together. Errors: `ScoringFailed` above `allowed`."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    failures = [
        [
            f"{name}: {verdict.reason}: {verdict.detail}"
            for name, verdict in rollout.verdicts.items()
            if verdict.outcome == "error" and pack.rules[name].weight
        ]
        for rollout in rollouts
    ]
    failed = [each for each in failures if each]
    if len(failed) > allowed * len(rollouts):
        raise ScoringFailed(
            f"{len(failed)} of {len(rollouts)} rollouts could not be scored, more than "
            f"verify.max_error_share={allowed}: {failed[0][0]}"
        )
