"""Micro-batches concurrent requests and tracks batches in flight."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from rlvr.scoring.remote import protocol
from rlvr.types import Verdict

_GATHER_S = 0.003
"""Seconds for which the first task of a batch waits for others."""
_TARGET_S = 0.1
"""Seconds that a batch should take a worker: far longer than the queue takes, short enough that long tasks travel alone."""
_LARGEST = 32
"""Most tasks in a batch."""


@dataclass(slots=True, kw_only=True, eq=False)
class Sent:
    """A batch in flight, until it is answered."""

    id: str
    payload: str
    """`protocol.pack` of the batch."""
    tasks: dict[str, Future[Verdict]]
    """By task id."""
    at: float = field(default_factory=time.monotonic)
    """When it was last put in line for sending (monotonic seconds)."""
    taken: bool = False
    """Whether a worker was seen to score it since."""
    losses: int = 0
    """Workers that died with it in hand."""


class Batcher:
    """Gathers tasks from any thread into batches; every task is answered once."""

    def __init__(self, *, deadline_s: float, memory_mb: int) -> None:
        self._limits = protocol.Batch(deadline_s=deadline_s, memory_mb=memory_mb, tasks=())
        self._changed = threading.Condition()
        self._waiting: deque[tuple[protocol.Task, Future[Verdict]]] = deque()
        self._to_send: deque[Sent] = deque()
        self._open: dict[str, Sent] = {}
        self._size = 8.0
        self._refusal: Verdict | None = None

    def request(self, *, verifier: str, problem: str, response: str) -> Verdict:
        """Wait for a verdict. The texts are those of `rlvr.scoring.remote.protocol`."""
        future: Future[Verdict] = Future()
        with self._changed:
            if self._refusal is not None:
                return self._refusal
            self._waiting.append(
                (protocol.Task(id=uuid.uuid4().hex, verifier=verifier, problem=problem, response=response), future)
            )
            self._changed.notify_all()
        return future.result()

    def next(self, timeout_s: float) -> Sent | None:
        """The next batch to send; None if there is none within the timeout."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._to_send or self._waiting, timeout=timeout_s):
                return None
            if not self._to_send:
                size = max(1, min(_LARGEST, int(self._size)))
                self._changed.wait_for(lambda: len(self._waiting) >= size, timeout=_GATHER_S)
                gathered = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
                if gathered:  # else they were refused in the meantime
                    batch = replace(self._limits, tasks=tuple(task for task, _ in gathered))
                    tasks = {task.id: future for task, future in gathered}
                    sent = Sent(id=uuid.uuid4().hex, payload=protocol.pack(batch), tasks=tasks)
                    self._open[sent.id] = sent
                    self._to_send.append(sent)
            return self._to_send.popleft() if self._to_send else None

    def resend(self, batch: Sent) -> None:
        """Put a lost batch in line again."""
        with self._changed:
            batch.taken, batch.at = False, time.monotonic()
            if batch.id in self._open and batch not in self._to_send:
                self._to_send.append(batch)
                self._changed.notify_all()

    def split(self, batch: Sent) -> None:
        """A worker died with the batch: send its tasks one by one, so that one that kills workers harms no other."""
        with self._changed:
            if self._open.pop(batch.id, None) is None:
                return
            for task in protocol.unpack(batch.payload).tasks:
                payload = protocol.pack(replace(self._limits, tasks=(task,)))
                one = Sent(id=uuid.uuid4().hex, payload=payload, tasks={task.id: batch.tasks[task.id]}, losses=batch.losses)
                self._open[one.id] = one
                self._to_send.append(one)
            self._changed.notify_all()

    def in_flight(self) -> dict[str, Sent]:
        """Batches without an answer, by id."""
        with self._changed:
            return dict(self._open)

    def answer(self, batch: Sent, verdicts: Mapping[str, Verdict], seconds: float = 0.0) -> None:
        """verdicts: by task id. seconds: how long a worker took; 0 if none did."""
        with self._changed:
            if self._open.pop(batch.id, None) is None:
                return
            if seconds > 0:
                self._size += 0.2 * (min(_LARGEST, _TARGET_S * len(batch.tasks) / seconds) - self._size)
        for task, future in batch.tasks.items():
            future.set_result(verdicts[task])

    def refuse(self, verdict: Verdict | None) -> list[str]:
        """Answer all pending tasks with `verdict`, and all new ones until it is None. Returns ids of the batches given up."""
        with self._changed:
            self._refusal = verdict
            if verdict is None:
                return []
            given_up = list(self._open)
            futures = [future for batch in self._open.values() for future in batch.tasks.values()]
            futures += [future for _, future in self._waiting]
            for each in (self._open, self._to_send, self._waiting):
                each.clear()
        for future in futures:
            future.set_result(verdict)
        return given_up
