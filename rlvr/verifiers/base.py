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
    """What full score mean to an evaluation: the answer is right (counts as accuracy), or the form is (counts as format)."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Keys of a truth that it cannot do without."""
    isolated: ClassVar[bool] = False
    """Whether the full call runs programs that the model wrote, and so needs a machine that can isolate them."""

    @abstractmethod
    def __call__(self, completion: str, problem: Problem) -> Verdict:
        """Judge the assistant's whole response, `Problem.response(completion)` (the rule pack has already joined the two)."""

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        """The verdict of the full call, where it is certain to come at once; this is called in the judging process itself.

        None: only the full call can say, and it may be slow or hang, so it runs in a worker process under a deadline
        (`rlvr.scoring.local.supervisor`). Which of the two it is depends on the response and the problem alone.
        """
        return self(completion, problem)

    def prepare(self) -> None:  # noqa: B027  most have nothing to import
        """Import or start what the full call will need; called in a worker process before the clock of a task starts.

        A process that is started here may stay; one that a full call leaves behind ends the worker with it.
        """

    def waits_s(self) -> float:
        """Seconds that a full call may spend waiting for processes of its own, on top of what the deadline allows."""
        return 0.0

    def same(self, completion: str, problem: Problem) -> object:
        """What the full call's verdict depends on, besides the verifier and the truth; where it is the same again within a
        batch, the full call is made once. Plain values, compared as they are pickled. The default is right for any verifier:
        the whole response and the whole problem. Less (the program in the response) finds more that is the same.
        """
        return completion, problem

    def applies(self, truth: Mapping[str, Any]) -> bool:
        """Whether it is meant for problems with such a truth; in a mixture of data sets a rule judges those it applies to."""
        return all(key in truth for key in self.needs)

    def check_truth(self, truth: Mapping[str, Any]) -> str | None:
        """None if `truth` can be scored, else why not; asked of every problem when a data set is loaded."""
        return None
