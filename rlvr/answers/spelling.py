"""Spellings of an answer in words: one normal form for those that differ only in markup, case, articles or punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import NamedTuple

from rlvr.answers.normalise import normalise

MAX_CHARS = 2000
"""Longest answer that is read: Unicode's composition takes quadratic time over a long run of combining marks."""


class Reading(NamedTuple):
    """The meaning of an extracted text."""

    identity: Hashable
    """Equal for texts that mean the same."""
    reason: str
    """The verdict's."""
    detail: str
    """For a human."""


_DRESS = re.compile(r"\\(?:text(?:bf|it|rm|tt|sf)?|math(?:bf|it|rm|sf|tt)|emph|mbox|operatorname|boldsymbol)\s*\{([^{}]*)\}")
_SIZE = re.compile(r"\\(?:left|right|big|Big)(?=[()\[\]\s])")
_SPACE = re.compile(r"(?<!\\)\\[ ,;:!]")
_ESCAPED = re.compile(r"(?<!\\)\\([%$&#_{}])")
_PAIRS = (
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("**", "**"),
    ("__", "__"),
    ("*", "*"),
    ("`", "`"),
    ('"', '"'),
)


def undress(text: str) -> str:
    """The text without LaTeX text commands, maths delimiters and emphasis around the whole, and a final full stop."""
    text = _SPACE.sub(" ", _SIZE.sub("", text)).strip()
    for _ in range(4):
        before, text = text, _DRESS.sub(r"\1", text).strip()
        for opening, closing in _PAIRS:
            inside = text[len(opening) : len(text) - len(closing)]
            if inside.strip() and text.startswith(opening) and text.endswith(closing) and opening not in inside:
                text = inside.strip()
        text = re.sub(r"(?<!\.)\.\Z", "", text).strip()
        if text == before:
            break
    return " ".join(_ESCAPED.sub(r"\1", text).split())


_NUMBER = re.compile(
    r"(?:(?<![^\s(\[{$\u20ac\u00a3\u00a5])[-+])?"  # a hyphen between words or numbers is no sign
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d|,\d)|\d+)(?:\.\d+)*(?:/\d+)?|\.\d+)!?"
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}")
_MINUS_CURRENCY = re.compile(r"(?<![^\s(\[])-\s*([$\u20ac\u00a3\u00a5])\s*(?=[\d.])")
_MINUS = re.compile(r"\A-(?=[^\W\d_\s]|\u221e|\s*[-+])")  # before a word or another sign; `- 5` is a number too
_INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_]\.\s*)+(?:[^\W\d_](?!\w))?")
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])['\u2018\u2019\u00b4`](?=[^\W\d_])")
_ARTICLE = re.compile(r"(?<![^\s\"'(\[*_\u201c\u2018])(?:an?|the)\s+(?=\S)")  # not the last word: vitamin A
_LATIN = str.maketrans({"\u00f8": "o", "\u0142": "l", "\u0111": "d", "\u0131": "i", "\u00e6": "ae", "\u0153": "oe"})


def normal_form(text: str, *, fold_accents: bool) -> str:
    """The text without case, articles and punctuation; numbers and symbols are kept.

    After TriviaQA's evaluation script (Joshi et al. 2017), which however reads 3.5 as `3 5`, -5 as 5 and C++ as C.
    """
    text = unicodedata.normalize("NFC", undress(normalise(text)).casefold())
    if fold_accents:
        text = "".join(map(_without_accent, text.translate(_LATIN)))
    text = _LATEX_FRACTION.sub(r"\1/\2", text)
    text = re.sub(r"(?<=\d)\s*/\s*(?=\d)", "/", _MINUS_CURRENCY.sub(r"\1-", text))
    text = _INITIALS.sub(lambda match: re.sub(r"[.\s]", "", match[0]) + " ", text)
    text = _ARTICLE.sub("", _APOSTROPHE.sub("", text))
    text = re.sub(r"(?<![^\W\d_])#", " ", _MINUS.sub("\u2212", re.sub(r"\A-\s+(?=[\d.])", "-", text)))
    words, at = [], 0
    for match in _NUMBER.finditer(text):
        number = match[0].replace(",", "").removeprefix("+")
        words += ["".join(map(_shown, text[at : match.start()])), f"0{number}" if number.startswith(".") else number]
        at = match.end()
    return " ".join(" ".join([*words, "".join(map(_shown, text[at:]))]).split())


@lru_cache(maxsize=4096)
def _without_accent(char: str) -> str:
    if "\u0300" <= char <= "\u036f":
        return ""
    base = unicodedata.normalize("NFD", char)[0]
    return base if base.isascii() else char


@lru_cache(maxsize=4096)
def _shown(char: str) -> str:
    """The replacement of a character outside of numbers: itself, a separate word, or a space."""
    kind = unicodedata.category(char)
    if char == "&":
        return " and "
    if char in "%^#" or kind in ("Sc", "Sm") or (kind == "So" and char not in "\u00a9\u00ae"):
        return f" {char} "
    return " " if kind[0] in "PZCS" else char


@lru_cache(maxsize=4096)
def normal_forms(answers: tuple[str, ...], fold_accents: bool) -> Mapping[str, str]:
    """Answers by normal form, without those of punctuation only, which would all match each other."""
    short = [each for each in reversed(answers) if len(each) <= MAX_CHARS]
    forms = {normal_form(each, fold_accents=fold_accents): each for each in short}
    return {form: answer for form, answer in forms.items() if form}


def read_spelling(text: str, *, forms: Mapping[str, str], fold_accents: bool) -> Reading:
    """Whether a text is one of the spellings, as a reading."""
    form = normal_form(text, fold_accents=fold_accents)
    if form in forms:
        return Reading(True, "correct", f"the same as {forms[form][:80]!r}")
    if not form:
        return Reading(None, "unparsable", "nothing but punctuation")
    return Reading(form, "wrong", f"{form[:80]!r} is none of the {len(forms)} spellings")
