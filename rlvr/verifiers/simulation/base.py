"""The interface of simulators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Invalid:
    """Returned by a step for an action that cannot be taken."""

    why: str
    """For a human."""


class Simulator(ABC, Generic[State]):
    """A deterministic environment: no randomness, no clock, no memory of earlier runs; its constructor takes no arguments.

    States are values: a step returns a new one and leaves the old one unchanged. Actions are a model's text; every text is
    valid or `Invalid`, and an exception is a defect of the simulator.
    """

    brief: ClassVar[bool] = False
    """Whether every start, step and score is certain to end at once, so that they may run inline, without a worker process."""

    @abstractmethod
    def start(self, setup: Mapping[str, Any]) -> State:
        """The state that `truth["simulation"]` describes. Errors: `ValueError` if it describes none that can be solved."""

    @abstractmethod
    def step(self, state: State, action: str) -> State | Invalid:
        """The state after an action."""

    @abstractmethod
    def score(self, state: State) -> float:
        """How good a final state is, in [0, 1]; 1: the problem is solved."""
