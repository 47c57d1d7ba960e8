"""Where the answer is in a response.

`find` looks for short answers (numbers, formulas, words) by *extractors*: in normalised text, and it returns all that it finds.
`passage` looks for programs, queries, proofs and actions in *places*: in the text as written, and it returns the last.

| name     | extractor (`find`)                                    | place (`passage`)                                        |
|----------|-------------------------------------------------------|----------------------------------------------------------|
| `boxed`  | every outermost `\\boxed{...}` or `\\fbox{...}`       | the last one                                             |
| `tag`    | every `<tag>...</tag>`                                | the last one; a block or a box inside is opened          |
| `whole`  | all after the reasoning                               | the same, without an `<answer>` around it                |
| `hashes` | what follows `####` on its line                       |                                                          |
| `phrase` | what follows "answer is" or "answer:", to the end of the line or sentence |                                      |
| `number` | every number                                          |                                                          |
| `fenced` |                                                       | the last closed Markdown block with the language's label |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlvr.answers.normalise import normalise

Scope = Literal["response", "after_think"]
SCOPES = ("response", "after_think")
PLACES = ("fenced", "tag", "boxed", "whole")
"""Names of all places."""

_BOX_OR_BRACE = re.compile(r"\\f?box(?:ed)?\s*\{|\\.|[{}]", re.DOTALL)  # an escaped brace is not a brace
_FENCE = re.compile(r"(`{3,})([^`]*)")
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
# To the end of the line or of the sentence, whichever comes first.
_LEAD = re.compile(r"\banswer(?:\s+is\b|\s*[:=])[ \t:=]*", re.IGNORECASE)
_PHRASE = re.compile(rf"{_LEAD.pattern}((?:[^\n.!?]|[.!?](?![\s*]|$))*)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])[+-]?\$?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?%?")


def after_think(response: str) -> str:
    """What follows the reasoning: the text after the last `</think>`, or all of it without one."""
    return response.rpartition("</think>")[2]


def answer_part(response: str) -> str:
    """The part of a response that can be the answer: no reasoning, and without an `<answer>` around all of it.

    Reasoning ends at the last `</think>`; what follows a `<think>` that is never closed is reasoning too.
    """
    text = _without_reasoning(response).strip()
    if text.startswith("<answer>") and text.endswith("</answer>"):
        return text.removeprefix("<answer>").removesuffix("</answer>").strip()
    return text


def _without_reasoning(response: str) -> str:
    return after_think(response).partition("<think>")[0]


def boxes(text: str) -> list[str]:
    """The contents of every outermost `\\boxed{...}` in order; braces balance, and a box that is never closed is ignored."""
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
    """The contents of every `<tag>...</tag>` in order; a block begins at the last opening tag before its closing one."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    found = []
    for piece in text.split(closing)[:-1]:
        _, opened, content = piece.rpartition(opening)
        if opened:
            found.append(content)
    return found


def last_fence(text: str, language: str) -> str | None:
    """The contents of the last closed Markdown block "```language" whose fences are on their own lines; None without one."""
    found, opened, wanted, lines = None, "", False, []
    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line.strip())
        if not opened and fence:
            opened, wanted, lines = fence[1], fence[2].strip().lower() == language, []
        elif opened and fence and len(fence[1]) >= len(opened) and not fence[2]:
            found, opened = ("\n".join(lines) if wanted else found), ""
        elif wanted:
            lines.append(line)
    return found


_EXTRACTORS: dict[str, Callable[[str, str], Sequence[str]]] = {
    "boxed": lambda text, tag: boxes(text),
    "tag": blocks,
    "hashes": lambda text, tag: _HASHES.findall(text),
    # "Final Answer: The final answer is 5" has the phrase twice in one sentence.
    "phrase": lambda text, tag: [_LEAD.split(match)[-1].strip(" *_") for match in _PHRASE.findall(text)],
    "number": lambda text, tag: _NUMBER.findall(text),
    "whole": lambda text, tag: [after_think(text).strip()],
}
EXTRACTORS = tuple(_EXTRACTORS)
"""Names of all extractors."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an extractor found."""

    source: str
    """The extractor's name."""
    texts: tuple[str, ...]
    """All texts, in order, none blank; normalised (`rlvr.answers.normalise`)."""


def find(response: str, order: Sequence[str], *, tag: str = "answer", scope: Scope = "response") -> Found | None:
    """What the first extractor of `order` that finds anything found, or None; `scope` is the text that is searched.

    The text is normalised before the search, because the characters of markers have look-alikes too.
    """
    text = normalise(response if scope == "response" else after_think(response))
    for name in order:
        texts = tuple(each for each in map(str.strip, _EXTRACTORS[name](text, tag)) if each)
        if texts:
            return Found(name, texts)
    return None


def passage(response: str, order: Sequence[str], *, tag: str, language: str) -> str | None:
    """The text of the first place of `order` that is there and not blank, after the reasoning; or None.

    `language`: the label of a fenced block ("" for a block without one).
    """
    for name in order:
        found = _in_place(name, response, tag, language)
        if found and found.strip():
            return found.strip()
    return None


def _in_place(name: str, response: str, tag: str, language: str) -> str | None:
    text = answer_part(response)
    if name == "fenced":
        return last_fence(text, language)
    if name == "whole":
        return text
    if name == "boxed":
        return _last(boxes(text))
    found = _last(blocks(_without_reasoning(response), tag))
    return found and (last_fence(found, language) or _last(boxes(found)) or found)


def _last(texts: Sequence[str]) -> str | None:
    return next((text for text in reversed(texts) if text.strip()), None)


def declared_order(extract: str | Sequence[str]) -> tuple[str, ...]:
    """`extract` of a rule pack, one extractor or several in order. Errors: `ValueError` for an unknown or missing name."""
    return declared_places(extract, EXTRACTORS)


def declared_places(extract: str | Sequence[str], allowed: Sequence[str] = PLACES) -> tuple[str, ...]:
    """`extract` of a rule pack, one place or several in order. Errors: `ValueError` for an unknown or missing name."""
    order = (extract,) if isinstance(extract, str) else tuple(extract)
    unknown = [name for name in order if name not in allowed]
    if unknown or not order:
        raise ValueError(f"extract={unknown[0] if unknown else '[]'}: must be one of {', '.join(allowed)}, or a list of them")
    return order
