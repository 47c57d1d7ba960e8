"""Fenced blocks of Markdown: the only reader of them.

A fence is a line of three or more backticks or tildes, indented or not; behind the opening one stands a label. Its block ends
at the next line of at least as many of the same mark, indented by at most three more, with nothing behind it, or with the
text. The indentation of the fence is removed from the lines. As in CommonMark (https://spec.commonmark.org, fenced code
blocks), but a fence may be indented by more than three: lists, in which it is, are not read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block."""

    label: str
    """What stands behind the opening fence, without surrounding space ("python title=x")."""
    content: str
    """Its lines without the indentation of the fence; they end in `\\n`."""
    start: int
    """Where the lines begin in the text as given."""
    end: int
    """Where the closing fence's line begins, or the text ends."""
    closed: bool


def fences(text: str) -> list[Fence]:
    """All fenced blocks, in order."""
    if "```" not in text and "~~~" not in text:
        return []
    found: list[Fence] = []
    opening: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        indentation, mark, rest = line.groups()
        if opening is None:
            if mark[0] == "~" or "`" not in rest:  # ```x``` is code in a line
                opening = line
        elif mark.startswith(opening[2]) and not rest.strip() and len(indentation) <= len(opening[1]) + 3:
            found.append(_block(text, opening, line))
            opening = None
    if opening is not None:
        found.append(_block(text, opening, None))
    return found


def _block(text: str, opening: re.Match[str], closing: re.Match[str] | None) -> Fence:
    start = min(opening.end() + 1, len(text))
    end = closing.start() if closing else len(text)
    content = text[start:end].replace("\r\n", "\n")
    if opening[1]:
        content = re.sub(rf"^[ \t]{{1,{len(opening[1])}}}", "", content, flags=re.MULTILINE)
    return Fence(label=opening[3].strip(), content=content, start=start, end=end, closed=closing is not None)
