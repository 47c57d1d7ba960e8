"""The interface of what scores rules that may hang, crash or run programs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier


class Backend(ABC):
    """Workers that score; called from many threads."""

    concurrency: int
    """How many verdicts are worth requesting at a time."""

    @abstractmethod
    def score(self, verifier: Verifier, response: str, problem: Problem) -> Verdict:
        """The verdict of `verifier(response, problem)`. Never raises: our own failure is a verdict of `error`."""

    @abstractmethod
    def require_isolation(self) -> None:
        """Errors: `ConfigError` if programs of the model would run without isolation, and the user has not allowed that."""

    @abstractmethod
    def close(self) -> None:
        """Stop scoring; pending calls of `score` return `error`."""
