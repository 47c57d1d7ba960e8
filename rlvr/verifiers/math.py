"""Verifiers of mathematical answers: numbers and simple fractions, compared exactly."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

_BOX_OR_BRACE = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)  # an escaped brace is not a brace
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_THOUSANDS = re.compile(r"(?:\{,\}|,\\!|\\[,!])(?=\d{3}(?!\d))")  # how LaTeX separates them
_LATEX_FRACTION = re.compile(r"(-?)\\[dt]?frac\s*(?:\{\s*([^{}]+?)\s*\}|(\d))\s*(?:\{\s*([^{}]+?)\s*\}|(\d))")
_INTEGER = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_NUMBER = re.compile(rf"([+-]?)\s*({_INTEGER})?(?:\.(\d*))?")
# Unicode writes minus and fraction bars in several ways that NFKC leaves alone.
_LOOKALIKES = str.maketrans({"\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\ufe63": "-",
                             "\u2044": "/", "\u2215": "/"})  # fmt: skip
MAX_CHARS = 200
"""Longest answer that is parsed as a number: longer ones are text, so no input makes the arithmetic slow."""


def normalise(text: str) -> str:
    """NFKC, with look-alike digits, minus signs and fraction bars as ASCII and no white space at the ends.

    NFKC alone would read 10\u00b2 as 102 and 2\u00bd as 21/2: superscripts, subscripts and fractions are set apart first.
    """
    if text.isascii():
        return text.strip()
    # One by one: over a long run of combining marks NFKC takes quadratic time, and nothing here needs them composed.
    return "".join(unicodedata.normalize("NFKC", _spread(char)) for char in text).translate(_LOOKALIKES).strip()


def _spread(char: str) -> str:
    if char.isascii():
        return char
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    kind = unicodedata.decomposition(char).partition(" ")[0]
    return {"<super>": "^", "<sub>": "_", "<fraction>": " "}.get(kind, "") + char


def boxes(text: str) -> list[str]:
    """The contents of every outermost `\\boxed{...}` in order; braces balance, and a box that is never closed is not one."""
    spans: list[tuple[int, int]] = []
    opened: list[int | None] = []  # where the contents of an open box begin; None for any other open brace
    for match in _BOX_OR_BRACE.finditer(text):
        if match[0].startswith("\\boxed"):
            opened.append(match.end())
        elif match[0] == "{":
            opened.append(None)
        elif match[0] == "}" and opened:
            start = opened.pop()
            if start is not None:
                while spans and spans[-1][0] > start:  # boxes inside this one
                    spans.pop()
                spans.append((start, match.start()))
    return [text[start:end] for start, end in spans]


def parse_number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal or fraction, or None.

    Thousands separators, a currency sign, a percent sign (read as a unit), `\\frac`, LaTeX spacing and a final full stop
    are understood; anything else is not a number, so that `x=1=5`, `12 cm` or `3 4` never equal one.
    """
    text = normalise(text)
    if not text or len(text) > MAX_CHARS:
        return None
    text = _THOUSANDS.sub(",", text).replace("\\$", "$").replace("\\%", "%")
    text = text.removeprefix("\\(").removesuffix("\\)").strip("$ ").rstrip(".").rstrip("% ").strip()
    text = re.sub(r"^([+-]?)\s*\$\s*", r"\1", text)
    latex = _LATEX_FRACTION.fullmatch(text)
    if latex:
        sign, top, top_digit, bottom, bottom_digit = latex.groups()
        value = _divide(top or top_digit, bottom or bottom_digit)
        return -value if value is not None and sign else value
    if text.count("/") == 1:
        return _divide(*text.split("/"))
    return _decimal(text)


def _divide(top: str, bottom: str) -> Fraction | None:
    numerator, denominator = _decimal(top.strip()), _decimal(bottom.strip())
    return numerator / denominator if numerator is not None and denominator else None


def _decimal(text: str) -> Fraction | None:
    match = _NUMBER.fullmatch(text)
    if not match or not (match[2] or match[3]):
        return None
    sign, whole, decimals = match[1], (match[2] or "0").replace(",", ""), match[3] or ""
    value = Fraction(int(whole + decimals), 10 ** len(decimals))
    return -value if sign == "-" else value


def _identity(answer: str) -> Fraction | str:
    value = parse_number(answer)
    return answer.strip() if value is None else value


@dataclass(frozen=True, slots=True, kw_only=True)
class MathAnswer(Verifier):
    """Is the number given as the answer exactly the one in `truth["answer"]`?

    Rationals compare exactly: 0.5 is 1/2, 9999 is not 10000. A completion without an answer (`no_answer`) and one whose
    answer is no number (`unparsable`) score 0 under reasons of their own, so that a mismatch of prompt and extractor shows.
    """

    judges: ClassVar = "answer"

    extract: Literal["boxed", "hashes"] = "boxed"
    """Where the answer stands: in a LaTeX `\\boxed{}`, or behind `####` on a line (GSM8K)."""
    which: Literal["last", "unique"] = "last"
    """Which one counts where there are several; `unique`: several different ones are `ambiguous` and score 0."""

    def __post_init__(self) -> None:
        for key, allowed in (("extract", ("boxed", "hashes")), ("which", ("last", "unique"))):
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key}={getattr(self, key)}: must be one of {', '.join(allowed)}")

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        problem_with_truth = self.check_truth(problem.truth)
        if problem_with_truth:
            return Verdict.unscorable("bad_truth", detail=problem_with_truth)
        completion = normalise(completion)  # before looking for markers: their characters have look-alikes too
        found = [each for each in (boxes if self.extract == "boxed" else _HASHES.findall)(completion) if each.strip()]
        if not found:
            return Verdict.scored(0.0, "no_answer", detail=f"no {'box' if self.extract == 'boxed' else '####'} found")
        answer = normalise(found[-1])[:MAX_CHARS]
        if self.which == "unique" and len({_identity(each) for each in found}) > 1:
            return Verdict.scored(0.0, "ambiguous", answer, f"{len(found)} answers that differ")
        value, truth = parse_number(found[-1]), parse_number(str(problem.truth["answer"]))
        if value is None:
            return Verdict.scored(0.0, "unparsable", answer, "not a number or simple fraction")
        if value == truth:
            return Verdict.scored(1.0, "correct", answer, f"equal to {truth} as exact numbers")
        return Verdict.scored(0.0, "wrong", answer, f"{value} is not {truth}")

    def check_truth(self, truth: Mapping[str, Any]) -> str | None:
        if "answer" not in truth:
            return f"the truth has no key 'answer' (it has: {', '.join(truth) or 'none'})"
        if parse_number(str(truth["answer"])) is None:
            return f"the truth's answer {str(truth['answer'])[:60]!r} is not a number or simple fraction"
        return None
