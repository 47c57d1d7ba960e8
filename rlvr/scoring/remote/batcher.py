"""What threads ask for at about the same time, as batches; and who waits for which, until it is answered."""

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
"""How long the first task of a batch waits for others."""
_TARGET_S = 0.1
"""How long a batch should take a worker: far longer than the queue does, and short enough that long tasks travel alone."""
_LARGEST = 32
"""Tasks in a batch."""


@dataclass(slots=True, kw_only=True, eq=False)
class Sent:
    """A batch, until it is answered."""

    id: str
    payload: str
    """As it travels."""
    tasks: dict[str, Future[Verdict]]
    """By task id."""
    at: float = field(default_factory=time.monotonic)
    """When it was sent, or had to be sent again, last."""
    taken: bool = False
    """Whether a worker was seen to judge it since."""
    losses: int = 0
    """Workers that were lost with it."""


class Batcher:
    """Gathers tasks, from any thread; every one is answered once."""

    def __init__(self, *, deadline_s: float, memory_mb: int) -> None:
        self._limits = protocol.Batch(deadline_s=deadline_s, memory_mb=memory_mb, tasks=())
        self._changed = threading.Condition()
        self._waiting: deque[tuple[protocol.Task, Future[Verdict]]] = deque()
        self._to_send: deque[Sent] = deque()
        self._open: dict[str, Sent] = {}
        self._size = 8.0
        self._refusal: Verdict | None = None

    def ask(self, *, verifier: str, problem: str, response: str) -> Verdict:
        """Wait for the verdict. The texts are those of `rlvr.scoring.remote.protocol`."""
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
        """What is to be sent next; None when there is nothing in that time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._to_send or self._waiting, timeout=timeout_s):
                return None
            if not self._to_send:
                size = max(1, min(_LARGEST, int(self._size)))
                self._changed.wait_for(lambda: len(self._waiting) >= size, timeout=_GATHER_S)
                gathered = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
                if gathered:  # else they were refused meanwhile
                    batch = replace(self._limits, tasks=tuple(task for task, _ in gathered))
                    tasks = {task.id: future for task, future in gathered}
                    sent = Sent(id=uuid.uuid4().hex, payload=protocol.pack(batch), tasks=tasks)
                    self._open[sent.id] = sent
                    self._to_send.append(sent)
            return self._to_send.popleft() if self._to_send else None

    def again(self, batch: Sent) -> None:
        """It has been lost."""
        with self._changed:
            batch.taken, batch.at = False, time.monotonic()
            if batch.id in self._open and batch not in self._to_send:
                self._to_send.append(batch)
                self._changed.notify_all()

    def apart(self, batch: Sent) -> None:
        """A worker died with it: its tasks are sent again one by one, so that one that kills workers takes no other along."""
        with self._changed:
            if self._open.pop(batch.id, None) is None:
                return
            for task in protocol.unpack(batch.payload).tasks:
                payload = protocol.pack(replace(self._limits, tasks=(task,)))
                one = Sent(id=uuid.uuid4().hex, payload=payload, tasks={task.id: batch.tasks[task.id]}, losses=batch.losses)
                self._open[one.id] = one
                self._to_send.append(one)
            self._changed.notify_all()

    def open(self) -> dict[str, Sent]:
        """What waits for an answer, by id."""
        with self._changed:
            return dict(self._open)

    def answer(self, batch: Sent, verdicts: Mapping[str, Verdict], seconds: float = 0.0) -> None:
        """By task id; `seconds`: how long a worker took, if one did."""
        with self._changed:
            if self._open.pop(batch.id, None) is None:
                return
            if seconds > 0:
                self._size += 0.2 * (min(_LARGEST, _TARGET_S * len(batch.tasks) / seconds) - self._size)
        for task, future in batch.tasks.items():
            future.set_result(verdicts[task])

    def refuse(self, verdict: Verdict | None) -> list[str]:
        """Answer with `verdict` all that waits, and until it is None all that is asked. Returns the batches given up."""
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
