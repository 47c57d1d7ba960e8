"""Splits a response into prose and spans of code or mathematics."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MATHS = "equation|align|aligned|alignat|gather|gathered|multline|split|eqnarray|array|cases|tabular|[pbvBV]?matrix|smallmatrix"
_OPEN = re.compile(rf"\\[\\$]|```|`|\$\$|\$|\\\[|\\\(|\\begin\{{((?:{_MATHS})\*?)\}}|\[asy\]")
_CLOSE = {"```": "```", "$$": "$$", "\\[": "\\]", "\\(": "\\)", "[asy]": "[/asy]"}
# These end within their line (code) or paragraph (maths): a stray backtick opens no code, and a price no mathematics.
_INLINE = {"`": re.compile(r"`[^`\n]+`"), "$": re.compile(r"\$(?:[^$\\\n]|\\.|\n(?!\s*\n))+\$", re.DOTALL)}
_BLOCKS = ("```", "[asy]")
_FOUR_WORDS = re.compile(r"(?<!\w)(?:[^\W\d_]{2,}[.,;:]?\s+){3}[^\W\d_]{2,}")
_MARKUP = re.compile(r"https?://[!-~]+|</?[A-Za-z][\w-]*>|\\[A-Za-z]+")


def split_prose(text: str) -> tuple[str, list[str]]:
    """The prose of `text`, and its code spans (fences, backticks) and maths spans (LaTeX), with delimiters.

    A span of maths or inline code with four words in a row is prose. URLs, tags and LaTeX commands are in neither. A delimiter
    that is never closed opens no span; a closing one is searched only if one is left, so the time is linear in the text.
    """
    prose: list[str] = []
    spans: list[str] = []
    at = 0
    for start, end in _spans(text):
        prose.append(text[at:start])
        spans.append(text[start:end])
        at = end
    prose.append(text[at:])
    return " ".join(_MARKUP.sub(" ", piece) for piece in prose), spans


def _spans(text: str) -> Iterator[tuple[int, int]]:
    last: dict[str, int] = {}  # the last position of each closing delimiter
    at = 0
    while opened := _OPEN.search(text, at):
        token, at = opened[0], opened.end()
        if token in ("\\\\", "\\$"):
            continue
        if token in _INLINE:
            inline = _INLINE[token].match(text, opened.start())
            end = inline.end() if inline else -1
        else:
            close = _CLOSE.get(token) or f"\\end{{{opened[1]}}}"
            if close not in last:
                last[close] = text.rfind(close)
            end = text.find(close, at) + len(close) if last[close] >= at else -1
        if end < 0:
            continue
        if token not in _BLOCKS and _FOUR_WORDS.search(text, at, end):
            at = at if token in _INLINE else end
            continue
        yield opened.start(), end
        at = end
