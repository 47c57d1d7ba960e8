"""A verifier that writes a line for every call, in a module that workers import."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from rlvr import Problem, Verdict, Verifier


@dataclass(frozen=True, kw_only=True)
class Traced(Verifier):
    """Sleeps, and appends the response to a file."""

    path: str
    seconds: float = 0.0

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        return None

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        time.sleep(self.seconds)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{completion} {os.getpid()}\n")
        return Verdict.scored(1.0, "correct", completion)
