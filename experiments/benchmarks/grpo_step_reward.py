"""The reward of `grpo_step`: the same function of the completion text on both sides."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier


def score(text: str) -> float:
    """In [0, 1), and almost never equal for two texts, so that no group is degenerate."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % 1000 / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TextHash(Verifier):
    """`score` as a verifier, for our side."""

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        return Verdict.scored(score(completion), "hash")


def text_hash(completions: Sequence[str], **_: Any) -> list[float]:
    """`score` as a reward function of TRL."""
    return [score(completion) for completion in completions]
