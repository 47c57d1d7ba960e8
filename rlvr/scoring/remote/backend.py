"""Judging by workers on other machines, through Celery on Redis (`rlvr worker`).

Nothing in Redis is relied on: a batch whose worker has died, or that Redis has forgotten, is sent again, and its first result
counts (`rlvr.scoring.remote.server` is the other end). Where nobody answers for long, that is an `error`.
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
from rlvr.scoring.remote import protocol
from rlvr.scoring.remote.batcher import Batcher, Sent
from rlvr.scoring.remote.broker import (
    CLIENT_S,
    PULSE_S,
    QUEUE,
    RESULT_S,
    TASK,
    WORKER,
    SendFailed,
    StoreFailed,
    alive_key,
    application,
    client_key,
    connect,
    done_key,
    result_key,
)
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

_UNSEEN_S = 5.0
"""After so long, a batch that nobody judges although nothing is queued has been lost on the way."""
_LOSSES = 10
"""Workers that may be lost with a batch in hand, one after the other, before it is given up."""
_AT_ONCE = 64
"""Results fetched at a time."""


class RedisBackend(Backend):
    """Workers anywhere. The limits of a verdict are this client's, so that it is the same wherever it is judged."""

    sent_again: int
    """Batches that were lost on the way, with a worker or with Redis."""

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
        """For the arguments see `VerifyConfig`. Errors: `ConfigError` when Redis does not answer; `ValueError`."""
        for name, value in (("deadline_s", deadline_s), ("patience_s", patience_s), ("redeliver_s", redeliver_s)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={value}: must be above 0")
        for name, value in (("memory_mb", memory_mb), ("in_flight", in_flight)):
            if value < 1:
                raise ValueError(f"{name}={value}: must be at least 1")
        self.concurrency = in_flight
        self._url, self._prefixes, self._patience_s = without_password(url), ("rlvr.", *rules_from), patience_s
        self._store, self._app = connect(url), application(url, redeliver_s=redeliver_s)
        self._batcher = Batcher(deadline_s=deadline_s, memory_mb=memory_mb)
        self._client, self._beat, self._pid = uuid.uuid4().hex, 0, os.getpid()
        self._closed = threading.Event()
        self._sign_of_life, self.sent_again = time.monotonic(), 0
        self._look()
        self._threads = [threading.Thread(target=self._run, args=(each,), daemon=True) for each in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def score(self, verifier: Verifier, response: str, problem: Problem) -> Verdict:
        """What `verifier(response, problem)` says, from a worker; never raises.

        Besides the errors of a worker process: `no_worker` (nobody answers), `refused` (a worker may not make this verifier),
        `bad_result` (what came back is no verdict), `crash` (it cannot be sent, or workers die of it).
        """
        if os.getpid() != self._pid:
            return Verdict.error("no_worker", "this process was forked from the one that is connected to the workers")
        try:
            verifier_text, problem_text = protocol.verifier_text(verifier, self._prefixes), protocol.problem_text(problem)
            if not isinstance(response, str):
                raise TypeError(f"the response is a {type(response).__name__}")
        except (ValueError, TypeError, RecursionError) as error:
            return Verdict.error("crash", f"cannot be sent to a worker: {describe(error)}")
        return self._batcher.ask(verifier=verifier_text, problem=problem_text, response=response)

    def require_isolation(self) -> None:
        """Each worker refuses to run programs where its machine cannot isolate them."""

    def close(self) -> None:
        """Ask for nothing more; those who wait get `error`, and workers leave what is queued."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._give_up(Verdict.error("no_worker", "the connection to the workers was closed"))
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(*StoreFailed):
            self._store.delete(client_key(self._client), done_key(self._client))
        self._app.close()
        self._store.close()

    def _run(self, loop: Callable[[], None]) -> None:
        try:
            while not self._closed.is_set():
                loop()
        except Exception as error:  # noqa: BLE001  without this thread nobody would ever be answered
            self._closed.set()
            self._give_up(Verdict.error("no_worker", f"the connection to the workers failed: {describe(error)}"))

    def _send(self) -> None:
        batch = self._batcher.next(PULSE_S)
        while batch is not None and batch.id in self._batcher.open():
            try:
                arguments = [batch.id, self._client, batch.payload]
                self._app.send_task(TASK, args=arguments, queue=QUEUE, retry=False, argsrepr="", kwargsrepr="")
                break
            except SendFailed:  # `_receive` meets the same, and counts the seconds
                self._closed.wait(PULSE_S / 4)

    def _receive(self) -> None:
        """For the time between two looks: hand out results as they come."""
        until = time.monotonic() + PULSE_S
        try:
            while (left := until - time.monotonic()) > 0:
                popped = self._store.blpop([done_key(self._client)], timeout=max(left, 0.01))
                if popped is not None:
                    more = self._store.lpop(done_key(self._client), _AT_ONCE) or []
                    self._take([each.decode(errors="replace") for each in (popped[1], *more) if isinstance(each, bytes)])
            self._look()
        except StoreFailed as error:
            self._check_patience(f"Redis cannot be reached ({error})")
            self._closed.wait(PULSE_S / 4)

    def _take(self, batches: Iterable[str]) -> None:
        """Hand out the results of those of `batches` that wait for one. Errors: of Redis."""
        sent = self._batcher.open()
        ours = [sent[each] for each in dict.fromkeys(batches) if each in sent]
        if not ours:
            return
        with self._store.pipeline(transaction=False) as pipe:
            for batch in ours:
                pipe.get(result_key(batch.id))
            results = pipe.execute(raise_on_error=False)
        for batch, result in zip(ours, results, strict=True):
            if result is not None:  # an exception where the key holds no text: nothing that a worker wrote
                data = result if isinstance(result, bytes) else b""
                self._batcher.answer(batch, *protocol.unpack_result(data, list(batch.tasks)))
        self._forget([batch.id for batch, result in zip(ours, results, strict=True) if result is not None])

    def _forget(self, batches: Sequence[str]) -> None:
        """Of results only the fact that there were some, so that no copy of a batch that comes late is judged."""
        with self._store.pipeline(transaction=False) as pipe:
            for batch in batches:
                pipe.set(result_key(batch), b"", ex=RESULT_S)
            pipe.execute()

    def _look(self) -> None:
        """Say that we are there, see who else is, and send again what has been lost. Errors: of Redis."""
        sent = list(self._batcher.open().values())
        self._beat += 1
        with self._store.pipeline() as pipe:
            pipe.get(client_key(self._client))
            pipe.set(client_key(self._client), str(self._beat), ex=CLIENT_S)
            pipe.exists(WORKER)
            pipe.llen(QUEUE)
            for batch in sent:
                pipe.exists(alive_key(batch.id))
                pipe.exists(result_key(batch.id))
            before, _, workers, queued, *states = pipe.execute()
        # Without our last beat, Redis has lost what it held, or is back at an older state, or we were gone for long.
        forgetful = self._beat > 1 and before != str(self._beat - 1).encode()
        done = [batch.id for batch, is_there in zip(sent, states[1::2], strict=True) if is_there]
        for batch, alive in zip(sent, states[::2], strict=True):
            batch.taken = batch.taken or bool(alive)
            if batch.id not in done and not alive:
                self._see_to(batch, nothing_queued=not queued)
        if forgetful:
            for batch in self._batcher.open().values():  # those sent since too
                if batch.id not in done:
                    self._send_again(batch)
        self._take(done)
        if workers:
            self._sign_of_life = time.monotonic()
            self._batcher.refuse(None)
        self._check_patience("no worker answers")

    def _see_to(self, batch: Sent, *, nothing_queued: bool) -> None:
        """One that has no result and that nobody judges at the moment."""
        batch.losses += batch.taken
        if batch.losses >= _LOSSES:
            why = Verdict.error("crash", f"{_LOSSES} workers died with it in hand, one after the other")
            self._batcher.answer(batch, dict.fromkeys(batch.tasks, why))
        elif batch.taken and len(batch.tasks) > 1:
            self.sent_again += 1
            self._batcher.apart(batch)
        elif batch.taken or (nothing_queued and time.monotonic() - batch.at > _UNSEEN_S):
            self._send_again(batch)

    def _send_again(self, batch: Sent) -> None:
        self.sent_again += 1
        self._batcher.again(batch)

    def _check_patience(self, why: str) -> None:
        if time.monotonic() - self._sign_of_life >= self._patience_s:
            why = f"{why} at verify.redis_url={self._url} for {self._patience_s:g} s (verify.redis_patience_s)"
            start = f"a worker is started with: rlvr worker verify.redis_url={self._url}"
            self._give_up(Verdict.error("no_worker", f"{why}; {start}"))

    def _give_up(self, verdict: Verdict) -> None:
        """Also for what is asked from now on, until there is a sign of life."""
        given_up = self._batcher.refuse(verdict)
        with contextlib.suppress(*StoreFailed):
            self._forget(given_up)
