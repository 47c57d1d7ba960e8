"""Scoring through Redis compared with scoring locally: same verdicts? What is lost when workers are killed and Redis restarts?

    python experiments/benchmarks/redis_faults.py [rules=math] [input=ROWS.jsonl] [verdicts=10000] [kills=50]

Rows are those of `rlvr score`; without them, the labelled pairs of the tests, in boxes. Every rule of the pack scores
every row in a worker process, even if it could run inline. Starts a Redis server without persistence, and two `rlvr worker`s.
Other arguments are overrides (`rules.code.verifier.wall_s=1`, `verify.deadline_s=5`, `rules_from=[mypackage]`).
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cases import labelled

from rlvr.config.compose import compose
from rlvr.config.schema import Config
from rlvr.rules.load import rule_pack
from rlvr.rules.rule import Rule
from rlvr.scoring.backend import Backend
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.scoring.remote.backend import RedisBackend
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

WORKERS = 2
DEFAULTS = {"rules": "math", "input": "", "verdicts": "10000", "kills": "50"}
Asked = tuple[Verifier, str, Problem]


def rows(path: str) -> list[tuple[str, Problem]]:
    """Responses and problems, shuffled to mix easy and hard ones."""
    if path:
        plain = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        cases = [case for each in labelled().values() for case in each]
        plain = [{"completion": case.completion, "truth": {"answer": case.truth}} for case in cases]
    random.Random(0).shuffle(plain)
    problems = [
        Problem(id=str(row.get("id", at)), prompt=row.get("prompt", ""), truth=row["truth"], prefill=row.get("prefill"))
        for at, row in enumerate(plain)
    ]
    return [(problem.response(row["completion"]), problem) for row, problem in zip(plain, problems, strict=True)]


def verifiers(rules: Sequence[Rule]) -> list[Verifier]:
    return [each for rule in rules for each in ([rule.verifier] if rule.verifier else verifiers(rule.parts))]


def score_all(backend: Backend, asked: Sequence[Asked]) -> tuple[list[Verdict], float]:
    start = time.perf_counter()
    with ThreadPoolExecutor(backend.concurrency) as threads:
        verdicts = list(threads.map(lambda each: backend.score(*each), asked))
    return verdicts, time.perf_counter() - start


class Fleet:
    """The Redis server and the workers, and how they are killed."""

    def __init__(self, folder: Path, config: Config) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._folder = folder
        self._arguments = [f"verify.redis_url={self.url}", "verify.workers=1", f"rules_from=[{','.join(config.rules_from)}]"]
        self._arguments += [f"verify.allow_weak_isolation={str(config.verify.allow_weak_isolation).lower()}"]
        self._start_redis()
        self._workers = [self._worker() for _ in range(WORKERS)]
        self.killed = 0

    def _start_redis(self) -> None:
        options = ["--port", str(self._port), "--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._redis = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.02)
        raise SystemExit("redis-server does not start")

    def _worker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "rlvr", "worker", *self._arguments]
        with open(self._folder / "workers.log", "ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def kill_a_worker(self) -> None:
        """As when a machine dies; a new worker replaces it."""
        at = self.killed % WORKERS
        self._workers[at].kill()
        self._workers[at].wait()
        self._workers[at] = self._worker()
        self.killed += 1

    def restart_redis(self) -> None:
        """All queued data is lost."""
        self._redis.kill()
        self._redis.wait()
        time.sleep(1)
        self._start_redis()

    def close(self) -> None:
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self._workers:
            worker.wait()
        self._redis.kill()
        self._redis.wait()


def under_fire(
    backend: RedisBackend, fleet: Fleet, asked: Sequence[Asked], kills: int
) -> tuple[list[tuple[int, Verdict]], float]:
    """Score until `kills` workers are killed; Redis restarts empty after half of them. Returns row numbers and verdicts."""
    over = threading.Event()

    def endless() -> Iterator[int]:
        numbers = itertools.cycle(range(len(asked)))
        while not over.is_set():
            yield next(numbers)

    def kill() -> None:
        rng = random.Random(1)
        while fleet.killed < kills:
            time.sleep(rng.uniform(1.5, 3.0))  # a worker takes about a second to start
            fleet.kill_a_worker()
            if fleet.killed == (kills + 1) // 2:
                fleet.restart_redis()
        over.set()

    start = time.perf_counter()
    numbers, lock, given = endless(), threading.Lock(), []

    def ask() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            verdict = backend.score(*asked[number])
            with lock:
                given.append((number, verdict))

    killing = threading.Thread(target=kill)
    killing.start()
    with ThreadPoolExecutor(backend.concurrency) as threads:
        for _ in range(backend.concurrency):
            threads.submit(ask)
    killing.join()
    return given, time.perf_counter() - start


def main(arguments: Sequence[str]) -> None:
    """Prints a line for each of the three runs: local, through Redis, under fire."""
    given = DEFAULTS | {name: value for name, _, value in (each.partition("=") for each in arguments) if name in DEFAULTS}
    overrides = [each for each in arguments if each.partition("=")[0] not in DEFAULTS]
    config = compose([f"rules={given['rules']}", *overrides])
    verify = config.verify
    pairs = list(itertools.product(rows(given["input"]), verifiers(list(rule_pack(config).rules.values()))))
    asked = [(verifier, response, problem) for (response, problem), verifier in pairs if verifier.applies(problem.truth)]
    asked = list(itertools.islice(itertools.cycle(asked), int(given["verdicts"])))
    limits = {"deadline_s": verify.deadline_s, "memory_mb": verify.memory_mb}
    with Supervisor(workers=WORKERS, allow_weak_isolation=verify.allow_weak_isolation, **limits) as local:
        here, seconds = score_all(local, asked)
    reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(verdict.reason for verdict in here).most_common())
    print(f"local, {os.cpu_count()} cores: {len(here)} verdicts ({reasons}), {len(here) / seconds:.0f}/s, {WORKERS} processes")
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), config)
        backend = RedisBackend(url=fleet.url, rules_from=config.rules_from, **limits)
        score_all(backend, asked[:100])
        there, seconds = score_all(backend, asked)
        differing = [pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]]
        print(
            f"Redis, {WORKERS} workers: {len(there)} verdicts, {len(differing)} differ, {len(there) / seconds:.0f}/s",
            *differing[:3],
            sep="\n  ",
        )
        found, seconds = under_fire(backend, fleet, asked, int(given["kills"]))
        wrong = [(here[number], verdict) for number, verdict in found if verdict != here[number]]
        errors = sum(verdict.outcome == "error" and here[number].outcome != "error" for number, verdict in found)
        print(
            f"under fire: {fleet.killed} workers killed, Redis restarted empty, {len(found)} verdicts in {seconds:.0f} s: "
            f"{len(wrong)} differ ({errors} errors); {backend.sent_again} batches sent again",
            *wrong[:3],
            sep="\n  ",
        )
        backend.close()
        fleet.close()


if __name__ == "__main__":
    main(sys.argv[1:])
