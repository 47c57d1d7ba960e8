"""Throughput of code scoring with full isolation, against a lower bound and two usual ways to run a program.

Each way has two processes; the ways alternate after a few dozen programs, all in one run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from code_floor import Floor
from code_tasks import Clock, Task, assert_right_ones_pass, data_argument, mixed, scored

from rlvr.sandbox import jail
from rlvr.sandbox.shared import shared_sandbox
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.verifiers.code import Code

WAYS = {"floor": 200, "verifier": 100, "workers": 100, "bubblewrap": 30, "subprocess": 16}
"""Programs that each process of a way runs in one round."""
_LIMIT_S = 10.0


def _verifier() -> Callable[[Sequence[Task]], None]:
    code = Code()
    shared_sandbox()

    def run(tasks: Sequence[Task]) -> None:
        for task in tasks:
            verdict = code(task.completion, task.problem)
            assert verdict.score == 1.0 or not task.right, (task.problem.id, verdict)

    return run


def _floor() -> Callable[[Sequence[Task]], None]:
    floor = Floor()
    return lambda tasks: floor.make(len(tasks))


def _bubblewrap() -> Callable[[Sequence[Task]], None]:
    """A new jail like the sandbox's, with a new interpreter in it, for every program."""
    walls = [jail._bubblewrap(), "--unshare-user", *jail._mounts(()), "--tmpfs", "/tmp", "--remount-ro", "/"]
    return _commands([*walls, "--", jail._python(), "-I", "-c"])


def _subprocess() -> Callable[[Sequence[Task]], None]:
    return _commands([sys.executable, "-c"])


def _commands(command: list[str]) -> Callable[[Sequence[Task]], None]:
    def run(tasks: Sequence[Task]) -> None:
        for task in tasks:
            done = subprocess.run([*command, task.script], capture_output=True, timeout=_LIMIT_S, check=False)
            assert not done.returncode or not task.right, (task.problem.id, done.stderr[-500:])

    return run


_MAKERS = {"floor": _floor, "verifier": _verifier, "bubblewrap": _bubblewrap, "subprocess": _subprocess}


def _serve(way: str, data: Path, pipe: Connection) -> None:
    tasks, run = mixed(data), _MAKERS[way]()
    run(tasks[:20])
    while True:
        try:
            pipe.send("ready")
            start, stop = pipe.recv()
        except (EOFError, BrokenPipeError):  # the parent has ended
            return
        run([tasks[at % len(tasks)] for at in range(start, stop)])


class Pair:
    """Processes that run programs in one way, each on different programs."""

    def __init__(self, way: str, data: Path, processes: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipes = []
        for _ in range(processes):
            ours, theirs = spawn.Pipe()
            spawn.Process(target=_serve, args=(way, data, theirs), daemon=True).start()
            theirs.close()  # so that `recv` raises when the process dies
            self._pipes.append(ours)
        for pipe in self._pipes:
            pipe.recv()

    def run(self, start: int, n: int) -> None:
        for at, pipe in enumerate(self._pipes):
            pipe.send((start + at * n, start + (at + 1) * n))
        for pipe in self._pipes:
            pipe.recv()


class Workers:
    """The whole scoring path: a rule pack, threads, supervised worker processes."""

    def __init__(self, data: Path, processes: int) -> None:
        self._tasks, self._processes = mixed(data), processes
        self._supervisor = Supervisor(workers=processes)
        self.run(0, 20)

    def run(self, start: int, n: int) -> None:
        tasks = [self._tasks[at % len(self._tasks)] for at in range(start, start + n * self._processes)]
        assert_right_ones_pass(tasks, scored(tasks, self._supervisor))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data_argument(parser)
    parser.add_argument("--rounds", type=int, default=10, help="of each way")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    given = parser.parse_args()
    with ThreadPoolExecutor() as starting:
        made = starting.map(
            lambda way: Workers(given.data, given.processes) if way == "workers" else Pair(way, given.data, given.processes),
            given.ways,
        )
        running: dict[str, Any] = dict(zip(given.ways, made, strict=True))
    rates: dict[str, list[float]] = {way: [] for way in given.ways}
    costs: dict[str, list[float]] = {way: [] for way in given.ways}
    for number in range(given.rounds):
        for way in given.ways[number % len(given.ways) :] + given.ways[: number % len(given.ways)]:
            n = WAYS[way]
            with Clock() as clock:
                running[way].run(number * n * given.processes, n)
            rates[way].append(n * given.processes / clock.wall)
            costs[way].append(clock.cpu / n / given.processes * 1e3)
    _report(rates, costs)


def _report(rates: dict[str, list[float]], costs: dict[str, list[float]]) -> None:
    """Ratios are medians of the ratios within each round."""
    print("| way | programs /s, median (from, to) | processor ms a program, median | verifier / this | workers / this |")
    print("|---|---|---|---|---|")
    for way, seen in rates.items():
        ratios = [
            f"{statistics.median(a / b for a, b in zip(rates[ours], seen, strict=True)):.2f}" if ours in rates else ""
            for ours in ("verifier", "workers")
        ]
        spread = f"{statistics.median(seen):.0f} ({min(seen):.0f}, {max(seen):.0f})"
        print(f"| {way} | {spread} | {statistics.median(costs[way]):.2f} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
