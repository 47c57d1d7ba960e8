"""Where rules that may hang, crash or run programs are judged."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier


class Backend(ABC):
    """A place with workers; asked from many threads."""

    concurrency: int
    """How many verdicts are worth asking for at a time."""

    @abstractmethod
    def judge(self, verifier: Verifier, turn: str, problem: Problem) -> Verdict:
        """What `verifier(turn, problem)` says. Never raises: what fails on our side is a verdict of `error`."""

    @abstractmethod
    def close(self) -> None:
        """Give up what is being judged; those who wait get `error`."""
