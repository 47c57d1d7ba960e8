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
from typing import Literal, NamedTuple

from rlvr.answers.fences import fences
from rlvr.answers.normalise import origin, plain
from rlvr.types import Span

Scope = Literal["response", "after_think"]
PLACES = ("fenced", "tag", "boxed", "whole")
"""Names of all places."""

_BOX_OR_BRACE = re.compile(r"\\f?box(?:ed)?\s*\{|\\.|[{}]", re.DOTALL)  # an escaped brace is not a brace
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
# To the end of the line or of the sentence, whichever comes first.
_LEAD = re.compile(r"\banswer(?:\s+is\b|\s*[:=])[ \t:=]*", re.IGNORECASE)
_PHRASE = re.compile(rf"{_LEAD.pattern}((?:[^\n.!?]|[.!?](?![\s*]|$))*)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])[+-]?\$?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?%?")


class Piece(NamedTuple):
    """A part of a text, and where it begins and ends there."""

    text: str
    start: int
    end: int

    @property
    def span(self) -> Span:
        return self.start, self.end


def cut(text: str, start: int, end: int, *, at: int = 0) -> Piece:
    """`text[start:end]` without white space around it. at: where `text` begins in the text that the piece is part of."""
    part = text[start:end]
    found = part.strip()
    start += at
    if len(found) < len(part):
        start += len(part) - len(part.lstrip())
    return Piece(found, start, start + len(found))


def after_think(response: str) -> str:
    """What follows the reasoning: the text after the last `</think>`, or all of it without one."""
    return response.rpartition("</think>")[2]


def answer_part(response: str) -> Piece:
    """The part of a response that can be the answer: no reasoning, and without an `<answer>` around all of it.

    Reasoning ends at the last `</think>`; what follows a `<think>` that is never closed is reasoning too.
    """
    part = cut(response, *_after_reasoning(response))
    if part.text.startswith("<answer>") and part.text.endswith("</answer>"):
        return cut(response, part.start + len("<answer>"), part.end - len("</answer>"))
    return part


def _after_reasoning(response: str) -> Span:
    behind = after_think(response)
    start = len(response) - len(behind)
    return start, start + len(behind.partition("<think>")[0])


def boxes(text: str) -> list[str]:
    """The contents of every outermost `\\boxed{...}` in order; braces balance, and a box that is never closed is ignored."""
    return [text[start:end] for start, end in _boxed(text)]


def _boxed(text: str) -> list[Span]:
    if "\\boxed" not in text and "\\fbox" not in text:
        return []
    spans: list[Span] = []
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
    return spans


def opened(piece: Piece) -> list[Piece]:
    """The contents of every outermost box in a piece, stripped, in order."""
    return [cut(piece.text, start, end, at=piece.start) for start, end in _boxed(piece.text)]


def last_box(piece: Piece) -> Piece | None:
    """The contents of the last box in a piece that is not blank, stripped; None without one."""
    filled = [box for box in opened(piece) if box.text]
    return filled[-1] if filled else None


def fenced(text: str, piece: Piece, label: str) -> Piece | None:
    """The contents of the last closed block with this label (in any case) in a piece of `text`, stripped; None without one.

    The indentation of its fence is removed from the contents.
    """
    start = len(text[: piece.start].rstrip())  # a fence at the beginning of the piece may be indented
    matching = [fence for fence in fences(text[start : piece.end]) if fence.closed and fence.label.lower() == label]
    if not matching:
        return None
    fence = matching[-1]
    written = cut(text, start + fence.start, start + fence.end)
    return Piece(fence.content.strip(), written.start, written.end)


def _tagged(text: str, tag: str, behind: int = 0) -> list[Span]:
    """The contents of every `<tag>...</tag>` in order; a block begins at the last opening tag before its closing one.

    behind: where the search begins, then where the last closing tag ends.
    """
    opening, closing = f"<{tag}>", f"</{tag}>"
    spans = []
    while (end := text.find(closing, behind)) >= 0:
        start = text.rfind(opening, behind, end)
        if start >= 0:
            spans.append((start + len(opening), end))
        behind = end + len(closing)
    return spans


def _phrases(text: str) -> list[Span]:
    spans = []
    for sentence in _PHRASE.finditer(text):
        # "Final Answer: The final answer is 5" has the phrase twice in one sentence.
        answer = _LEAD.split(sentence[1])[-1].lstrip(" *_")
        start = sentence.end() - len(answer)
        spans.append((start, start + len(answer.rstrip(" *_"))))
    return spans


_EXTRACTORS: dict[str, Callable[[str, str], Sequence[Span]]] = {
    "boxed": lambda text, tag: _boxed(text),
    "tag": _tagged,
    "hashes": lambda text, tag: [match.span(1) for match in _HASHES.finditer(text)],
    "phrase": lambda text, tag: _phrases(text),
    "number": lambda text, tag: [match.span() for match in _NUMBER.finditer(text)],
    "whole": lambda text, tag: [(len(text) - len(after_think(text)), len(text))],
}
EXTRACTORS = tuple(_EXTRACTORS)
"""Names of all extractors."""


class Found(NamedTuple):
    """What an extractor found."""

    source: str
    """The extractor's name."""
    last: Piece
    """The last that is not blank, as part of `normal`."""
    spans: Sequence[Span]
    """Of all, in `normal`, in order."""
    normal: str
    """The text that was searched, normalised (`rlvr.answers.normalise`)."""
    searched: str
    """The same as written."""
    at: int
    """Where it begins in the response."""

    def pieces(self) -> list[Piece]:
        """All that are not blank, in order, as `last`."""
        pieces = [cut(self.normal, start, end) for start, end in self.spans]
        return [piece for piece in pieces if piece.text]

    def place(self, piece: Piece) -> Span:
        """Where a part of `normal` stands in the response."""
        start, end = origin(self.searched, self.normal, piece.start, piece.end)
        return self.at + start, self.at + end


def find(response: str, order: Sequence[str], *, tag: str = "answer", scope: Scope = "response") -> Found | None:
    """What the first extractor of `order` that finds anything found, or None; `scope` is the text that is searched.

    The text is normalised before the search, because the characters of markers have look-alikes too.
    """
    searched = response if scope == "response" else after_think(response)
    normal = plain(searched)
    text = normal.rstrip()
    for name in order:
        spans = _EXTRACTORS[name](text, tag)
        for start, end in reversed(spans):
            last = cut(text, start, end)
            if last.text:
                return Found(name, last, spans, normal, searched, len(response) - len(searched))
    return None


def passage(response: str, order: Sequence[str], *, tag: str, language: str) -> Piece | None:
    """The first place of `order` that is there and not blank, after the reasoning, stripped; or None.

    `language`: the label of a fenced block ("" for a block without one).
    """
    for name in order:
        found = _in_place(name, response, tag, language)
        if found and found.text:
            return found
    return None


def _in_place(name: str, response: str, tag: str, language: str) -> Piece | None:
    if name == "tag":
        return _in_tag(response, tag, language)
    part = answer_part(response)
    if name == "fenced":
        return fenced(response, part, language)
    return part if name == "whole" else last_box(part)


def _in_tag(response: str, tag: str, language: str) -> Piece | None:
    start, end = _after_reasoning(response)
    tagged = _tagged(response[:end], tag, start)
    contents = [piece for piece in (cut(response, *span) for span in tagged) if piece.text]
    if not contents:
        return None
    block = fenced(response, contents[-1], language)
    if block and block.text:
        return block
    return last_box(contents[-1]) or contents[-1]
