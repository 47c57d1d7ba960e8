"""Judging in supervised worker processes: what hangs, crashes or grows there costs one verdict and never the run.

A worker is a fresh interpreter on two pipes (`rlvr.scoring.local.worker`): `multiprocessing` would run the user's script again
(spawn) or copy a process full of threads (fork), and its pools do not outlive a worker that is killed.
"""

from __future__ import annotations

import atexit
import os
import pickle
import threading

from rlvr.config.schema import VerifyConfig
from rlvr.errors import describe
from rlvr.scoring.backend import Backend
from rlvr.scoring.local.worker import Worker
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier


class Supervisor(Backend):
    """Worker processes that judge, started as they are needed, for any number of threads; each waits for a free worker.

    Whoever judges makes one and passes it on: `with Supervisor(workers=4) as pool: pack.judge(..., slow=pool.score)`. So no
    setting is global, and two packs may have other limits. Workers take long to start and hold their imports, so for those
    who judge again and again there is `shared`, whose workers live as long as this process; `RulePack.judge` alone uses that.
    A forked child has no workers, and starts its own.
    """

    def __init__(
        self,
        *,
        workers: int | None = VerifyConfig.workers,
        deadline_s: float = VerifyConfig.deadline_s,
        memory_mb: int = VerifyConfig.memory_mb,
        allow_weak_isolation: bool = False,
    ) -> None:
        """For the arguments see `VerifyConfig`. Errors: `ValueError`."""
        self.concurrency = usable_cores() if workers is None else workers
        if self.concurrency < 1:
            raise ValueError(f"workers={workers}: must be at least 1")
        if not 0 < deadline_s < float("inf"):
            raise ValueError(f"deadline_s={deadline_s}: must be above 0")
        if memory_mb < 1:
            raise ValueError(f"memory_mb={memory_mb}: must be at least 1")
        self.closed = False
        self._limits = (deadline_s, memory_mb)
        self._allow_weak_isolation = allow_weak_isolation
        self._all: set[Worker] = set()
        self.forget()

    def score(self, verifier: Verifier, response: str, problem: Problem) -> Verdict:
        """What `verifier(response, problem)` says, from a worker process.

        A score of 0 with `timeout` or `memory` where it needs more than allowed; `error` where our side failed: `crash`
        (it raised, or the worker died), `stalled` (the machine gives no time), `no_worker` (none starts). Never raises.
        """
        try:
            payload, waits_s = pickle.dumps((verifier, response, problem)), _waits_s(verifier)
        except Exception as error:  # noqa: BLE001  both call code of verifiers
            return Verdict.error("crash", f"cannot be sent to a worker process: {describe(error)}")
        with self._free:
            try:
                worker = self._take()
            except (OSError, RuntimeError) as error:
                return Verdict.error("no_worker", f"a worker process cannot be started: {describe(error)}")
            keep = False
            try:
                verdict, keep = worker.score(payload, *self._limits, waits_s)
            finally:
                self._put_back(worker, keep=keep)
            return verdict

    def _take(self) -> Worker:
        with self._lock:
            if self.closed:
                raise RuntimeError("the supervisor was closed")
            _supervisors.add(self)
            worker = self._idle.pop() if self._idle else None
        if worker is not None:
            if worker.alive():
                return worker
            self._put_back(worker, keep=False)
        worker = Worker(allow_weak_isolation=self._allow_weak_isolation)
        with self._lock:
            if not self.closed:
                self._all.add(worker)
                return worker
        worker.end()
        raise RuntimeError("the supervisor was closed")

    def _put_back(self, worker: Worker, *, keep: bool) -> None:
        with self._lock:
            if keep and not self.closed:
                self._idle.append(worker)
                return
            self._all.discard(worker)
        worker.end()

    def require_isolation(self) -> None:
        """Errors: `ConfigError` where this machine cannot isolate programs and weak isolation is not allowed."""
        from rlvr.sandbox.probe import require  # starts programs to find out

        require(self._allow_weak_isolation)

    def close(self) -> None:
        """End all workers; what they are judging becomes `error`."""
        with self._lock:
            self.closed = True
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
            self._all.difference_update(idle)
        for worker in idle:
            worker.end()
        for worker in busy:  # whoever waits for it then ends it
            worker.kill()
        _supervisors.discard(self)

    def forget(self) -> None:
        """Have no workers, without a word to those that are there: they belong to the process that this one was forked from."""
        for worker in self._all:
            worker.forget()
        self._lock, self._free = threading.Lock(), threading.BoundedSemaphore(self.concurrency)
        self._idle: list[Worker] = []
        self._all = set()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_supervisors: set[Supervisor] = set()
"""Those that may have workers."""
_shared: dict[tuple[object, ...], Supervisor] = {}


def shared(
    *,
    workers: int | None = VerifyConfig.workers,
    deadline_s: float = VerifyConfig.deadline_s,
    memory_mb: int = VerifyConfig.memory_mb,
    allow_weak_isolation: bool = False,
) -> Supervisor:
    """The supervisor of this process with such settings, to be used again; it is closed at exit. Whoever closes it before
    (`rlvr.scoring.scheduler`, when interrupted) ends what others have it judge, and the next one to ask gets a new one."""
    key = (workers, deadline_s, memory_mb, allow_weak_isolation)
    if (made := _shared.get(key)) and made.closed:
        _shared.pop(key, None)
    if key not in _shared:
        made = Supervisor(
            workers=workers, deadline_s=deadline_s, memory_mb=memory_mb, allow_weak_isolation=allow_weak_isolation
        )
        return _shared.setdefault(key, made)
    return _shared[key]


def supervised(verifier: Verifier, response: str, problem: Problem) -> Verdict:
    """What a verifier says, from a worker process of the shared supervisor with the default settings."""
    return shared().score(verifier, response, problem)


def _waits_s(verifier: Verifier) -> float:
    if not 0 <= (seconds := verifier.waits_s()) < float("inf"):
        raise ValueError(f"{type(verifier).__name__}.waits_s() is {seconds}: must be 0 or more")
    return seconds


def usable_cores() -> int:
    """Processor cores that this process may use; a share of them where a launcher started several processes on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


@atexit.register
def _close_all() -> None:
    for supervisor in list(_supervisors):
        supervisor.close()


def _forget_all() -> None:
    for supervisor in list(_supervisors):
        supervisor.forget()


os.register_at_fork(after_in_child=_forget_all)
