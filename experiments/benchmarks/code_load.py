"""Code scoring under load, through the whole scoring path with its default workers.

`growth`: resources held over thousands of rollouts. `loops`: latency of honest programs among programs that never end.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
from code_tasks import Task, assert_right_ones_pass, data_argument, mixed, percentile, scored, tree

from rlvr.scoring.backend import Backend
from rlvr.scoring.local.supervisor import Supervisor, usable_cores
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

LOOPS = (
    "while True:\n    pass",
    "def loop():\n    return loop if True else 0\nwhile loop():\n    x = [0] * 1000",
    "import time\nwhile True:\n    time.sleep(0.01)",
)


@dataclass(kw_only=True)
class Timed(Backend):
    """Records the seconds of each verdict. No thread waits for a free worker: there are as many threads as workers."""

    inner: Supervisor

    def __post_init__(self) -> None:
        self.concurrency = self.inner.concurrency
        self.seconds: dict[str, float] = {}

    def score(self, verifier: Verifier, response: str, problem: Problem) -> Verdict:
        start = time.perf_counter()
        verdict = self.inner.score(verifier, response, problem)
        self.seconds[response] = time.perf_counter() - start
        return verdict

    def require_isolation(self) -> None:
        self.inner.require_isolation()

    def close(self) -> None:
        self.inner.close()


def _looping(task: Task, number: int) -> Task:
    program = f"{LOOPS[number % len(LOOPS)]}\n# {number}\n"
    return Task(problem=task.problem, program=program, right=False)


def _latencies(tasks: Sequence[Task], supervisor: Supervisor) -> dict[str, float]:
    backend = Timed(inner=supervisor)
    assert_right_ones_pass(tasks, scored(tasks, backend))
    return backend.seconds


def loops(honest: Sequence[Task], rounds: int) -> None:
    """p95 of the honest programs alone, and with 30 % of loops among them, in alternation."""
    n_loops = round(len(honest) * 0.3 / 0.7)
    seen: dict[str, list[float]] = {"without": [], "with": []}
    ratios = []
    with Supervisor() as supervisor:
        _latencies(honest[:10], supervisor)
        for round_number in range(rounds):
            looping = [_looping(honest[number], round_number * n_loops + number) for number in range(n_loops)]
            mixture = random.Random(round_number).sample([*honest, *looping], len(honest) + n_loops)
            p95 = {}
            for name, tasks in (("without", honest), ("with", mixture)):
                seconds = _latencies(tasks, supervisor)
                own = [seconds[task.completion] for task in honest]
                seen[name] += own
                p95[name] = percentile(own, 0.95)
            ratios.append(p95["with"] / p95["without"])
    print(f"{len(honest)} honest programs, {n_loops} loops, {rounds} rounds, {usable_cores()} workers")
    print("| mix | p50 ms | p95 ms | p99 ms |\n|---|---|---|---|")
    for name, values in seen.items():
        print(f"| {name} loops | {' | '.join(f'{percentile(values, share) * 1e3:.1f}' for share in (0.5, 0.95, 0.99))} |")
    print(f"p95 with / without: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def growth(tasks: Sequence[Task], total: int, lines: int) -> None:
    """Prints a row for each of `lines` equal parts."""
    columns = ("rollouts", "/s", "this process MB", "workers MB", "fork servers MB", "processes", "descriptors", "mounts")
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|", flush=True)
    with Supervisor() as supervisor:
        for number in range(lines + 1):
            first = number * (total // lines)
            n = total // lines if number else 0
            start = time.perf_counter()
            part = [tasks[at % len(tasks)] for at in range(first, first + (n or 50))]
            assert_right_ones_pass(part, scored(part, supervisor))
            rate = len(part) / (time.perf_counter() - start)
            print(f"| {number * n} | {rate:.0f} | {_held()} |", flush=True)


def _held() -> str:
    me, *others = tree()
    kinds: dict[str, list[psutil.Process]] = {"worker": [], "server": []}
    descriptors = me.num_fds()
    for each in others:
        command = " ".join(each.cmdline())
        kinds["worker" if "rlvr.scoring.local.worker_main" in command else "server"].append(each)
        descriptors += each.num_fds()
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = len(file.readlines())
    for each in kinds["server"][-1:]:
        with open(f"/proc/{each.pid}/mounts", encoding="utf-8") as file:
            mounts += len(file.readlines())
    sizes = [f"{sum(each.memory_info().rss for each in found) / 1e6:.0f}" for found in ([me], *kinds.values())]
    return " | ".join([*sizes, str(len(others) + 1), str(descriptors), str(mounts)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data_argument(parser)
    parser.add_argument("what", choices=["growth", "loops"])
    parser.add_argument("--rollouts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--honest", type=int, default=140)
    given = parser.parse_args()
    tasks = mixed(given.data)
    if given.what == "growth":
        growth(tasks, given.rollouts, 10)
    else:
        loops(tasks[: given.honest], given.rounds)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
