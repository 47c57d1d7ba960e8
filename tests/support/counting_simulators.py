"""A user's simulator in a separate package, and simulators with defects. Workers import it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rlvr.verifiers.simulation.base import Invalid, Simulator
from rlvr.verifiers.simulation.verifier import Simulation


class Mine(Simulation):
    """The class that `_target_` names, so that `simulator` may name classes of this package."""


class Counter(Simulator[tuple[int, int]]):
    """Counts to a target: the state is (target, count). `hang` and `raise` do what they say."""

    brief: ClassVar = True

    def start(self, setup: Mapping[str, Any]) -> tuple[int, int]:
        if "target" not in setup:
            raise ValueError("no target")
        return setup["target"], setup.get("from", 0)

    def step(self, state: tuple[int, int], action: str) -> tuple[int, int] | Invalid:
        while action == "hang":
            pass
        if action == "raise":
            raise RuntimeError("a defect")
        return (state[0], state[1] + int(action)) if action in ("1", "2", "-1") else Invalid("not 1, 2 or -1")

    def score(self, state: tuple[int, int]) -> float:
        return max(0.0, 1 - abs(state[0] - state[1]) / state[0])


class SlowCounter(Counter):
    brief: ClassVar = False


class Generous(Counter):
    def score(self, state: tuple[int, int]) -> float:
        return 2.0 if state[1] else 0.0


class Undecided(Counter):
    def score(self, state: tuple[int, int]) -> float:
        return float("nan")


class Demanding(Counter):
    def __init__(self, *, needs: int) -> None:
        self.needs = needs
