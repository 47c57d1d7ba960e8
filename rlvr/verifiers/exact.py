"""Verifier of exact answers: one of several spellings, one of several choices, one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from rlvr.answers.choice import Choices, letter_of
from rlvr.answers.extract import EXTRACTORS, Scope, find, opened
from rlvr.answers.numbers import parse_number
from rlvr.answers.spelling import MAX_CHARS, Reading, normal_forms, read_spelling
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier, check_choices, not_found, settle_places


def _read_number(text: str, *, truth: object) -> Reading:
    value = parse_number(text)
    if value is None:
        return Reading(text, "unparsable", "not one number and nothing else")
    if value == truth:
        return Reading(value, "correct", f"{value} is {truth}"[:200])
    return Reading(value, "wrong", f"{value} is not {truth}"[:200])


def _spellings(truth: Mapping[str, Any]) -> tuple[str, ...]:
    if "answers" not in truth and "answer" not in truth:
        raise ValueError(f"the truth needs a list 'answers', or 'answer' (it has: {', '.join(truth) or 'none'})")
    if "answers" not in truth and isinstance(truth["answer"], list | tuple):
        raise ValueError("the truth's answer is a list: several spellings stand under 'answers'")
    answers = truth.get("answers", (truth.get("answer"),))
    if not isinstance(answers, list | tuple):
        raise ValueError(f"the truth's answers {str(answers)[:60]!r} must be a list of texts")
    return tuple(_text(each, "answers") for each in answers)


def _text(value: object, key: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"the truth's {key} hold {str(value)[:60]!r}, which is no text")
    return str(value)


def _choices(truth: Mapping[str, Any]) -> Choices:
    choices, answer = truth.get("choices"), truth.get("answer")
    if choices is None:
        raise ValueError(
            f"the truth needs 2 to 26 'choices' and the letter of the right one (it has: {', '.join(truth) or 'none'})"
        )
    if not isinstance(choices, list | tuple) or not 2 <= len(choices) <= 26:
        raise ValueError(f"the truth's choices {str(choices)[:60]!r} must be a list of 2 to 26 texts")
    last = letter_of(len(choices) - 1)
    if not isinstance(answer, str) or len(answer) != 1 or not "A" <= answer <= last:
        raise ValueError(f"the truth's answer {str(answer)[:60]!r} must be a letter from A to {last}")
    return Choices(tuple(_text(each, "choices") for each in choices), ord(answer) - ord("A"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactAnswer(Verifier):
    """Is the answer one of the accepted spellings, the right choice, or the right number, and nothing else?

    The whole answer must match: one that lists candidates matches none of them. Reasons: `no_answer`, `unparsable`, `wrong`,
    `ambiguous` (several letters, a letter with the text of a different choice, different answers with `which: unique`),
    `no_such_choice`, `correct`.
    """

    judges: ClassVar = "answer"

    kind: Literal["aliases", "choice", "number"]
    """`aliases`: spellings in `truth["answers"]`; `choice`: texts in `truth["choices"]`, the right letter in `truth["answer"]`;
    `number`: `truth["answer"]`."""
    extract: str | tuple[str, ...] = ("boxed", "tag")
    """Where the answer is: boxed, tag, hashes, phrase, number, whole; or several, of which the first that finds any counts."""
    scope: Scope = "after_think"
    """The text that is searched: after the last `</think>` (all of it without one), or the whole `response`."""
    which: Literal["last", "unique"] = "last"
    """Which of several answers counts; `unique`: several that differ are `ambiguous` and score 0."""
    tag: str = "answer"
    """The tag of the extractor `tag`."""
    fold_accents: bool = True
    """Aliases match without the accents of Latin letters: Beyonce is Beyonc\u00e9."""

    def __post_init__(self) -> None:
        check_choices(self)
        settle_places(self, EXTRACTORS)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        read = self.read_truth(problem.truth)
        if isinstance(read, str):
            return Verdict.unscorable("bad_truth", read)
        found = find(completion, self.extract, tag=self.tag, scope=self.scope)
        if found is None:
            return not_found(self.extract)
        answers = (inner for piece in reversed(found.pieces()) for inner in reversed(opened(piece) or [piece]) if inner.text)
        piece = next(answers, found.last)
        answer, span = piece.text[:200], found.place(piece)
        reading = _bounded(read, piece.text)
        others = [each.text for each in answers] if self.which == "unique" else []
        if any(_bounded(read, text).identity != reading.identity for text in set(others)):
            return Verdict.scored(0.0, "ambiguous", answer, f"{len(others) + 1} answers that differ", span=span)
        score = float(reading.reason == "correct")
        return Verdict.scored(score, reading.reason, answer, f"{found.source}: {reading.detail}", span=span)

    def _reader(self, truth: Mapping[str, Any]) -> Callable[[str], Reading]:
        """Errors: `ValueError` saying what is wrong with the truth."""
        if self.kind == "choice":
            return _choices(truth).read
        if self.kind == "number":
            value = parse_number(str(truth.get("answer")))
            if value is None:
                raise ValueError(f"the truth's answer {str(truth.get('answer'))[:60]!r} is not a number")
            return partial(_read_number, truth=value)
        forms = normal_forms(_spellings(truth), self.fold_accents)
        if not forms:
            raise ValueError(f"the truth has no answer of up to {MAX_CHARS} characters with a letter, digit or symbol in it")
        return partial(read_spelling, forms=forms, fold_accents=self.fold_accents)

    def applies(self, truth: Mapping[str, Any]) -> bool:
        """Each kind applies to its own key; an `answer` beside `choices` is their letter.

        `aliases` can read a single `answer`, but does not apply to it: a rule for `answer` would pay for it a second time.
        """
        if self.kind == "choice":
            return "choices" in truth
        return ("answers" if self.kind == "aliases" else "answer") in truth and "choices" not in truth

    def read_truth(self, truth: Mapping[str, Any]) -> Callable[[str], Reading] | str:
        """Reads an answer against the ground truth."""
        try:
            return self._reader(truth)
        except ValueError as error:
            return str(error)


def _bounded(read: Callable[[str], Reading], text: str) -> Reading:
    return read(text) if len(text) <= MAX_CHARS else Reading(text, "unparsable", f"longer than {MAX_CHARS} characters")
