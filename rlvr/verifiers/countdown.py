"""Verifier of the Countdown game: reach a target from given numbers."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from rlvr.answers.extract import EXTRACTORS, find, last_box
from rlvr.answers.numbers import parse_number
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier, no_key, not_found, settle_places

MAX_CHARS = 1000
"""Longest expression that is read."""
MAX_DEPTH = 50
"""Deepest nesting of brackets that is read."""

_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|(\\[dt]?frac(?![A-Za-z]))|([-+*/(){}]))")
_SPELLINGS = (
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])|[\u00d7\u00b7\u22c5\u2219]"), "*"),
    (re.compile(r"(?:(?<=\d)\s+|(?<=[)\]}])\s*)[xX]\s*(?=[\d(\[\\])"), "*"),  # 3 x 5, not 0x3
    (re.compile(r"\\div(?![A-Za-z])|\u00f7"), "/"),
    (re.compile(r"\\(?:left|right)(?=\s*[()\[\]])|\\[,;:! ]|\\[()\[\]]|\$"), " "),  # sizes, spaces, maths delimiters
    (re.compile(r"\["), "("),
    (re.compile(r"\]"), ")"),
)


_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


class _Unparsable(ValueError):
    """The text is not an expression of this game."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Countdown(Verifier):
    """Is the answer an expression of the given numbers whose value is the target?

    The ground truth is `{"numbers": [3, 5, 7], "target": 22}`. The answer is a sum, difference, product or quotient with
    brackets, as `3 * 5 + 7`, `(3 \\times 5) + 7` or `\\frac{3}{5}`, and may end in `= 22`, which must then be its value. It is
    parsed here and computed in exact fractions, never evaluated by Python. Numbers are tokens: 3 and 5 do not make 35. A minus
    is only a subtraction, and two adjacent numbers are not a product. Reasons: `no_answer`, `unparsable`, `wrong_numbers`,
    `division_by_zero`, `wrong`, `correct`. Source: the Countdown task of TinyZero (Pan et al. 2025).
    """

    judges: ClassVar = "answer"
    needs: ClassVar = ("numbers", "target")

    extract: str | tuple[str, ...] = ("tag", "boxed")
    """Where the expression is, after the reasoning: extractors of `rlvr.answers.extract`, tried in order; the last text found
    counts."""
    tag: str = "answer"
    """Name of the tag for the extractor `tag`; a box in it is opened."""
    use_all: bool = True
    """Each number exactly once; false: at most once."""

    def __post_init__(self) -> None:
        settle_places(self, EXTRACTORS)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        truth = self.read_truth(problem.truth)
        if isinstance(truth, str):
            return Verdict.unscorable("bad_truth", truth)
        given, target = truth
        found = find(completion, self.extract, tag=self.tag, scope="after_think")
        if found is None:
            return not_found(self.extract)
        piece = last_box(found.last) or found.last
        reason, detail = self._check(piece.text, given, target)
        return Verdict.scored(float(reason == "correct"), reason, piece.text[:200], detail, span=found.place(piece))

    def _check(self, text: str, given: Sequence[Fraction], target: Fraction) -> tuple[str, str]:
        """Reason and detail."""
        try:
            expression, stated = _split(text)
            steps = _Parser(expression).steps
        except _Unparsable as error:
            return "unparsable", str(error)
        used = Counter(step for step in steps if isinstance(step, Fraction))
        allowed = Counter(given)
        if used != allowed and (self.use_all or used - allowed):
            return "wrong_numbers", f"used {_listed(used)}, given {_listed(allowed)}"
        value = _value(steps)
        if value is None:
            return "division_by_zero", "a division by zero"
        if stated is not None and stated != value:
            return "wrong", f"the value is {_short(value)}, not {_short(stated)} as stated"
        return "correct" if value == target else "wrong", f"the value is {_short(value)}, the target {target}"

    def read_truth(self, truth: Mapping[str, Any]) -> tuple[list[Fraction], Fraction] | str:
        """Numbers and target."""
        for key in self.needs:
            if key not in truth:
                return no_key(truth, key)
        numbers = truth["numbers"]
        if not isinstance(numbers, tuple | list) or not numbers:
            return f"the truth's numbers {str(numbers)[:60]!r} are no list of numbers"
        given = []
        for number in numbers:
            value = _number(number)
            if value is None or value < 0:  # an expression of this game cannot contain a negative number
                return f"the truth's numbers hold {str(number)[:60]!r}, which is no number from 0"
            given.append(value)
        target = _number(truth["target"])
        return f"the truth's target {str(truth['target'])[:60]!r} is not a number" if target is None else (given, target)


def _number(value: Any) -> Fraction | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return parse_number(str(value))


def _short(value: Fraction) -> str:
    return str(value) if value.numerator.bit_length() + value.denominator.bit_length() < 200 else "a very large fraction"


def _listed(numbers: Counter[Fraction]) -> str:
    return ", ".join(str(each)[:20] for each in list(numbers.elements())[:12])


def _split(text: str) -> tuple[str, Fraction | None]:
    """The expression, and the value stated by an `= 22` at its end. Errors: `_Unparsable`."""
    if len(text) > MAX_CHARS:
        raise _Unparsable(f"longer than {MAX_CHARS} characters")
    for spelling, plain in _SPELLINGS:
        text = spelling.sub(plain, text)
    expression, equals, right = text.strip().removesuffix(".").partition("=")
    stated = parse_number(right) if equals else None
    if equals and stated is None:
        raise _Unparsable(f"no single number behind the equals sign: {right.strip()[:60]!r}")
    return expression.strip(), stated


class _Parser:
    """Recursive descent: sum = product (+|- product)*, product = atom (*|/ atom)*, atom = number | (sum) | \\frac{sum}{sum}."""

    def __init__(self, text: str) -> None:
        """Errors: `_Unparsable`."""
        self.tokens = self._read(text)
        self.at = 0
        self.steps: list[Fraction | str] = []
        """Numbers and operators in postfix order."""
        self._sum(0)
        if self.at < len(self.tokens):
            raise _Unparsable(f"{self.tokens[self.at]!r} is out of place")

    @staticmethod
    def _read(text: str) -> list[str]:
        tokens, at = [], 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if not match:
                raise _Unparsable(f"cannot read {text[at : at + 20].strip()!r}")
            tokens.append("frac" if match[2] else match[1] or match[3])
            at = match.end()
        return tokens

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _expect(self, token: str) -> None:
        if self._peek() != token:
            raise _Unparsable(f"{token!r} expected, not {self._peek() or 'the end'!r}")
        self.at += 1

    def _sum(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _Unparsable(f"more than {MAX_DEPTH} brackets inside one another")
        self._product(depth)
        while self._peek() in ("+", "-"):
            sign = self._take()
            self._product(depth)
            self.steps.append(sign)

    def _product(self, depth: int) -> None:
        self._atom(depth)
        while self._peek() in ("*", "/"):
            sign = self._take()
            self._atom(depth)
            self.steps.append(sign)

    def _atom(self, depth: int) -> None:
        token = self._take()
        if token[:1].isdigit():
            self.steps.append(Fraction(token))
        elif token == "(":
            self._sum(depth + 1)
            self._expect(")")
        elif token == "frac":
            for _ in range(2):
                self._expect("{")
                self._sum(depth + 1)
                self._expect("}")
            self.steps.append("/")
        else:
            raise _Unparsable(f"a number or a bracket expected, not {token or 'the end'!r}")

    def _take(self) -> str:
        token = self._peek()
        self.at += 1
        return token


def _value(steps: Sequence[Fraction | str]) -> Fraction | None:
    """The value of steps in postfix order; None for a division by zero."""
    stack: list[Fraction] = []
    for step in steps:
        if isinstance(step, Fraction):
            stack.append(step)
            continue
        right, left = stack.pop(), stack.pop()
        if step == "/" and not right:
            return None
        stack.append(_OPERATORS[step](left, right))
    return stack[0]
