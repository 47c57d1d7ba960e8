"""The worker's side of judging through Redis: a batch in, its verdicts stored.

A batch is judged by whoever first says that it does; one that comes again while that worker lives, or when its result is there,
is left alone. So nothing is judged into two verdicts, and all that a dying worker loses is the time it has spent.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from rlvr.scoring.local.supervisor import Supervisor, usable_cores
from rlvr.scoring.remote import protocol
from rlvr.scoring.remote.broker import (
    ALIVE_S,
    PULSE_S,
    RESULT_S,
    WORKER,
    StoreFailed,
    alive_key,
    client_key,
    connect,
    done_key,
    result_key,
)
from rlvr.types import Verdict

_log = logging.getLogger(__name__)
_OUTAGE_S = 60.0
"""How long a worker with verdicts in hand waits for Redis to come back; after that their client has them judged again."""
_LIMITS = 4
"""Pairs of deadline and memory for which worker processes are kept warm."""


class Bench:
    """Judges batches, from several threads, in the worker processes of this machine."""

    def __init__(self, url: str, *, workers: int | None, prefixes: Sequence[str], allow_weak_isolation: bool = False) -> None:
        """`workers`: None for one a processor core. Errors: `ConfigError`."""
        self.workers = usable_cores() if workers is None else workers
        self._prefixes, self._allow_weak_isolation = tuple(prefixes), allow_weak_isolation
        self._store, self._pulse_store = connect(url, patience_s=_OUTAGE_S), connect(url)
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="rlvr-bench")
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._supervisors: dict[tuple[float, int], Supervisor] = {}
        self._users: Counter[tuple[float, int]] = Counter()
        self._under_way: set[str] = set()
        self._pulse = threading.Thread(target=self._show_life, name="rlvr-pulse", daemon=True)
        self._pulse.start()

    def score(self, batch: str, client: str, payload: str) -> None:
        """The task. Errors: of Redis, when it stays away; the client then sends the batch again."""
        with self._claimed(batch, client) as ours:
            if not ours:
                return
            start = time.perf_counter()
            try:
                verdicts = self._verdicts(protocol.unpack(payload))
            except ValueError as error:  # whoever sent it did not use `protocol`
                _log.error("batch %s cannot be read: %s", batch, error)
                verdicts = {}
            result = protocol.pack_result(verdicts, time.perf_counter() - start)
            if self._closed.is_set():  # worker processes are being ended under us: what they say now is no verdict
                return
            with self._store.pipeline() as pipe:
                pipe.set(result_key(batch), result, nx=True, ex=RESULT_S)
                pipe.delete(alive_key(batch))
                pipe.rpush(done_key(client), batch)
                pipe.expire(done_key(client), RESULT_S)
                pipe.execute()

    @contextlib.contextmanager
    def _claimed(self, batch: str, client: str) -> Iterator[bool]:
        judged, wanted = self._store.exists(result_key(batch)), self._store.exists(client_key(client))
        ours = bool(not judged and wanted and self._store.set(alive_key(batch), "1", nx=True, ex=ALIVE_S))
        with self._lock:
            if ours:
                self._under_way.add(batch)
        try:
            yield ours
        finally:
            with self._lock:
                self._under_way.discard(batch)

    def _verdicts(self, batch: protocol.Batch) -> dict[str, Verdict]:
        with self._supervisor(batch.deadline_s, batch.memory_mb) as supervisor:
            given = self._threads.map(lambda task: self._verdict(task, supervisor), batch.tasks)
            return dict(zip([task.id for task in batch.tasks], given, strict=True))

    def _verdict(self, task: protocol.Task, supervisor: Supervisor) -> Verdict:
        try:
            verifier, problem = protocol.read_verifier(task.verifier, self._prefixes), protocol.read_problem(task.problem)
        except (ValueError, RecursionError) as error:
            return Verdict.error("refused", f"by a worker: {error}"[:2000])
        return supervisor.score(verifier, task.response, problem)

    @contextlib.contextmanager
    def _supervisor(self, deadline_s: float, memory_mb: int) -> Iterator[Supervisor]:
        """Clients may have different limits; of those that nobody uses at the moment, the last few are kept."""
        limits = (deadline_s, memory_mb)
        with self._lock:
            supervisor = self._supervisors.pop(limits, None) or Supervisor(
                workers=self.workers,
                deadline_s=deadline_s,
                memory_mb=memory_mb,
                allow_weak_isolation=self._allow_weak_isolation,
            )
            self._supervisors[limits] = supervisor
            self._users[limits] += 1
        try:
            yield supervisor
        finally:
            with self._lock:
                self._users[limits] -= 1
                unused = [each for each in self._supervisors if not self._users[each]]
                old = [self._supervisors.pop(each) for each in unused[: max(0, len(self._supervisors) - _LIMITS)]]
            for each in old:
                each.close()

    def _show_life(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                keys = [WORKER, *map(alive_key, self._under_way)]
            with contextlib.suppress(*StoreFailed), self._pulse_store.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.set(key, "1", ex=ALIVE_S)
                pipe.execute()
            self._closed.wait(PULSE_S)

    def close(self) -> None:
        """End the worker processes; what they are judging is left to another worker."""
        self._closed.set()
        with self._lock:
            supervisors = list(self._supervisors.values())
        for supervisor in supervisors:
            supervisor.close()
        self._threads.shutdown(cancel_futures=True)
        self._pulse.join()
        self._store.close()
        self._pulse_store.close()
