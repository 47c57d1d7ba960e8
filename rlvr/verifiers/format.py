"""Verifiers of form: is the turn laid out as asked?"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import ClassVar

from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier
from rlvr.verifiers.math import normalise, parse_number

_BLANK = frozenset("\u2800\u3164\u115f\u1160\uffa0")  # a Braille cell without dots, Hangul fillers: letters that show nothing
_TAG = re.compile(r"</?(?:think|answer)>")


def visible_chars(text: str) -> int:
    """Number of characters a reader would see: no separators, control or format characters, lone marks, or blanks."""
    return sum(unicodedata.category(char)[0] not in "ZCM" and char not in _BLANK for char in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkAnswer(Verifier):
    """One think block, then one answer block, and nothing else: `<think>...</think><answer>...</answer>`.

    The turn is split at its tags, and the four tags must appear once each, in that order, with only white space around
    the two blocks and something visible in both. A `<think>` that the prompt opened counts (`Problem.prefill`).
    Source: the format reward of DeepSeek-R1-Zero (DeepSeek-AI 2025, section 2.2.2), with the hacks it invites closed.
    """

    judges: ClassVar = "format"

    min_think_chars: int = 8
    """Visible characters of reasoning for full marks."""
    length_share: float = 0.2
    """Part of the score that is lost when the reasoning is shorter."""

    def __post_init__(self) -> None:
        if self.min_think_chars < 1:
            raise ValueError(f"min_think_chars={self.min_think_chars}: must be at least 1 (an empty think block never counts)")
        if not 0.0 <= self.length_share <= 1.0:
            raise ValueError(f"length_share={self.length_share}: must lie in [0, 1]")

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        tags = _TAG.findall(completion)
        if tags != ["<think>", "</think>", "<answer>", "</answer>"]:
            reason = "no_tags" if not tags else "wrong_tags"
            return Verdict.scored(0.0, reason, detail=f"tags found: {' '.join(tags[:8]) or 'none'}")
        before, think, between, answer, after = _TAG.split(completion)
        for place, text in (("before <think>", before), ("between the blocks", between), ("after </answer>", after)):
            if text.strip():
                return Verdict.scored(0.0, "text_outside", detail=f"text {place}: {text.strip()[:40]!r}")
        n_think = visible_chars(think)
        if not n_think or not visible_chars(answer):
            return Verdict.scored(0.0, "empty_block", detail=f"the {'answer' if n_think else 'think'} block is empty")
        detail = f"{n_think} characters of reasoning, {self.min_think_chars} asked"
        if n_think < self.min_think_chars:
            return Verdict.scored(1.0 - self.length_share, "short_think", detail=detail)
        return Verdict.scored(1.0, "correct", detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalLine(Verifier):
    """The turn ends in one line `#### number`, the layout of GSM8K's own solutions.

    Full marks when that line is the last and the only one of its kind; `early_share` when there is one, but text follows it
    or it is repeated.
    """

    judges: ClassVar = "format"

    marker: str = "####"
    """What the line begins with."""
    early_share: float = 0.5
    """Score for a marked number that is not the single last line."""

    def __post_init__(self) -> None:
        if not self.marker.strip():
            raise ValueError(f"marker={self.marker!r}: must hold a visible character")
        if not 0.0 <= self.early_share <= 1.0:
            raise ValueError(f"early_share={self.early_share}: must lie in [0, 1]")

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        lines = [line.strip() for line in normalise(completion).splitlines() if line.strip()]
        marked = [at for at, line in enumerate(lines) if line.startswith(self.marker)]
        if not marked:
            return Verdict.scored(0.0, "no_marker", detail=f"no line begins with {self.marker}")
        answer = lines[marked[-1]].removeprefix(self.marker).strip()
        if parse_number(answer) is None:
            return Verdict.scored(0.0, "unparsable", answer[:200], f"no number behind {self.marker}")
        if len(marked) > 1 or marked[0] != len(lines) - 1:
            return Verdict.scored(self.early_share, "not_last", answer, f"{len(marked)} marked lines of {len(lines)}")
        return Verdict.scored(1.0, "correct", answer)
