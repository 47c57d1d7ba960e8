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
    def score(self, verifier: Verifier, response: str, problem: Problem) -> Verdict:
        """What `verifier(response, problem)` says. Never raises: what fails on our side is a verdict of `error`."""

    @abstractmethod
    def require_isolation(self) -> None:
        """Errors: `ConfigError` where programs of the model would run without isolation that the user has not waived."""

    @abstractmethod
    def close(self) -> None:
        """Give up what is being judged; those who wait get `error`."""
