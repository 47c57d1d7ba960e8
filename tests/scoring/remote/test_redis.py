"""Scoring through a real Redis by real workers: the same verdicts as on this machine, whatever dies and whoever forges."""

from __future__ import annotations

import base64
import json
import pickle
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from kept_count import Traced
from kombu import Connection
from redis_fleet import RedisServer, WorkerProcess
from slow_verifiers import Does, Unpicklable

from rlvr import Problem, Verdict, Verifier
from rlvr.errors import ConfigError
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.scoring.remote import protocol
from rlvr.scoring.remote.backend import RedisBackend
from rlvr.scoring.remote.broker import QUEUE, WORKER, application, client_key, done_key, result_key
from rlvr.scoring.remote.server import BatchScorer
from rlvr.verifiers.exact import ExactAnswer
from rlvr.verifiers.math import MathAnswer
from rlvr.verifiers.structured.schema import JsonMode

PROBLEM = Problem(id="p", prompt="q", truth={"answer": "7", "nested": {"list": [1, {"a": 2}]}})
OWN = ["slow_verifiers", "kept_count"]
RULES_FROM = f"rules_from=[{','.join(OWN)}]"
LIMITS: dict[str, Any] = {"deadline_s": 0.3, "memory_mb": 200}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    started = RedisServer(tmp_path_factory.mktemp("redis"))
    yield started
    started.kill()


@pytest.fixture(scope="module")
def fleet(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """One worker, shared by the tests that neither kill it nor need there to be none."""
    worker = WorkerProcess(server.url, tmp_path_factory.mktemp("fleet"), RULES_FROM)
    yield worker
    assert worker.stop() == 0


@pytest.fixture
def backend(server: RedisServer, fleet: WorkerProcess) -> Iterator[RedisBackend]:
    with_limits = RedisBackend(url=server.url, rules_from=OWN, **LIMITS)
    yield with_limits
    with_limits.close()


@pytest.fixture
def private(tmp_path: Path) -> Iterator[RedisServer]:
    """A separate server for a test that harms it, or needs it to itself."""
    started = RedisServer(tmp_path)
    yield started
    started.kill()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


SPREAD: list[tuple[Verifier, str]] = [
    *(
        (MathAnswer(), f"\\boxed{{{answer}}}")
        for answer in ("7", "\\sin^2(x)+\\cos^2(x)+6", "\\frac{21}{3}", "8", "9^{9^9}", "?")
    ),
    *((ExactAnswer(kind="number"), text) for text in ("7", "<answer>7</answer>", "")),
    (JsonMode(), '{"a": 1}'),
    *(
        (Does(what="echo"), text)
        for text in ("", "\x00", "\ud800", "\ud83d" + "\ude00", "\U0001f600", "é\r\n\u2028", "x" * 10**6)
    ),
    *(
        (Does(what=what), "x")
        for what in ("refuse", "say_where", "fail", "fail_mutely", "say_a_number", "say_too_much", "no_such")
    ),
]
COSTLY = ("spin_in_c", "allocate_at_once", "exit_3")
"""A worker process has to be replaced after each."""
COSTLIER = (*COSTLY, "allocate", "segfault", "system_exit", "garble")


@pytest.mark.parametrize("costly", [COSTLY, pytest.param(COSTLIER, marks=pytest.mark.slow)], ids=("few", "all"))
def test_the_verdicts_are_those_of_this_machine(backend: RedisBackend, costly: tuple[str, ...]) -> None:
    problems = [PROBLEM, Problem(id="r", prompt="q", truth={"answer": "(x+1)^2"}), Problem(id="n", prompt="q", truth={})]
    asked = [
        (verifier, response, problem)
        for verifier, response in [*SPREAD, *((Does(what=what), "x") for what in costly)]
        for problem in problems[: 1 if type(verifier) is Does else 3]
    ]
    with ThreadPoolExecutor(8) as threads, Supervisor(workers=2, **LIMITS) as local:
        there = list(threads.map(lambda each: backend.score(*each), asked))
        here = list(threads.map(lambda each: local.score(*each), asked))
    assert there == here
    assert {"correct", "wrong", "timeout", "memory", "crash"} <= {verdict.reason for verdict in here}
    backend.require_isolation()  # of the workers, each of which sees to it itself


def test_what_cannot_travel_is_an_error_and_says_why(backend: RedisBackend) -> None:
    odd = Problem(id="p", prompt="q", truth={"cases": {1: "x"}})
    for verifier, problem, why in (
        (Does(what="echo"), odd, "problem.truth.cases does not survive JSON: the key 1 is a int"),
        (Does(what=b"echo"), PROBLEM, "bytes is not JSON serializable"),  # pyright: ignore
    ):
        verdict = backend.score(verifier, "x", problem)
        assert (verdict.outcome, verdict.reason) == ("error", "crash")
        assert why in verdict.detail
    assert backend.score(Unpicklable(what="echo"), "x", PROBLEM).outcome == "error"  # by the worker, who must pickle it


@dataclass(frozen=True, kw_only=True)
class Unlisted(Verifier):
    """In none of the worker's `rules_from`."""

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        return Verdict.scored(1.0, "correct")


def test_a_worker_makes_only_what_it_may(server: RedisServer, fleet: WorkerProcess) -> None:
    """Its own rules_from decides, not that of the client."""
    client = RedisBackend(url=server.url, rules_from=[*OWN, "test_redis"])
    verdict = client.score(Unlisted(), "x", PROBLEM)
    assert (verdict.outcome, verdict.reason) == ("error", "refused")
    allowed = "rlvr., slow_verifiers, kept_count (list more in rules_from)"
    assert f"verifier._target_=test_redis.Unlisted: allowed are {allowed}" in verdict.detail
    assert client.score(MathAnswer(), "\\boxed{7}", PROBLEM).score == 1.0
    client.close()


class Opens:
    """Run when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def test_a_pickle_is_not_opened(server: RedisServer, backend: RedisBackend, tmp_path: Path) -> None:
    mark = tmp_path / "opened"
    pickle.loads(pickle.dumps(Opens(tmp_path / "this one is"))).close()
    assert (tmp_path / "this one is").exists()
    headers = {"lang": "py", "task": QUEUE, "id": "1", "root_id": "1", "group": None}
    body = pickle.dumps(([Opens(mark), "c", "p"], {}, {}))
    with Connection(server.url) as connection, connection.Producer() as producer:
        for content in ("application/x-python-serialize", "application/json"):
            options = {"content_type": content, "content_encoding": "binary", "headers": headers}
            producer.publish(body, routing_key=QUEUE, correlation_id="1", **options)
    assert backend.score(Does(what="echo"), "and now?", PROBLEM) == Verdict.scored(1.0, "correct", "and now?")
    with server.client() as client:
        until(lambda: not client.llen(QUEUE))
    assert not mark.exists()


def test_a_forged_batch_makes_nothing_and_harms_nobody(server: RedisServer, backend: RedisBackend, tmp_path: Path) -> None:
    mark = tmp_path / "made"
    verifier = json.dumps({"_target_": "subprocess.Popen", "args": ["touch", str(mark)]})
    batches = [
        protocol.pack(
            protocol.Batch(
                deadline_s=1, memory_mb=100, tasks=(protocol.Task(id="t", verifier=verifier, problem=text, response=""),)
            )
        )
        for text in (protocol.problem_text(PROBLEM), "{}", "[" * 10_000)
    ]
    limits = {"deadline_s": float("inf"), "memory_mb": 0, "verifiers": [], "problems": [], "tasks": []}
    endless = base64.b64encode(zlib.compress(json.dumps(limits).encode())).decode()
    app = application(server.url, redeliver_s=60)
    with server.client() as client:
        client.set(client_key("c"), "1", ex=60)
        sent = [
            *batches,
            base64.b64encode(zlib.compress(json.dumps(endless).encode())).decode(),
            "no batch",
            "",
            None,
            7,
            {"a": 1},
        ]
        for number, payload in enumerate(sent):
            app.send_task(QUEUE, args=[f"forged-{number}", "c", payload], queue=QUEUE)
        app.send_task(QUEUE, args=[], queue=QUEUE)
        app.send_task("os.system", args=["true"], queue=QUEUE)
        assert backend.score(Does(what="echo"), "and now?", PROBLEM).score == 1.0
        until(lambda: client.llen(done_key("c")) >= len(batches))
        for number in range(len(batches)):
            result = client.get(result_key(f"forged-{number}"))
            assert isinstance(result, bytes)
            verdict = protocol.unpack_result(result, ["t"])[0]["t"]
            assert (verdict.outcome, verdict.reason) == ("error", "refused")
    app.close()
    assert not mark.exists()


def queued(client: Any) -> list[Any]:
    """Arguments of the messages in the queue."""
    return [json.loads(base64.b64decode(json.loads(message)["body"]))[0] for message in client.lrange(QUEUE, 0, -1)]


def test_a_forged_result_is_an_error(private: RedisServer) -> None:
    backend = RedisBackend(url=private.url)
    with private.client() as client, ThreadPoolExecutor(1) as threads:
        for forged in (b"", b"1", b"\xff", b'{"seconds": 0, "verdicts": {}}', b'{"verdicts": []}', ["a", "list"]):
            verdict = threads.submit(backend.score, MathAnswer(), "x", PROBLEM)
            until(lambda: client.llen(QUEUE))
            [[batch, sender, _]] = queued(client)
            client.delete(QUEUE)
            if isinstance(forged, bytes):
                client.set(result_key(batch), forged)
            else:
                client.rpush(result_key(batch), *forged)
            client.rpush(done_key(sender), b"\xff", "another", batch, batch)
            assert (verdict.result().outcome, verdict.result().score, verdict.result().reason) == ("error", None, "bad_result")
    backend.close()


@pytest.mark.slow
def test_a_batch_that_comes_again_is_not_scored_again(server: RedisServer, backend: RedisBackend, tmp_path: Path) -> None:
    """Neither while it is being scored, nor after its result was written, nor after that was taken."""
    path = tmp_path / "scored"
    with server.client() as client, ThreadPoolExecutor(1) as threads:
        app = application(server.url, redeliver_s=60)
        verifier = Traced(path=str(path), seconds=0.3)
        task = protocol.Task(
            id="t", verifier=protocol.verifier_text(verifier, OWN), problem=protocol.problem_text(PROBLEM), response="raw"
        )
        payload = protocol.pack(protocol.Batch(deadline_s=5, memory_mb=100, tasks=(task,)))
        client.set(client_key("me"), "1", ex=60)
        for _ in range(3):
            app.send_task(QUEUE, args=["same", "me", payload], queue=QUEUE)
        until(lambda: client.exists(result_key("same")))
        first = client.get(result_key("same"))
        app.send_task(QUEUE, args=["same", "me", payload], queue=QUEUE)
        assert threads.submit(backend.score, Traced(path=str(path)), "through", PROBLEM).result().answer == "through"
        until(lambda: not client.llen(QUEUE))
        time.sleep(0.5)
        assert client.get(result_key("same")) == first
        assert Counter(line.split()[0] for line in path.read_text().splitlines()) == {"raw": 1, "through": 1}
        app.close()


def score_while(backend: RedisBackend, n: int, disturb: Callable[[Callable[[], int]], None]) -> list[Verdict]:
    """Verdicts of n tasks with different responses, of some 30 ms each, in order, while `disturb` runs."""
    done = 0

    def one(number: int) -> Verdict:
        nonlocal done
        verdict = backend.score(Does(), f"sleep: 0.03{number:04d}", PROBLEM)
        done += 1
        return verdict

    with ThreadPoolExecutor(32) as threads:
        other = threading.Thread(target=disturb, args=(lambda: done,))
        other.start()
        verdicts = list(threads.map(one, range(n)))
        other.join()
    return verdicts


def right(verdicts: list[Verdict]) -> bool:
    return verdicts == [Verdict.scored(1.0, "correct", f"sleep: 0.03{number:04d}") for number in range(len(verdicts))]


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_nothing(server: RedisServer, backend: RedisBackend, tmp_path: Path) -> None:
    extra = WorkerProcess(server.url, tmp_path, RULES_FROM)
    with server.client() as client:
        until(lambda: [each["cmd"] for each in client.client_list()].count("brpop") == 2)  # both workers wait for work

    def kill(done: Callable[[], int]) -> None:
        until(lambda: done() > 20 and psutil.Process(extra.process.pid).children())
        extra.kill()

    assert right(score_while(backend, 100, kill))


@pytest.mark.slow
def test_workers_killed_one_after_the_other_cost_nothing(private: RedisServer, tmp_path: Path) -> None:
    workers = [WorkerProcess(private.url, tmp_path, RULES_FROM) for _ in range(2)]
    backend = RedisBackend(url=private.url, rules_from=OWN)

    def kill_some(done: Callable[[], int]) -> None:
        for number in range(3):
            until(lambda number=number: done() > 60 * number + 20)
            workers[number % 2].kill()
            workers[number % 2] = WorkerProcess(private.url, tmp_path, RULES_FROM)

    assert right(score_while(backend, 220, kill_some))
    backend.close()
    for worker in workers:
        worker.stop()


@pytest.mark.slow
def test_the_queue_itself_gives_a_dead_workers_batch_to_another(private: RedisServer, tmp_path: Path) -> None:
    """With no client to send it again: acknowledged late, redelivered by Celery."""
    path = tmp_path / "scored"
    app = application(private.url, redeliver_s=2)
    verifier = protocol.verifier_text(Traced(path=str(path), seconds=1.0), OWN)
    task = protocol.Task(id="t", verifier=verifier, problem=protocol.problem_text(PROBLEM), response="raw")
    payload = protocol.pack(protocol.Batch(deadline_s=5, memory_mb=100, tasks=(task,)))
    with private.client() as client:
        client.set(client_key("me"), "1", ex=60)
        first = WorkerProcess(private.url, tmp_path, RULES_FROM, "verify.redis_redeliver_s=2")
        app.send_task(QUEUE, args=["batch", "me", payload], queue=QUEUE)
        until(lambda: client.exists("rlvr:alive:batch"))
        first.kill()
        assert not path.exists()
        client.delete("rlvr:alive:batch")  # or wait until it is gone
        time.sleep(2)
        second = WorkerProcess(private.url, tmp_path, RULES_FROM, "verify.redis_redeliver_s=2")
        until(lambda: client.exists(result_key("batch")))
        assert path.read_text().startswith("raw ")
    app.close()
    assert second.stop() == 0


@pytest.mark.slow
def test_redis_may_forget_everything(server: RedisServer, backend: RedisBackend) -> None:
    def flush(done: Callable[[], int]) -> None:
        until(lambda: done() > 20)
        with server.client() as client:
            client.flushall()

    assert right(score_while(backend, 60, flush))


@pytest.mark.slow
def test_redis_may_stop_and_start_again_empty(private: RedisServer, tmp_path: Path) -> None:
    worker = WorkerProcess(private.url, tmp_path, RULES_FROM)
    backend = RedisBackend(url=private.url, rules_from=OWN)

    def restart(done: Callable[[], int]) -> None:
        for number, seconds in enumerate((0.0, 2.0)):
            until(lambda number=number: done() > 80 * number + 20)
            private.kill()
            time.sleep(seconds)
            private.start()

    assert right(score_while(backend, 180, restart))
    backend.close()
    assert worker.stop() == 0


@pytest.mark.slow
def test_without_a_worker_there_is_an_error(private: RedisServer) -> None:
    backend = RedisBackend(url=private.url, rules_from=OWN, patience_s=1.0)
    start = time.monotonic()
    verdict = backend.score(Does(what="echo"), "x", PROBLEM)
    assert 0.9 < time.monotonic() - start < 5
    assert (verdict.outcome, verdict.reason) == ("error", "no_worker")
    assert f"no worker answers at verify.redis_url={private.url} for 1 s" in verdict.detail
    start = time.monotonic()
    assert backend.score(Does(what="echo"), "x", PROBLEM) == verdict
    assert time.monotonic() - start < 0.5  # each of thousands must not wait again
    backend.close()


@pytest.mark.slow
def test_errors_end_when_a_worker_or_redis_comes_back(private: RedisServer, tmp_path: Path) -> None:
    backend = RedisBackend(url=private.url, rules_from=OWN, patience_s=1.0)
    assert backend.score(Does(what="echo"), "x", PROBLEM).reason == "no_worker"
    worker = WorkerProcess(private.url, tmp_path, RULES_FROM)
    until(lambda: backend.score(Does(what="echo"), "x", PROBLEM).score == 1.0)
    private.kill()
    until(lambda: (verdict := backend.score(Does(what="echo"), "x", PROBLEM)).outcome == "error" and "Redis" in verdict.detail)
    private.start()
    until(lambda: backend.score(Does(what="echo"), "x", PROBLEM).score == 1.0)
    backend.close()
    assert worker.stop() == 0


def test_closed_it_answers_all_and_leaves_nothing_to_do(private: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "scored"
    threads_before = threading.active_count()
    backend = RedisBackend(url=private.url, rules_from=OWN)
    with ThreadPoolExecutor(40) as threads:
        verdicts = [threads.submit(backend.score, Traced(path=str(path)), str(number), PROBLEM) for number in range(40)]
        with private.client() as client:
            until(lambda: client.llen(QUEUE))
        backend.close()
        assert {(each.result().outcome, each.result().reason) for each in verdicts} == {("error", "no_worker")}
    assert backend.score(Does(what="echo"), "x", PROBLEM).reason == "no_worker"
    assert threading.active_count() == threads_before
    scorer = BatchScorer(private.url, workers=1, prefixes=("rlvr.", *OWN))
    with private.client() as client:
        batches = queued(client)
        for batch in batches:
            scorer.score(*batch)
        assert (len(batches) > 0, client.exists(WORKER)) == (True, 1)
        assert [client.get(result_key(batch)) or b"" for batch, *_ in batches] == [b""] * len(batches)
    scorer.close()
    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://127.0.0.1:1/0", "verify.redis_url=redis://127.0.0.1:1/0: Redis does not answer: "),
        ("redis://me:se@cret@127.0.0.1:1/0", "verify.redis_url=redis://me:...@127.0.0.1:1/0: "),
        ("http://127.0.0.1/0", "verify.redis_url=http://127.0.0.1/0: must be redis://HOST:PORT/DATABASE"),
        ("redis://127.0.0.1:x/0", "verify.redis_url=redis://127.0.0.1:x/0: must be redis://HOST:PORT/DATABASE"),
        ("redis://127.0.0.1/0?x=1", "verify.redis_url=redis://127.0.0.1/0?x=1: must be redis://HOST:PORT/DATABASE"),
    ],
)
def test_without_redis_it_is_not_made(url: str, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        RedisBackend(url=url)
    assert str(error.value).startswith(why)
    assert "\n" not in str(error.value)
