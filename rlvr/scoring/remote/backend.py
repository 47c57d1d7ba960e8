"""Scoring by workers on other machines, through Celery on Redis (`rlvr worker`).

Redis may lose everything: a batch whose worker has died, or that Redis has lost, is sent again, and its first result counts
(`rlvr.scoring.remote.server` is the other end). If no worker answers for long, verdicts are `error`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence

from rlvr.config.redact import without_password
from rlvr.config.schema import VerifyConfig
from rlvr.errors import describe
from rlvr.scoring.backend import Backend
from rlvr.scoring.remote import broker, protocol
from rlvr.scoring.remote.batcher import Batcher, Sent
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

_UNSEEN_S = 5.0
"""Seconds after which a batch that no worker scores, though the queue is empty, counts as lost."""
_LOSSES = 10
"""Workers that may die with a batch in hand, one after the other, before it is given up."""
_AT_ONCE = 64
"""Most results fetched at a time."""


class RedisBackend(Backend):
    """Workers anywhere. The limits of a verdict are this client's, so that it is the same wherever it is scored."""

    sent_again: int
    """How many batches were sent again, because a worker or Redis lost them."""

    def __init__(
        self,
        *,
        url: str,
        rules_from: Sequence[str] = (),
        deadline_s: float = VerifyConfig.deadline_s,
        memory_mb: int = VerifyConfig.memory_mb,
        patience_s: float = VerifyConfig.redis_patience_s,
        in_flight: int = VerifyConfig.redis_in_flight,
        redeliver_s: float = VerifyConfig.redis_redeliver_s,
    ) -> None:
        """Arguments: see `VerifyConfig`, with its bounds. Errors: `ConfigError` if Redis does not answer."""
        self.concurrency = in_flight
        self._url = without_password(url)
        self._prefixes = ("rlvr.", *rules_from)
        self._patience_s = patience_s
        self._store = broker.connect(url)
        self._app = broker.application(url, redeliver_s=redeliver_s)
        self._batcher = Batcher(deadline_s=deadline_s, memory_mb=memory_mb)
        self._client = uuid.uuid4().hex
        self._beat = 0
        self._pid = os.getpid()
        self._closed = threading.Event()
        self._sign_of_life = time.monotonic()
        self.sent_again = 0
        self._heartbeat()
        self._threads = [threading.Thread(target=self._run, args=(each,), daemon=True) for each in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def score(self, verifier: Verifier, response: str, problem: Problem) -> Verdict:
        """The verdict of `verifier(response, problem)`, from a worker; never raises.

        `error`, in addition to those of a worker process: `no_worker` (no answer), `refused` (a worker may not construct this
        verifier), `bad_result` (the reply is no verdict), `crash` (it cannot be sent, or workers die of it).
        """
        if os.getpid() != self._pid:
            return Verdict.error("no_worker", "this process was forked from the one that is connected to the workers")
        try:
            verifier_text, problem_text = protocol.verifier_text(verifier, self._prefixes), protocol.problem_text(problem)
            if not isinstance(response, str):
                raise TypeError(f"the response is a {type(response).__name__}")
        except (ValueError, TypeError, RecursionError) as error:
            return Verdict.error("crash", f"cannot be sent to a worker: {describe(error)}")
        return self._batcher.request(verifier=verifier_text, problem=problem_text, response=response)

    def require_isolation(self) -> None:
        """Nothing here: each worker refuses to run programs if its machine cannot isolate them."""

    def close(self) -> None:
        """Stop scoring: pending calls return `error`, and workers drop what is queued."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._give_up(Verdict.error("no_worker", "the connection to the workers was closed"))
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(*broker.StoreFailed):
            self._store.delete(broker.client_key(self._client), broker.done_key(self._client))
        self._app.close()
        self._store.close()

    def _run(self, loop: Callable[[], None]) -> None:
        try:
            while not self._closed.is_set():
                loop()
        except Exception as error:  # noqa: BLE001  without this thread no call would ever return
            self._closed.set()
            self._give_up(Verdict.error("no_worker", f"the connection to the workers failed: {describe(error)}"))

    def _send(self) -> None:
        batch = self._batcher.next(broker.HEARTBEAT_S)
        while batch is not None and batch.id in self._batcher.in_flight():
            try:
                arguments = [batch.id, self._client, batch.payload]
                self._app.send_task(broker.TASK, args=arguments, queue=broker.QUEUE, retry=False, argsrepr="", kwargsrepr="")
                break
            except broker.SendFailed:  # `_receive` fails too, and counts the seconds
                self._closed.wait(broker.HEARTBEAT_S / 4)

    def _receive(self) -> None:
        """Hand out results as they arrive, until it is time for the next `_heartbeat`."""
        until = time.monotonic() + broker.HEARTBEAT_S
        try:
            while (left := until - time.monotonic()) > 0:
                popped = self._store.blpop([broker.done_key(self._client)], timeout=max(left, 0.01))
                if popped is not None:
                    more = self._store.lpop(broker.done_key(self._client), _AT_ONCE) or []
                    self._take([each.decode(errors="replace") for each in (popped[1], *more) if isinstance(each, bytes)])
            self._heartbeat()
        except broker.StoreFailed as error:
            self._check_patience(f"Redis cannot be reached ({error})")
            self._closed.wait(broker.HEARTBEAT_S / 4)

    def _take(self, batches: Iterable[str]) -> None:
        """Hand out the results of those of `batches` that are in flight. Errors: of Redis."""
        sent = self._batcher.in_flight()
        ours = [sent[each] for each in dict.fromkeys(batches) if each in sent]
        if not ours:
            return
        with self._store.pipeline(transaction=False) as pipe:
            for batch in ours:
                pipe.get(broker.result_key(batch.id))
            results = pipe.execute(raise_on_error=False)
        for batch, result in zip(ours, results, strict=True):
            if result is not None:  # an exception if the key holds no text: not written by a worker
                data = result if isinstance(result, bytes) else b""
                self._batcher.answer(batch, *protocol.unpack_result(data, list(batch.tasks)))
        self._forget([batch.id for batch, result in zip(ours, results, strict=True) if result is not None])

    def _forget(self, batches: Sequence[str]) -> None:
        """Empty the results, but keep their keys, so that late copies of the batches are not scored."""
        with self._store.pipeline(transaction=False) as pipe:
            for batch in batches:
                pipe.set(broker.result_key(batch), b"", ex=broker.RESULT_S)
            pipe.execute()

    def _heartbeat(self) -> None:
        """Send a heartbeat, check for those of workers and batches, and send lost batches again. Errors: of Redis."""
        sent = list(self._batcher.in_flight().values())
        self._beat += 1
        with self._store.pipeline() as pipe:
            pipe.get(broker.client_key(self._client))
            pipe.set(broker.client_key(self._client), str(self._beat), ex=broker.CLIENT_S)
            pipe.exists(broker.WORKER)
            pipe.llen(broker.QUEUE)
            for batch in sent:
                pipe.exists(broker.alive_key(batch.id))
                pipe.exists(broker.result_key(batch.id))
            before, _, workers, queued, *states = pipe.execute()
        # Without our last heartbeat, Redis has lost its data or restored an older state, or this client was gone for long.
        redis_lost_data = self._beat > 1 and before != str(self._beat - 1).encode()
        done = [batch.id for batch, has_result in zip(sent, states[1::2], strict=True) if has_result]
        for batch, alive in zip(sent, states[::2], strict=True):
            batch.taken = batch.taken or bool(alive)
            if batch.id not in done and not alive:
                self._check_lost(batch, nothing_queued=not queued)
        if redis_lost_data:
            for batch in self._batcher.in_flight().values():  # including those sent since
                if batch.id not in done:
                    self._resend(batch)
        self._take(done)
        if workers:
            self._sign_of_life = time.monotonic()
            self._batcher.refuse(None)
        self._check_patience("no worker answers")

    def _check_lost(self, batch: Sent, *, nothing_queued: bool) -> None:
        """For a batch without a result that no worker scores at the moment: send it again if it is lost."""
        batch.losses += batch.taken
        if batch.losses >= _LOSSES:
            why = Verdict.error("crash", f"{_LOSSES} workers died with it in hand, one after the other")
            self._batcher.answer(batch, dict.fromkeys(batch.tasks, why))
        elif batch.taken and len(batch.tasks) > 1:
            self.sent_again += 1
            self._batcher.split(batch)
        elif batch.taken or (nothing_queued and time.monotonic() - batch.at > _UNSEEN_S):
            self._resend(batch)

    def _resend(self, batch: Sent) -> None:
        self.sent_again += 1
        self._batcher.resend(batch)

    def _check_patience(self, why: str) -> None:
        if time.monotonic() - self._sign_of_life >= self._patience_s:
            why = f"{why} at verify.redis_url={self._url} for {self._patience_s:g} s (verify.redis_patience_s)"
            start = f"a worker is started with: rlvr worker verify.redis_url={self._url}"
            self._give_up(Verdict.error("no_worker", f"{why}; {start}"))

    def _give_up(self, verdict: Verdict) -> None:
        """Answer all pending and future calls with `verdict`, until there is a sign of life."""
        given_up = self._batcher.refuse(verdict)
        with contextlib.suppress(*broker.StoreFailed):
            self._forget(given_up)
