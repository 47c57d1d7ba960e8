"""Unicode normalisation: one spelling for what looks the same."""

from __future__ import annotations

import re
import unicodedata

# Unicode writes minus and fraction bars in several ways that NFKC leaves alone.
_LOOKALIKES = str.maketrans({"\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\ufe63": "-",
                             "\u2044": "/", "\u2215": "/", "\u2217": "*"})  # fmt: skip
_SUPERSCRIPTS = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u207b]{2,}")  # 10\u207b\u00b3 is one exponent
_MAX_PLAIN = 4  # longest replacement of a character; one that stands for a whole phrase is kept


def normalise(text: str) -> str:
    """NFKC, with look-alike digits, minus signs and fraction bars as ASCII, stripped.

    NFKC alone would read 10\u00b2 as 102 and 2\u00bd as 21/2: superscripts, subscripts and fractions are separated first.
    """
    if text.isascii():
        return text.strip()
    text = _SUPERSCRIPTS.sub(lambda match: f"^{{{unicodedata.normalize('NFKC', match[0]).translate(_LOOKALIKES)}}}", text)
    # One by one: on a long run of combining marks NFKC takes quadratic time, and nothing here needs them composed.
    return text.translate(_PLAIN).strip()


class _Plain(dict[int, str]):
    """Replacement by code point, for `str.translate`; computed once, because translating a long text must be fast."""

    def __missing__(self, code: int) -> str:
        plain = chr(code) if code < 128 else _plain_char(chr(code))
        if len(self) < 20_000:
            self[code] = plain
        return plain


_PLAIN = _Plain()


def _plain_char(char: str) -> str:
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if unicodedata.category(char) == "Cf":  # zero-width and direction marks show nothing
        return ""
    kind = unicodedata.decomposition(char).partition(" ")[0]
    before = {"<super>": "^", "<sub>": "_", "<fraction>": " "}.get(kind, "")
    plain = unicodedata.normalize("NFKC", char).translate(_LOOKALIKES)
    return before + plain if len(plain) <= _MAX_PLAIN else char
