"""Unicode normalisation: one spelling for what looks the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from rlvr.types import Span

# Unicode writes minus and fraction bars in several ways that NFKC leaves alone.
_LOOKALIKES = str.maketrans({"\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\ufe63": "-",
                             "\u2044": "/", "\u2215": "/", "\u2217": "*"})  # fmt: skip
_SUPERSCRIPT = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b"
_SUPERSCRIPTS = re.compile(f"[{_SUPERSCRIPT}]{{2,}}")  # 10\u207b\u00b3 is one exponent
_MAX_PLAIN = 4  # longest replacement of a character; one that stands for a whole phrase is kept


def normalise(text: str) -> str:
    """NFKC, with look-alike digits, minus signs and fraction bars as ASCII, stripped.

    NFKC alone would read 10\u00b2 as 102 and 2\u00bd as 21/2: superscripts, subscripts and fractions are separated first.
    """
    return plain(text).strip()


def plain(text: str) -> str:
    """The text normalised, but not stripped."""
    if text.isascii():
        return text
    text = _SUPERSCRIPTS.sub(_exponent, text)
    # One by one: on a long run of combining marks NFKC takes quadratic time, and nothing here needs them composed.
    return text.translate(_PLAIN)


def _exponent(superscripts: re.Match[str]) -> str:
    return f"^{{{unicodedata.normalize('NFKC', superscripts[0]).translate(_LOOKALIKES)}}}"


def origin(text: str, normal: str, start: int, end: int) -> Span:
    """Where in `text` the characters stand that became `normal[start:end]`, with `normal = plain(text)`.

    A character that became several counts as a whole. Read from the end, because that is where answers are.
    """
    if text == normal:
        return start, end
    at, position, last = len(text), len(normal), 0
    while position > start:
        behind = at
        at -= 1
        char = text[at]
        if char < "\x80":
            position -= 1
        elif char in _SUPERSCRIPT:
            while at and text[at - 1] in _SUPERSCRIPT:
                at -= 1
            position -= len(plain(text[at:behind]))
        else:
            position -= len(_PLAIN[ord(char)] or "")
        if position < end and not last:
            last = behind
    return at, max(at, last)


class Translation(dict[int, str | None]):
    """For `str.translate`: what a function makes of each character, computed once, so that long texts are fast."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self._function = function

    def __missing__(self, code: int) -> str | None:
        made = self._function(chr(code)) or None  # which is much faster than an empty text
        if len(self) < 20_000:
            self[code] = made
        return made


def _plain_char(char: str) -> str:
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if unicodedata.category(char) == "Cf":  # zero-width and direction marks show nothing
        return ""
    kind = unicodedata.decomposition(char).partition(" ")[0]
    before = {"<super>": "^", "<sub>": "_", "<fraction>": " "}.get(kind, "")
    plain = unicodedata.normalize("NFKC", char).translate(_LOOKALIKES)
    return before + plain if len(plain) <= _MAX_PLAIN else char


_PLAIN = Translation(_plain_char)
