"""The reward of `grpo_step`, the same function of the completion's text on both sides."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier


def score(text: str) -> float:
    """In [0, 1), and hardly ever the same for two texts, so that every group has something to train on."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % 1000 / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TextHash(Verifier):
    """Ours."""

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        return Verdict.scored(score(completion), "hash")


def text_hash(completions: Sequence[str], **_: Any) -> list[float]:
    """TRL's."""
    return [score(completion) for completion in completions]
