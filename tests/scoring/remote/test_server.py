"""The worker's side of scoring through Redis, in this process: which batches it scores, and with which worker processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from kept_count import Traced
from redis_fleet import RedisServer

from rlvr import Problem
from rlvr.scoring.remote import protocol
from rlvr.scoring.remote.broker import client_key, done_key, result_key
from rlvr.scoring.remote.server import BatchScorer

PROBLEM = Problem(id="p", prompt="q", truth={"answer": "7"})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    started = RedisServer(tmp_path)
    yield started
    started.kill()


def test_a_worker_scores_a_batch_once_and_keeps_few_sets_of_limits(server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "scored"
    scorer = BatchScorer(server.url, workers=2, prefixes=("rlvr.", "kept_count"))
    texts = {
        "verifier": protocol.verifier_text(Traced(path=str(path)), ["kept_count"]),
        "problem": protocol.problem_text(PROBLEM),
    }
    tasks = tuple(protocol.Task(id=response, response=response, **texts) for response in "ab")
    with server.client() as client:
        client.set(client_key("c"), "1", ex=60)
        for number in range(6):
            payload = protocol.pack(protocol.Batch(deadline_s=5.0, memory_mb=100 + number, tasks=tasks))
            for _ in range(2):
                scorer.score(f"batch-{number}", "c", payload)
        scorer.score("unwanted", "no such client", payload)
        results = [client.get(result_key(f"batch-{number}")) for number in range(6)]
        assert client.lrange(done_key("c"), 0, -1) == [f"batch-{number}".encode() for number in range(6)]
        assert not client.exists(result_key("unwanted"))
    verdicts = [protocol.unpack_result(result, "ab")[0] for result in results if isinstance(result, bytes)]
    assert [{task: verdict.answer for task, verdict in each.items()} for each in verdicts] == [{"a": "a", "b": "b"}] * 6
    assert Counter(line.split()[0] for line in path.read_text().splitlines()) == {"a": 6, "b": 6}
    assert len({line.split()[1] for line in path.read_text().splitlines()}) >= 6, "separate processes for each set of limits"
    assert len(scorer._supervisors) == 4
    scorer.close()
