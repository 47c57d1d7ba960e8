"""Where the answer stands in a completion: a box, a tag, `####`, "the answer is", the last number, or all of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlvr.answers.text import normalise

Scope = Literal["turn", "after_think"]
SCOPES = ("turn", "after_think")

_BOX_OR_BRACE = re.compile(r"\\f?box(?:ed)?\s*\{|\\.|[{}]", re.DOTALL)  # an escaped brace is not a brace
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
# To the end of the line or of the sentence, whichever comes first.
_LEAD = re.compile(r"\banswer(?:\s+is\b|\s*[:=])[ \t:=]*", re.IGNORECASE)
_PHRASE = re.compile(rf"{_LEAD.pattern}((?:[^\n.!?]|[.!?](?![\s*]|$))*)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])[+-]?\$?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?%?")


@dataclass(frozen=True, slots=True)
class Found:
    """What an extractor found."""

    source: str
    """The extractor's name."""
    texts: tuple[str, ...]
    """All it found, in order, none blank; normalised (`rlvr.answers.text`)."""


def boxes(text: str) -> list[str]:
    """The contents of every outermost `\\boxed{...}` in order; braces balance, and a box that is never closed is not one."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return []
    spans: list[tuple[int, int]] = []
    opened: list[int | None] = []  # where the contents of an open box begin; None for any other open brace
    for match in _BOX_OR_BRACE.finditer(text):
        token = match[0]
        if token == "{":
            opened.append(None)
        elif token == "}":
            start = opened.pop() if opened else None
            if start is not None:
                while spans and spans[-1][0] > start:  # boxes inside this one
                    spans.pop()
                spans.append((start, match.start()))
        elif token.endswith("{") and len(token) > 2:
            opened.append(match.end())
    return [text[start:end] for start, end in spans]


def blocks(text: str, tag: str) -> list[str]:
    """The contents of every `<tag>...</tag>` in order; a block reaches from the last opening tag before a closing one."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    found = []
    for piece in text.split(closing)[:-1]:
        _, opened, content = piece.rpartition(opening)
        if opened:
            found.append(content)
    return found


def after_think(turn: str) -> str:
    """What follows the reasoning: the text behind the last `</think>`, or all of it without one."""
    return turn.rpartition("</think>")[2]


_EXTRACTORS: dict[str, Callable[[str, str], Sequence[str]]] = {
    "boxed": lambda text, tag: boxes(text),
    "tag": blocks,
    "hashes": lambda text, tag: _HASHES.findall(text),
    # "Final Answer: The final answer is 5" says it twice in one sentence.
    "phrase": lambda text, tag: [_LEAD.split(match)[-1].strip(" *_") for match in _PHRASE.findall(text)],
    "number": lambda text, tag: _NUMBER.findall(text),
    "whole": lambda text, tag: [after_think(text).strip()],
}
EXTRACTORS = tuple(_EXTRACTORS)
"""Names of all extractors."""


def find(turn: str, order: Sequence[str], *, tag: str = "answer", scope: Scope = "turn") -> Found | None:
    """What the first extractor of `order` that finds anything found, or None; `scope` says where it looks.

    The text is normalised before looking, because the characters of markers have look-alikes too.
    """
    text = normalise(turn if scope == "turn" else after_think(turn))
    for name in order:
        texts = tuple(each for each in map(str.strip, _EXTRACTORS[name](text, tag)) if each)
        if texts:
            return Found(name, texts)
    return None


def declared_order(extract: str | Sequence[str]) -> tuple[str, ...]:
    """`extract` of a rule pack, one name or several in order. Errors: `ValueError` for an unknown or missing name."""
    order = (extract,) if isinstance(extract, str) else tuple(extract)
    unknown = [name for name in order if name not in _EXTRACTORS]
    if unknown or not order:
        raise ValueError(
            f"extract={unknown[0] if unknown else '[]'}: must be one of {', '.join(EXTRACTORS)}, or a list of them"
        )
    return order
