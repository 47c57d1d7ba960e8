"""What a verifier is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from rlvr.types import Problem, Verdict


class Verifier(ABC):
    """Code that judges a completion: no learnable parameters, no randomness, no network, no state that a verdict depends on.

    Bad model output scores 0; it never raises. A truth that cannot be checked is `Verdict.unscorable`. Subclasses are
    frozen keyword-only dataclasses whose fields are the keys that a rule pack may set.
    """

    judges: ClassVar[Literal["answer", "format", "other"]] = "other"
    """What full marks mean to an evaluation: the answer is right (counts as accuracy), or the form is (counts as format)."""

    @abstractmethod
    def __call__(self, completion: str, problem: Problem) -> Verdict:
        """Judge the assistant's whole turn, `Problem.turn(completion)` (the rule pack has already joined the two)."""

    def check_truth(self, truth: Mapping[str, Any]) -> str | None:
        """None if `truth` can be scored, else why not; asked of every problem when a data set is loaded."""
        return None
