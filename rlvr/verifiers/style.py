"""Verifiers of style, against gaming the rules for form and answer: length, repetition, one answer, forbidden text."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from rlvr.answers.compare import same_answer
from rlvr.answers.extract import EXTRACTORS, find
from rlvr.answers.normalise import Translation
from rlvr.config.bounds import check_fields
from rlvr.types import Problem, Span, Verdict
from rlvr.verifiers.base import Verifier, check_choices, no_key, not_found, settle_places
from rlvr.verifiers.format import visible_text

_TAG = re.compile(r"</?(?:think|answer)>")
_ANSWER = re.compile(r"<answer>|\\boxed|####")
# Unicode's Default_Ignorable_Code_Point beyond the category Cf: joiners, fillers and variation selectors show nothing.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_SPACE = re.compile(r"\s+")
# Thai, Lao, Burmese, Khmer, Japanese and Chinese are written without spaces between words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningLength(Verifier):
    """Is there enough reasoning, and not too much?

    Counted in fresh characters: visible ones (no white space, nothing invisible) that end a sequence of three not seen before
    in the reasoning, ignoring case. Ordinary text is almost all fresh at first; a row of dots has one fresh character, and a
    word repeated a thousand times has about as many as it has letters, so filler earns nothing. The score rises linearly from
    0 to 1 at `min_chars`, and never falls when text is added, unless `max_chars` is set.
    """

    min_chars: int = 24
    """Fresh characters for the full score; every reference solution of GSM8K has more than 24."""
    max_chars: int | None = None
    """Visible characters above which the score falls, to 0 at twice as many; None: no limit."""
    scope: Literal["think", "before_answer", "response"] = "think"
    """What counts as reasoning: the first think block; all before the first `<answer>`, box or `####`; or the whole response.
    Tags are never counted."""

    def __post_init__(self) -> None:
        check_fields(self, "min_chars", at_least=1)
        if self.max_chars is not None and self.max_chars < self.min_chars:
            raise ValueError(f"max_chars={self.max_chars}: must be at least min_chars ({self.min_chars}), or null")
        check_choices(self)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        reasoning = self._reasoning(completion)
        if reasoning is None:
            return Verdict.scored(0.0, "no_think", detail="no </think> found")
        shown = visible_text(_TAG.sub("", reasoning))
        folded = shown.casefold()
        fresh = len({folded[at : at + 3] for at in range(len(folded) - 2)})
        detail = f"{fresh} fresh of {len(shown)} visible characters of reasoning, {self.min_chars} asked"
        if fresh < self.min_chars:
            return Verdict.scored(fresh / self.min_chars, "short", detail=detail)
        if self.max_chars is not None and len(shown) > self.max_chars:
            score = max(0.0, 2.0 - len(shown) / self.max_chars)
            return Verdict.scored(score, "long", detail=f"{detail}, at most {self.max_chars}")
        return Verdict.scored(1.0, "correct", detail=detail)

    def _reasoning(self, response: str) -> str | None:
        if self.scope == "response":
            return response
        if self.scope == "before_answer":
            return _ANSWER.split(response, maxsplit=1)[0]
        head, closed, _ = response.partition("</think>")
        if not closed:
            return None
        _, opened, inside = head.partition("<think>")
        return inside if opened else head


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition(Verifier):
    """How much of the response repeats itself?

    Counted in character n-grams, which catch a repeated digit, box, phrase or line alike: the repeated share is the share of
    n-grams that occurred before. Full score up to `allowed`, falling linearly to 0 at `worst`. A response shorter than `n`
    repeats nothing. Of the reference solutions of GSM8K, MATH-500 and AIME 2024 the highest share is 0.54; a box repeated ten
    times has 0.87.
    """

    n: int = 20
    """Length of an n-gram, in characters (about four English words)."""
    allowed: float = 0.6
    """Largest repeated share with the full score."""
    worst: float = 0.9
    """Smallest repeated share with a score of 0."""

    def __post_init__(self) -> None:
        check_fields(self, "n", at_least=2)
        check_fields(self, "allowed", at_least=0, below=1)
        if not self.allowed < self.worst <= 1.0:
            raise ValueError(f"worst={self.worst}: must lie above allowed ({self.allowed}) and not above 1")

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        # In a text of millions of characters only every second, third, ... n-gram: the set of all would not fit in memory.
        starts = range(0, len(completion) - self.n + 1, 1 + len(completion) // 1_000_000)
        distinct = len({completion[at : at + self.n] for at in starts})
        share = 1.0 - distinct / len(starts) if starts else 0.0
        detail = f"{share:.0%} of the sequences of {self.n} characters are repeated, {self.allowed:.0%} allowed"
        if share <= self.allowed:
            return Verdict.scored(1.0, "correct", detail=detail)
        return Verdict.scored(max(0.0, (self.worst - share) / (self.worst - self.allowed)), "repetitive", detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlong(Verifier):
    """DAPO's soft overlong punishment as a score: full up to `max_chars - buffer_chars`, falling linearly to 0 at `max_chars`.

    Source: DAPO (arXiv:2503.14476), equation 13, plus 1: the penalty from -1 to 0 becomes a score from 0 to 1, which makes no
    difference within a group. Counted in characters, not tokens, so that a verdict can be recomputed from the text alone,
    without the tokenizer.
    """

    max_chars: int = 4096
    """Length of the response at which the score is 0, in characters, white space included (about 4 to a token of English)."""
    buffer_chars: int = 1024
    """How far below `max_chars` the score begins to fall, in characters."""

    def __post_init__(self) -> None:
        check_fields(self, "max_chars", at_least=1)
        if not 1 <= self.buffer_chars <= self.max_chars:
            raise ValueError(f"buffer_chars={self.buffer_chars}: must lie between 1 and max_chars ({self.max_chars})")

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        n = len(completion)
        score = min(1.0, max(0.0, (self.max_chars - n) / self.buffer_chars))
        return Verdict.scored(score, "correct" if score == 1.0 else "overlong", detail=f"{n} characters of {self.max_chars}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueAnswer(Verifier):
    """Does the response commit to one answer?

    Full score when the answers that `extract` finds are all the same (as `rlvr.answers.compare` sees it: 0.5 is 1/2) and not
    more than `max_copies`; else 0: `no_answer`, `ambiguous` (several different), `repeated`.
    """

    extract: str | tuple[str, ...] = "boxed"
    """Where answers are: an extractor of `rlvr.answers.extract`, or several, of which the first that finds any counts."""
    tag: str = "answer"
    """Name of the tag for the extractor `tag`."""
    max_copies: int = 2
    """How often the answer may be stated: once at the end of the reasoning and once as the answer."""

    def __post_init__(self) -> None:
        settle_places(self, EXTRACTORS)
        check_fields(self, "max_copies", at_least=1)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        found = find(completion, self.extract, tag=self.tag)
        if found is None:
            return not_found(self.extract)
        texts = [piece.text for piece in found.pieces()]
        first, *others = dict.fromkeys(texts)
        answer, span = found.last.text[:200], found.place(found.last)
        # More spellings than max_copies score 0 either way, so only a few need to be compared.
        differ = next((each for each in islice(others, self.max_copies + 1) if not same_answer(first, each)), None)
        if differ is not None:
            return Verdict.scored(0.0, "ambiguous", answer, f"{first[:60]!r} and {differ[:60]!r}", span=span)
        copies = f"{found.source}: stated {len(texts)} times"
        if len(texts) > self.max_copies:
            return Verdict.scored(0.0, "repeated", answer, f"{copies}, {self.max_copies} allowed", span=span)
        return Verdict.scored(1.0, "correct", answer, f"{copies} of at most {self.max_copies}", span=span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbidden(Verifier):
    """Does the response avoid some texts? 1 if it does, else 0 with the reason `forbidden` and the text that was found.

    `phrases` are the user's. `truth_keys` name keys of the ground truth whose texts (hidden tests, say) must not be copied: any
    line of them with at least `min_line_chars` characters, ignoring white space. Compatibility forms (NFKD: full-width and
    mathematical letters), zero-width characters and runs of white space make no difference; look-alike letters of other
    alphabets do (the verifier `Language` detects those).
    """

    phrases: tuple[str, ...] = ()
    """Forbidden phrases."""
    truth_keys: tuple[str, ...] = ()
    """Keys of the ground truth whose lines must not be copied."""
    fold_case: bool = True
    """Whether case is ignored (in phrases; lines of the ground truth are compared with their case)."""
    whole_words: bool = True
    """Whether a phrase counts only where it is not part of a longer word."""
    min_line_chars: int = 12
    """Shortest line of the ground truth that counts, in characters without white space; shorter ones occur by chance."""

    def __post_init__(self) -> None:
        for key in ("phrases", "truth_keys"):
            if isinstance(getattr(self, key), str):
                raise ValueError(f"{key}={getattr(self, key)!r}: must be a list")
        if not self.phrases and not self.truth_keys:
            raise ValueError("phrases=[]: must name at least one phrase, or truth_keys a key")
        for phrase in self.phrases:
            if not _plain(phrase).strip():
                raise ValueError(f"phrases={phrase!r}: must hold a visible character")
        check_fields(self, "min_line_chars", at_least=1)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        bad = self.check_truth(problem.truth)
        if bad:
            return Verdict.unscorable("bad_truth", bad)
        text = _plain(completion)
        spoken = self._spoken(text)
        for phrase in self.phrases:
            said = self._spoken(_plain(phrase))
            at = _said_at(spoken, said, self.whole_words)
            if at >= 0:
                before, n = len(_SPACE.sub("", spoken[:at])), len(_SPACE.sub("", said))
                span = _written_at(completion, before, n, fold_case=self.fold_case)
                return Verdict.scored(0.0, "forbidden", phrase[:200], f"the phrase {phrase[:60]!r}", span=span)
        squeezed = _SPACE.sub("", text) if self.truth_keys else ""
        for key in self.truth_keys:
            for line in _texts(problem.truth[key]):
                needle = _SPACE.sub("", _plain(line))
                if len(needle) >= self.min_line_chars and needle in squeezed:
                    span = _written_at(completion, squeezed.find(needle), len(needle), fold_case=False)
                    return Verdict.scored(0.0, "forbidden", line.strip()[:200], f"a line of the truth's {key}", span=span)
        return Verdict.scored(1.0, "correct")

    def _spoken(self, text: str) -> str:
        return _SPACE.sub(" ", _folded(text, self.fold_case)).strip()

    def applies(self, truth: Mapping[str, Any]) -> bool:
        return all(key in truth for key in self.truth_keys)

    def check_truth(self, truth: Mapping[str, Any]) -> str | None:
        for key in self.truth_keys:
            if key not in truth:
                return no_key(truth, key)
            if not any(map(str.strip, _texts(truth[key]))):
                return f"the truth's {key} holds no text"
        return None


def _plain(text: str) -> str:
    """One spelling for what looks the same. Character by character: on a long run of marks NFKD takes quadratic time."""
    return text.translate(_PLAIN)


def _plain_char(char: str) -> str:
    if "\t" <= char <= "\r":
        return char
    if unicodedata.category(char) in ("Cc", "Cf") or _INVISIBLE.match(char):
        return ""
    return unicodedata.normalize("NFKD", char)


_PLAIN = Translation(_plain_char)


def _folded(text: str, fold_case: bool) -> str:
    return text.casefold() if fold_case else text


def _written_at(text: str, before: int, n: int, *, fold_case: bool) -> Span:
    """Where in `text` the `n` characters stand that follow the first `before`; counted in one spelling, without white space."""

    def count(end: int) -> int:
        return len(_SPACE.sub("", _folded(_plain(text[:end]), fold_case)))

    ends = range(len(text) + 1)
    return bisect_right(ends, before, key=count) - 1, bisect_left(ends, before + n, key=count)


def _said_at(text: str, phrase: str, whole_words: bool) -> int:
    """Where a text says the phrase; -1: nowhere."""
    at = text.find(phrase)
    while at >= 0 and whole_words:
        end = at + len(phrase)
        if not _one_word(phrase[0], text[max(0, at - 1) : at]) and not _one_word(phrase[-1], text[end : end + 1]):
            break
        at = text.find(phrase, at + 1)
    return at


def _one_word(edge: str, beside: str) -> bool:
    """Whether the first or last character of a phrase is part of a longer word. A `_` never is: `test_` is a prefix."""
    return edge.isalnum() and (beside.isalnum() or beside == "_") and not _UNSPACED.match(edge)


def _texts(value: Any) -> Iterator[str]:
    """The lines of every text in a value of the ground truth, at any depth."""
    if isinstance(value, str):
        yield from value.splitlines()
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _texts(each)
