"""The worker's side of scoring through Redis: a batch in, its verdicts stored.

The first worker that claims a batch scores it; another copy of the batch is ignored while that worker lives, or once there is a
result. So no batch gets two results, and a dying worker loses only the time it has spent.
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
from rlvr.scoring.remote import broker, protocol
from rlvr.types import Verdict

_log = logging.getLogger(__name__)
_OUTAGE_S = 60.0
"""How long a worker with finished verdicts waits for Redis to come back; then the client sends the batch again."""
_LIMITS = 4
"""Pairs of deadline and memory limit for which worker processes are kept warm."""


class BatchScorer:
    """Scores batches, from several threads, in the worker processes of this machine."""

    def __init__(self, url: str, *, workers: int | None, prefixes: Sequence[str], allow_weak_isolation: bool = False) -> None:
        """workers: processes; None: one per processor core. prefixes: of verifiers' modules. Errors: `ConfigError`."""
        self.workers = usable_cores() if workers is None else workers
        self._prefixes = tuple(prefixes)
        self._allow_weak_isolation = allow_weak_isolation
        self._store = broker.connect(url, patience_s=_OUTAGE_S)
        self._heartbeat_store = broker.connect(url)
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="rlvr-batch")
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._supervisors: dict[tuple[float, int], Supervisor] = {}
        self._users: Counter[tuple[float, int]] = Counter()
        self._claims: set[str] = set()
        self._heartbeat = threading.Thread(target=self._send_heartbeats, name="rlvr-heartbeat", daemon=True)
        self._heartbeat.start()

    def score(self, batch: str, client: str, payload: str) -> None:
        """The Celery task. Errors: those of Redis, if it stays away; the client then sends the batch again."""
        with self._claimed(batch, client) as ours:
            if not ours:
                return
            start = time.perf_counter()
            try:
                verdicts = self._verdicts(protocol.unpack(payload))
            except ValueError as error:  # the sender did not use `protocol`
                _log.error("batch %s cannot be read: %s", batch, error)
                verdicts = {}
            result = protocol.pack_result(verdicts, time.perf_counter() - start)
            if self._closed.is_set():  # worker processes are being killed: what they return now is no verdict
                return
            with self._store.pipeline() as pipe:
                pipe.set(broker.result_key(batch), result, nx=True, ex=broker.RESULT_S)
                pipe.delete(broker.alive_key(batch))
                pipe.rpush(broker.done_key(client), batch)
                pipe.expire(broker.done_key(client), broker.RESULT_S)
                pipe.execute()

    @contextlib.contextmanager
    def _claimed(self, batch: str, client: str) -> Iterator[bool]:
        """Whether this worker may score the batch: it has no result yet, a live client, and no other worker."""
        scored, wanted = self._store.exists(broker.result_key(batch)), self._store.exists(broker.client_key(client))
        ours = bool(not scored and wanted and self._store.set(broker.alive_key(batch), "1", nx=True, ex=broker.ALIVE_S))
        with self._lock:
            if ours:
                self._claims.add(batch)
        try:
            yield ours
        finally:
            with self._lock:
                self._claims.discard(batch)

    def _verdicts(self, batch: protocol.Batch) -> dict[str, Verdict]:
        with self._supervisor(batch.deadline_s, batch.memory_mb) as supervisor:
            verdicts = self._threads.map(lambda task: self._verdict(task, supervisor), batch.tasks)
            return dict(zip([task.id for task in batch.tasks], verdicts, strict=True))

    def _verdict(self, task: protocol.Task, supervisor: Supervisor) -> Verdict:
        try:
            verifier, problem = protocol.read_verifier(task.verifier, self._prefixes), protocol.read_problem(task.problem)
        except (ValueError, RecursionError) as error:
            return Verdict.error("refused", f"by a worker: {error}"[:2000])
        return supervisor.score(verifier, task.response, problem)

    @contextlib.contextmanager
    def _supervisor(self, deadline_s: float, memory_mb: int) -> Iterator[Supervisor]:
        """The worker processes for a client's limits; of unused supervisors the last few are kept."""
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

    def _send_heartbeats(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                keys = [broker.WORKER, *map(broker.alive_key, self._claims)]
            with contextlib.suppress(*broker.StoreFailed), self._heartbeat_store.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.set(key, "1", ex=broker.ALIVE_S)
                pipe.execute()
            self._closed.wait(broker.HEARTBEAT_S)

    def close(self) -> None:
        """End the worker processes; another worker then scores the batches in hand."""
        self._closed.set()
        with self._lock:
            supervisors = list(self._supervisors.values())
        for supervisor in supervisors:
            supervisor.close()
        self._threads.shutdown(cancel_futures=True)
        self._heartbeat.join()
        self._store.close()
        self._heartbeat_store.close()
