"""The interface of all verifiers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from rlvr.types import Problem, Verdict


class Refused(Exception):
    """What a model wrote is not in a form that a verifier reads, or fails when it is run."""

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
        read = self.read_truth(truth)
        return read if isinstance(read, str) else None

    def read_truth(self, truth: Mapping[str, Any]) -> Any:
        """What `__call__` compares with, or a text that says what is wrong with the ground truth."""
        return truth


def check_choices(verifier: Verifier) -> None:
    """For `__post_init__`. Errors: `ValueError` for a field with a value that its `Literal` does not list."""
    for key, kind in get_type_hints(type(verifier)).items():
        value, allowed = getattr(verifier, key), get_args(kind)
        if get_origin(kind) is Literal and value not in allowed:
            raise ValueError(f"{key}={value}: must be one of {', '.join(allowed)}")


def settle_places(verifier: Any, allowed: Sequence[str]) -> None:
    """For `__post_init__` of verifiers with `extract`, one name or several in order: makes it a tuple.

    Errors: `ValueError` for an unknown or missing name, and for a `tag` that is no name of a tag.
    """
    order = (verifier.extract,) if isinstance(verifier.extract, str) else tuple(verifier.extract)
    unknown = [name for name in order if name not in allowed]
    if unknown or not order:
        raise ValueError(f"extract={unknown[0] if unknown else '[]'}: must be one of {', '.join(allowed)}, or a list of them")
    object.__setattr__(verifier, "extract", order)
    tag = getattr(verifier, "tag", "answer")
    if not re.fullmatch(r"[\w-]+", tag):
        raise ValueError(f"tag={tag!r}: must be the name of a tag, without brackets")


def not_found(order: Sequence[str], reason: str = "no_answer") -> Verdict:
    """The verdict where none of the places holds anything."""
    return Verdict.scored(0.0, reason, detail=f"nothing found by {', '.join(order)}")


def no_key(truth: Mapping[str, Any], key: str) -> str:
    """What is wrong with a ground truth that lacks a key."""
    return f"the truth has no key {key!r} (it has: {', '.join(truth) or 'none'})"
