"""What a verdict through a supervised worker process costs beside one inline, and how long a worker takes to start."""

from __future__ import annotations

import time

from rlvr.scoring.local.supervisor import Supervisor
from rlvr.types import Problem
from rlvr.verifiers.base import Verifier
from rlvr.verifiers.format import ThinkAnswer
from rlvr.verifiers.math import MathAnswer

N = 2000
PROBLEM = Problem(id="p", prompt="What is 2 + 2?", truth={"answer": "4"})
TURN = "<think>2 and 2 make 4</think><answer>\\boxed{4}</answer>"


def main() -> None:
    """Prints one line for each verifier, measured in one run."""
    for verifier in (ThinkAnswer(), MathAnswer()):
        _measure(verifier)


def _measure(verifier: Verifier) -> None:
    start = time.perf_counter()
    for _ in range(N):
        verifier(TURN, PROBLEM)
    inline = (time.perf_counter() - start) / N
    with Supervisor(workers=1) as pool:
        start = time.perf_counter()
        assert pool.score(verifier, TURN, PROBLEM).score == 1.0
        first = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(N):
            pool.score(verifier, TURN, PROBLEM)
        worker = (time.perf_counter() - start) / N
    print(
        f"{type(verifier).__name__}: inline {inline * 1e3:.3f} ms, through a worker {worker * 1e3:.3f} ms a verdict; "
        f"{first:.2f} s until the first verdict of a new worker"
    )


if __name__ == "__main__":
    main()
