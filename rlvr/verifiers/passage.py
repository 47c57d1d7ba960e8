"""Where an answer stands that must be read as it is written, character by character: a fenced block, a tag, or all of it."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.answers.extract import after_think, blocks, boxes
from rlvr.verifiers.schema import answer_part, last_fence

PLACES = ("fenced", "tag", "boxed", "whole")
"""Names of all places."""


def declared_places(extract: str | Sequence[str], allowed: Sequence[str] = PLACES) -> tuple[str, ...]:
    """`extract` of a rule pack, one place or several in order. Errors: `ValueError` for an unknown or missing name."""
    order = (extract,) if isinstance(extract, str) else tuple(extract)
    unknown = [name for name in order if name not in allowed]
    if unknown or not order:
        raise ValueError(f"extract={unknown[0] if unknown else '[]'}: must be one of {', '.join(allowed)}, or a list of them")
    return order


def passage(turn: str, order: Sequence[str], *, tag: str, language: str) -> str | None:
    """What the first place of `order` that holds anything holds, behind the reasoning; of several such places the last.

    `language`: what the opening line of a fenced block says ("" for a block that says nothing). A fenced block or a box inside
    a tag is opened.
    """
    for name in order:
        found = _look(name, turn, tag, language)
        if found and found.strip():
            return found.strip()
    return None


def _look(name: str, turn: str, tag: str, language: str) -> str | None:
    text = answer_part(turn)
    if name == "fenced":
        return last_fence(text, language)
    if name == "whole":
        return text
    if name == "boxed":
        return _last(boxes(text))
    found = _last(blocks(after_think(turn).partition("<think>")[0], tag))
    return found and (last_fence(found, language) or _last(boxes(found)) or found)


def _last(texts: Sequence[str]) -> str | None:
    return next((text for text in reversed(texts) if text.strip()), None)
