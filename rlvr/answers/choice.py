"""Multiple choice: which choice a text names, by letter, by text, or by both."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from rlvr.answers.normalise import normalise
from rlvr.answers.spelling import Reading, undress

_LETTER = re.compile(r"([(\[]?)\s*([A-Za-z])\s*[)\]]?\s*[.:]?")
_LEAD = re.compile(
    r"\A(?:the )?(?:(?:right|correct|final|best) )?(?:answer|option|choice)(?: is)?:? ?(?:(?:option|choice) )?(?=\S)",
    re.IGNORECASE,
)
_LABELLED = re.compile(  # a sign of the text is no separator: (C) -2, (D) .5
    r"(?:[(\[]\s*([A-Z])\s*[)\]]|([A-Z])(?=[).:,]|\s-\s))(?:[):]|[.,](?!\d)){0,2}(?:\s-(?=\s))?\s*(\S.*)", re.DOTALL
)
_BOTH = re.compile(r"(?:([A-Z])\s*\((.+)\)|(.+)\s\(([A-Z])\))", re.DOTALL)  # B (its text); its text (B)
_JOINING = {"and", "or", "both", "either", "option", "options", "choice", "choices"}
_WORDS = re.compile(r"[^\W_]+")


def _folded(text: str) -> str:
    """Case matters in symbols (Rr, mW), not in words: it is kept in texts without four letters in a row."""
    text = undress(text)
    return text.casefold() if re.search(r"[^\W\d_]{4}", text) else text


@lru_cache(maxsize=4096)
def _tables(choices: tuple[str, ...]) -> tuple[tuple[Callable[[str], str], Mapping[str, tuple[int, ...]]], ...]:
    """Indices of choices by their text, in three tables of rising tolerance, each with its way to read a text."""
    tables = []
    for reading in (lambda text: " ".join(text.split()), undress, _folded):
        table: dict[str, tuple[int, ...]] = {}
        for index, choice in enumerate(choices):
            key = reading(normalise(choice))
            table[key] = (*table.get(key, ()), index)
        table.pop("", None)
        tables.append((reading, table))
    return tuple(tables)


def _parts(text: str) -> tuple[str, str]:
    """Letter and text of an answer that names a choice by both; else two empty texts."""
    match = _LABELLED.fullmatch(text)
    if match:
        return match[1] or match[2], match[3]
    both = _BOTH.fullmatch(text)
    return (both[1] or both[4], both[2] or both[3]) if both else ("", "")


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices of a problem."""

    texts: tuple[str, ...]
    """Their texts in order; the first is A."""
    right: int
    """Index of the right choice."""

    def read(self, text: str, *, lead: bool = True) -> Reading:
        """Which choice a text names. A capital letter counts as a letter, even if it is also the text of a different choice."""
        body = undress(text)
        letter = _LETTER.fullmatch(body)
        index = ord(letter[2].upper()) - ord("A") if letter else -1
        if letter and letter[2].isupper() and index < len(self.texts):
            return self._chosen((index,))
        reading = self._by_text(text)
        if reading:
            return reading
        if letter and index < len(self.texts):
            return self._chosen((index,))
        if letter and (letter[1] or letter[2].isupper()):
            return Reading(letter[2], "no_such_choice", f"{letter[2]}: the last choice is {letter_of(len(self.texts) - 1)}")
        rest = _LEAD.sub("", body)
        return self.read(rest, lead=False) if lead and rest != body else self._letters(body)

    def _letters(self, body: str) -> Reading:
        """Reads `C. the text of C`; finds several letters (`ambiguous`); anything else is `unparsable`."""
        for each in (body, body.replace("**", "")):  # **C.** its text; but ** is also an operator
            letter, text = _parts(each)
            hits = self._hits(text)
            if hits:
                index = ord(letter) - ord("A")
                if index in hits:
                    return self._chosen((index,))
                return Reading(body, "ambiguous", f"the letter {letter_of(index)} with the text of {letter_of(hits[0])}")
        words = _WORDS.findall(body)
        letters = {word for word in words if len(word) == 1 and "A" <= word <= "Z"}
        if len(letters) > 1 and all(word in letters or word.lower() in _JOINING for word in words):
            return Reading(body, "ambiguous", f"several letters: {', '.join(sorted(letters))}")
        return Reading(body, "unparsable", "neither a letter nor the text of a choice")

    def _by_text(self, text: str) -> Reading | None:
        hits = self._hits(text)
        if len({undress(normalise(self.texts[hit])) for hit in hits}) > 1:
            return Reading(text, "ambiguous", f"the text of several choices: {', '.join(map(letter_of, hits))}")
        return self._chosen(hits) if hits else None

    def _hits(self, text: str) -> tuple[int, ...]:
        for reading, table in _tables(self.texts):
            key = reading(text)
            if key in table:
                return table[key]
        return ()

    def _chosen(self, hits: tuple[int, ...]) -> Reading:
        """The reading for a set of choices with the same text, which count as one choice."""
        if self.right in hits:
            return Reading(self.right, "correct", f"choice {letter_of(self.right)}")
        return Reading(hits[0], "wrong", f"choice {letter_of(hits[0])}, not {letter_of(self.right)}")


def letter_of(index: int) -> str:
    return chr(ord("A") + index)
