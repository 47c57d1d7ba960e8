"""The cost of a verdict through a supervised worker process, compared with inline, and the start-up time of a worker."""

from __future__ import annotations

import time

from rlvr.scoring.local.supervisor import Supervisor
from rlvr.types import Problem
from rlvr.verifiers.base import Verifier
from rlvr.verifiers.format import ThinkAnswer
from rlvr.verifiers.math import MathAnswer

N = 2000
PROBLEM = Problem(id="p", prompt="What is 2 + 2?", truth={"answer": "4"})
RESPONSE = "<think>2 and 2 make 4</think><answer>\\boxed{4}</answer>"


def main() -> None:
    """Prints a line for each verifier."""
    for verifier in (ThinkAnswer(), MathAnswer()):
        _measure(verifier)


def _measure(verifier: Verifier) -> None:
    start = time.perf_counter()
    for _ in range(N):
        verifier(RESPONSE, PROBLEM)
    inline = (time.perf_counter() - start) / N
    with Supervisor(workers=1) as pool:
        start = time.perf_counter()
        assert pool.score(verifier, RESPONSE, PROBLEM).score == 1.0
        first = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(N):
            pool.score(verifier, RESPONSE, PROBLEM)
        worker = (time.perf_counter() - start) / N
    print(
        f"{type(verifier).__name__}: inline {inline * 1e3:.3f} ms, through a worker {worker * 1e3:.3f} ms a verdict; "
        f"{first:.2f} s until the first verdict of a new worker"
    )


if __name__ == "__main__":
    main()
