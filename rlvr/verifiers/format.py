"""Verifiers of form: whether the response is laid out as asked."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from rlvr.answers.extract import cut
from rlvr.answers.normalise import Translation, origin, plain
from rlvr.answers.numbers import parse_number
from rlvr.config.bounds import check_fields
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

_BLANK = frozenset("\u2800\u3164\u115f\u1160\uffa0")  # a Braille cell without dots, Hangul fillers: letters that show nothing
_TAG_NAME = re.compile(r"[A-Za-z0-9_-]+")


def visible_text(text: str) -> str:
    """The visible characters of `text`: no separators, control or format characters, combining marks, or blank letters."""
    return text.translate(_VISIBLE)


def _visible(char: str) -> str:
    return "" if unicodedata.category(char)[0] in "ZCM" or char in _BLANK else char


_VISIBLE = Translation(_visible)


@lru_cache(maxsize=256)
def _tag_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(f"</?(?:{'|'.join(map(re.escape, names))})>")


def _blocks(response: str, names: tuple[str, ...]) -> list[str] | Verdict:
    """The contents of the blocks, or the verdict where these are not all that the response is, in order and each once."""
    pattern = _tag_pattern(names)
    tags = pattern.findall(response)
    if tags != [tag for name in names for tag in (f"<{name}>", f"</{name}>")]:
        detail = f"tags found: {' '.join(tags[:8])[:200] or 'none'}"
        return Verdict.scored(0.0, "wrong_tags" if tags else "no_tags", detail=detail)
    pieces = pattern.split(response)
    places = [f"before <{names[0]}>"] + ["between the blocks"] * (len(names) - 1) + [f"after </{names[-1]}>"]
    for place, outside in zip(places, pieces[::2], strict=True):
        if outside.strip():
            return Verdict.scored(0.0, "text_outside", detail=f"text {place}: {outside.strip()[:40]!r}")
    for name, content in zip(names, pieces[1::2], strict=True):
        if not visible_text(content):
            return Verdict.scored(0.0, "empty_block", detail=f"the {name} block is empty")
    return pieces[1::2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkAnswer(Verifier):
    """One think block, then one answer block, and nothing else: `<think>...</think><answer>...</answer>`.

    The response is split at its tags, and the four tags must appear once each, in that order, with only white space around
    the two blocks and something visible in both. A `<think>` that the prompt opened counts (`Problem.prefill`).
    Source: the format reward of DeepSeek-R1-Zero (DeepSeek-AI 2025, section 2.2.2), with the hacks it invites closed.
    """

    judges: ClassVar = "format"

    min_think_chars: int = 8
    """Visible characters of reasoning for the full score."""
    length_share: float = 0.2
    """What shorter reasoning costs: the score is then `1 - length_share`."""

    def __post_init__(self) -> None:
        check_fields(self, "min_think_chars", at_least=1, why="an empty think block never counts")
        check_fields(self, "length_share", at_least=0, at_most=1)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        blocks = _blocks(completion, ("think", "answer"))
        if isinstance(blocks, Verdict):
            return blocks
        n_think = len(visible_text(blocks[0]))
        detail = f"{n_think} characters of reasoning, {self.min_think_chars} asked"
        if n_think < self.min_think_chars:
            return Verdict.scored(1.0 - self.length_share, "short_think", detail=detail)
        return Verdict.scored(1.0, "correct", detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags(Verifier):
    """Declared blocks, each exactly once and in order, with something visible in each and only white space around them.

    `tags: [plan, code, answer]` asks for `<plan>...</plan> <code>...</code> <answer>...</answer>`. The response is split at
    every opening and closing tag of these names, as `ThinkAnswer` does it; other tags are text. A block that the prompt
    opened counts (`Problem.prefill`). Reasons: `no_tags`, `wrong_tags`, `text_outside`, `empty_block`, `correct`.
    """

    judges: ClassVar = "format"

    tags: tuple[str, ...] = ("think", "answer")
    """Names of the blocks in order: letters, digits, `_` and `-`; no duplicates."""

    def __post_init__(self) -> None:
        if isinstance(self.tags, str) or not self.tags:
            raise ValueError(f"tags={self.tags!r}: must be a list of at least one name")
        for name in self.tags:
            if not isinstance(name, str) or not _TAG_NAME.fullmatch(name):
                raise ValueError(f"tags={name!r}: must consist of letters, digits, _ and -")
        if len(set(self.tags)) < len(self.tags):
            raise ValueError(f"tags={', '.join(self.tags)}: must not hold a name twice")

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        blocks = _blocks(completion, tuple(self.tags))
        if isinstance(blocks, Verdict):
            return blocks
        return Verdict.scored(1.0, "correct", detail=f"{len(self.tags)} blocks in order")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalLine(Verifier):
    """The response ends in one line `#### number`, the layout of GSM8K's own solutions.

    Full score if that line is the last and the only marked one; `early_share` if text follows it or it is repeated.
    """

    judges: ClassVar = "format"

    marker: str = "####"
    """What the line begins with."""
    early_share: float = 0.5
    """Score for a marked number that is not the single last line."""

    def __post_init__(self) -> None:
        if not self.marker.strip():
            raise ValueError(f"marker={self.marker!r}: must hold a visible character")
        check_fields(self, "early_share", at_least=0, at_most=1)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        normal = plain(completion)
        written = normal.splitlines(keepends=True)
        lines = [line.strip() for line in written]
        marked = [at for at, line in enumerate(lines) if line.startswith(self.marker)]
        if not marked:
            return Verdict.scored(0.0, "no_marker", detail=f"no line begins with {self.marker}")
        last = marked[-1]
        begin = len("".join(written[:last]))
        answer, start, end = cut(normal, normal.index(self.marker, begin) + len(self.marker), begin + len(written[last]))
        span = origin(completion, normal, start, end)
        if parse_number(answer) is None:
            return Verdict.scored(0.0, "unparsable", answer[:200], f"no number behind {self.marker}", span=span)
        if len(marked) > 1 or any(lines[last + 1 :]):
            detail = f"{len(marked)} marked lines of {sum(map(bool, lines))}"
            return Verdict.scored(self.early_share, "not_last", answer, detail, span=span)
        return Verdict.scored(1.0, "correct", answer, span=span)
