"""Cleaning of LaTeX, and splitting outside of brackets."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rlvr.answers.numbers import THOUSANDS

_DROPPED = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits|quad|qquad|hspace\{[^{}]*\})(?![a-zA-Z])\s?"
    r"|(?<!\\)\\[,;:!> ]|~|(?<!\\)\\-"
    r"|\\(?:boldsymbol|underline|bm|mathbf|mathit|mathsf|pmb|rm|bf|it|vec|hat|overrightarrow|checkmark)(?![a-zA-Z])"
    r"|\\(?:text)?color\s*\{\w+\}|\\(?:text|mathrm)\s*\{[\s.,]*\}"
)
_UNIT_IN_BRACKETS = (  # 5\\ (\\text{cm}), 5\\text{ (cm)}
    r"\\(?:text|mathrm)\s*\{\s*\(([a-z .]+)\)\s*\}|\(\s*\\(?:text|mathrm)\s*\{(?!\s*mod)([a-z .]+)\}\s*\)"
)
_ORDINAL = (  # 3^{rd}
    r"(?<=\d)\s*\^\s*(?:\{\s*(?:st|nd|rd|th)\s*\}|\{?\s*\\(?:text|mathrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?)"
)
_SPELLINGS = (
    (re.compile(r"(?<!\\)\{\s*\}"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:leq?|leqslant)(?![a-zA-Z])|\u2264|=<"), "<="),
    (re.compile(r"\\(?:geq?|geqslant)(?![a-zA-Z])|\u2265"), ">="),
    (re.compile(r"\\(?:neq?|not\s*=)(?![a-zA-Z])|\u2260"), "!="),
    (re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    (re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    (re.compile(r"\\(?:lbrace)(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\(?:lvert|rvert|vert)(?![a-zA-Z])"), "|"),
    (re.compile(r"\u222a|\\bigcup(?![a-zA-Z])|(?<=[)\]}])\s*U\s*(?=[(\[\\])"), r"\\cup "),
    (re.compile(r"\u00b1|\+/-|\+-"), r"\\pm "),
    (re.compile(r"\u221a\s*(\d+)?"), r"\\sqrt{\1}"),
    (re.compile(r"\\sqrt\s*(\d{2,})"), r"\\sqrt{\1}"),
    (re.compile(r"\\[td]binom(?![a-zA-Z])"), r"\\binom"),
    (re.compile(r"\\bar(?![a-zA-Z])"), r"\\overline"),
    (re.compile(r"\\mathbb\s*\{?\s*R\s*\}?|\u211d"), r"(-\\infty,\\infty)"),
    (re.compile(r"\{:\}"), ":"),
    (re.compile(r"\\dot\s*\{?(\d)\}?"), r"\\overline{\1}"),
    (re.compile(_UNIT_IN_BRACKETS), r"\\text{\1\2}"),
    (re.compile(r"(\\(?:text|mathrm)\s*\{[^{}]*)\}\s*/\s*\\(?:text|mathrm)\s*\{"), r"\1/"),
    (re.compile(_ORDINAL), ""),
    (re.compile(r"\\equiv(?=[^=<>]*\bp?mod(?![a-zA-Z]))"), "="),
    (re.compile(r"\u03c0"), r"\\pi "),
    (re.compile(r"\u221e"), r"\\infty "),
    (re.compile(r"\u00b0|\\degree(?![a-zA-Z])|\^\s*\{?\s*\\circ\s*\}?|\^o(?![a-zA-Z])"), r"^\\circ "),
    (re.compile(r"\\(?:emptyset|varnothing)(?![a-zA-Z])|\u2205|\u00f8"), r"\\{\\}"),
    (
        re.compile(r"\\(?:text|mbox|mathrm|textrm)\s*\{\s*,?\s*(and|or)\s*\}|(?<![a-zA-Z\\])(?:(and|or))(?![a-zA-Z])"),
        r"\\\1\2 ",
    ),
    (re.compile(r"^(?:\\(?:approx|equiv|sim)(?![a-zA-Z])|\u2248|=)\s*"), ""),
)
_LISTED = re.compile(r",\s*(\\or|\\and)\b")  # 3, 5, and 7
_SPECIAL = re.compile(r"[=U+rd~]|\{:")  # an ASCII text without commands and without these needs no cleaning
_WRAPPERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_PIECE = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)
_OPENING = {"(", "[", "{", "\\{", "\\langle", "\\lfloor", "\\lceil"}
_CLOSING = {")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil"}


def clean(text: str) -> str:
    """The text without maths delimiters, spacing and size commands, and a final full stop; one spelling for synonyms."""
    text = text.strip()
    for _ in range(3):
        for opening, closing in _WRAPPERS:
            if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
                text = text[len(opening) : -len(closing)].strip()
        text = text.rstrip(". ") if not text.endswith("\\.") else text
    if text.endswith("\\") and not text.endswith("\\\\"):  # of a space at the end
        text = text[:-1]
    text = THOUSANDS.sub(",", text)
    if "\\" in text or not text.isascii() or text[:1] == "=" or _SPECIAL.search(text):
        text = _DROPPED.sub(" ", text)
        for pattern, spelling in _SPELLINGS:
            text = pattern.sub(spelling, text)
    return _LISTED.sub(r" \1 ", text).strip().rstrip(",;")


def split_top(text: str, separators: Sequence[str]) -> list[str]:
    """Splits outside of brackets; brackets of different kinds may close each other, as in (1, 2]."""
    if not any(separator in text for separator in separators):
        return [text]
    parts, depth, start = [], 0, 0
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece in _OPENING:
            depth += 1
        elif piece in _CLOSING:
            depth -= 1
        elif depth == 0 and piece in separators:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def closing_at(text: str) -> int:
    """The end of the bracket that opens at the beginning of the text; -1 if there is none or it never closes."""
    depth = 0
    for match in _PIECE.finditer(text):
        piece = match[0]
        if match.start() == 0 and piece == "]":  # ]a, b[
            depth = 1
        elif piece in _OPENING and not (piece == "[" and depth == 1 and match.end() == len(text)):
            depth += 1
        elif piece in _CLOSING or (piece == "[" and match.end() == len(text)):
            depth -= 1
        if depth == 0:
            return match.end() if match.start() else -1
    return -1
