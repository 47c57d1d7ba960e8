"""The interface of all verifiers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from rlvr.types import Problem, Verdict


class Refused(ValueError):
    """What a model wrote is not in a form that a verifier reads."""

    def __init__(self, reason: str, detail: str) -> None:
        """reason, detail: the verdict's."""
        super().__init__(detail)
        self.reason = reason


class Verifier(ABC):
    """Code that scores a response: no learnable parameters, no randomness, no network, no state that a verdict depends on.

    Bad model output scores 0; it never raises. A ground truth that cannot be checked is `Verdict.unscorable`. Subclasses are
    frozen keyword-only dataclasses whose fields are the keys that a rule pack may set.
    """

    judges: ClassVar[Literal["answer", "format", "other"]] = "other"
    """What a full score means in an evaluation: the answer is right (accuracy), the form is right (format), or neither."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Keys that the ground truth must have."""
    isolated: ClassVar[bool] = False
    """Whether `__call__` runs programs that the model wrote, so that the machine must be able to isolate them."""

    @abstractmethod
    def __call__(self, completion: str, problem: Problem) -> Verdict:
        """Score the whole response, prefill included: `Problem.response(completion)`, which the rule pack has computed."""

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        """The same verdict as `__call__`, computed inline.

        If scoring may hang or crash, return None; `__call__` then runs in a supervised worker process, under a deadline
        (`rlvr.scoring.local.supervisor`). Which of the two it is must depend on the response and the problem alone.
        """
        return self(completion, problem)

    def prepare(self) -> None:  # noqa: B027  most have nothing to import
        """Import or start what `__call__` needs; runs in a worker process before the deadline of a task begins.

        Child processes started here may stay; a worker whose `__call__` leaves one behind is ended with it.
        """

    def waits_s(self) -> float:
        """Seconds that `__call__` may wait for its child processes, in addition to the deadline."""
        return 0.0

    def scored_part(self, completion: str, problem: Problem) -> tuple[object, int]:
        """What the verdict of `__call__` depends on, given verifier and ground truth; and where in the response it begins.

        Within a batch, equal ones (plain values, compared as pickled) get one call, and the span of the verdict is counted
        from where each begins. The default, the whole response and problem, is right for any verifier; a smaller part (the
        program in the response) finds more duplicates.
        """
        return (completion, problem), 0

    def applies(self, truth: Mapping[str, Any]) -> bool:
        """Whether it is meant for such a ground truth; in a mixture of data sets a rule scores the problems it applies to."""
        return all(key in truth for key in self.needs)

    def check_truth(self, truth: Mapping[str, Any]) -> str | None:
        """None if `truth` can be scored, else why not; called for every problem when a data set is loaded."""
        return None


def check_choices(verifier: Verifier, **allowed: Sequence[str]) -> None:
    """allowed: the values of each key that has only a few. Errors: `ValueError` for a different one."""
    for key, values in allowed.items():
        value = getattr(verifier, key)
        if value not in values:
            raise ValueError(f"{key}={value}: must be one of {', '.join(values)}")


def no_key(truth: Mapping[str, Any], key: str) -> str:
    """What is wrong with a ground truth that lacks a key."""
    return f"the truth has no key {key!r} (it has: {', '.join(truth) or 'none'})"
