"""Scoring in supervised worker processes: a hang, crash or memory leak there costs one verdict, never the run.

A worker is a fresh interpreter on two pipes (`rlvr.scoring.local.worker`): `multiprocessing` would run the user's script again
(spawn) or copy a process full of threads (fork), and its pools do not survive a killed worker.
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
    """A pool of worker processes, started as they are needed; any number of threads may call it, and wait for a free worker.

    The caller makes one and passes it on: `with Supervisor(workers=4) as pool: pack.judge(..., slow=pool.score)`. So no setting
    is global, and two packs may have different limits. Workers are slow to start and keep their imports: `shared` gives a
    supervisor whose workers live as long as this process. A forked child inherits no workers, and starts its own.
    """

    def __init__(
        self,
        *,
        workers: int | None = VerifyConfig.workers,
        deadline_s: float = VerifyConfig.deadline_s,
        memory_mb: int = VerifyConfig.memory_mb,
        allow_weak_isolation: bool = False,
    ) -> None:
        """Arguments: see `VerifyConfig`, with its bounds."""
        self.concurrency = usable_cores() if workers is None else workers
        assert self.concurrency > 0, "without workers, calls would wait forever"
        self.closed = False
        self._limits = (deadline_s, memory_mb)
        self._allow_weak_isolation = allow_weak_isolation
        self._all: set[Worker] = set()
        self.forget()

    def score(self, verifier: Verifier, response: str, problem: Problem) -> Verdict:
        """The verdict of `verifier(response, problem)`, from a worker process.

        A score of 0 with `timeout` or `memory` if it needs more than allowed; `error` for our own failure: `crash` (it raised,
        or the worker died), `stalled` (the process got no processor time), `no_worker` (none starts). Never raises.
        """
        try:
            payload, waits_s = pickle.dumps((verifier, response, problem)), _waits_s(verifier)
        except Exception as error:  # noqa: BLE001  both run code of verifiers
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
        """Errors: `ConfigError` if this machine cannot isolate programs, and weak isolation is not allowed."""
        from rlvr.sandbox.probe import require  # starts programs to find out

        require(self._allow_weak_isolation)

    def close(self) -> None:
        """End all workers; verdicts in the making become `error`."""
        with self._lock:
            self.closed = True
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
            self._all.difference_update(idle)
        for worker in idle:
            worker.end()
        for worker in busy:  # the thread that waits for it then ends it
            worker.kill()
        _supervisors.discard(self)

    def forget(self) -> None:
        """Drop worker handles without signalling them (in a forked child)."""
        for worker in self._all:
            worker.forget()
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(self.concurrency)
        self._idle: list[Worker] = []
        self._all = set()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_supervisors: set[Supervisor] = set()
"""Supervisors that may have workers."""
_shared: dict[tuple[object, ...], Supervisor] = {}


def shared(
    *,
    workers: int | None = VerifyConfig.workers,
    deadline_s: float = VerifyConfig.deadline_s,
    memory_mb: int = VerifyConfig.memory_mb,
    allow_weak_isolation: bool = False,
) -> Supervisor:
    """This process's supervisor with these settings; the same object every time, closed at exit.

    If it is closed earlier (`rlvr.scoring.scheduler` does, when interrupted), the next call makes a new one.
    """
    key = (workers, deadline_s, memory_mb, allow_weak_isolation)
    known = _shared.get(key)
    if known is not None and not known.closed:
        return known
    if known is not None:
        _shared.pop(key, None)
    new = Supervisor(workers=workers, deadline_s=deadline_s, memory_mb=memory_mb, allow_weak_isolation=allow_weak_isolation)
    return _shared.setdefault(key, new)  # another thread may have been first


def supervised(verifier: Verifier, response: str, problem: Problem) -> Verdict:
    """The verdict of a verifier, from a worker process of the shared supervisor with default settings."""
    return shared().score(verifier, response, problem)


def _waits_s(verifier: Verifier) -> float:
    seconds = verifier.waits_s()
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{type(verifier).__name__}.waits_s() is {seconds}: must be 0 or more")
    return seconds


def usable_cores() -> int:
    """Processor cores that this process may use; its share of them if a launcher started several processes here."""
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
