"""Verifier of mathematical answers: found in a declared place, parsed, compared exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from rlvr.answers import symbolic
from rlvr.answers.compare import Matching, compare, distinct
from rlvr.answers.extract import EXTRACTORS, Scope, find
from rlvr.answers.nodes import Node, Quantity
from rlvr.answers.normalise import normalise
from rlvr.answers.numbers import parse_number
from rlvr.answers.polynomials import TooBig
from rlvr.answers.reading import chosen, is_choice, read
from rlvr.config.bounds import check_fields
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier, check_choices, no_key, not_found, settle_places

_SHOWN = 200  # longest answer quoted in a verdict, in characters
_LARGEST = 10**1000  # no real ground truth is larger, and Python refuses to write very long numbers
_UNIT_SIGNS = frozenset("%$\u20ac\u00a3\u00a5\u00b0")


@dataclass(frozen=True, slots=True, kw_only=True)
class MathAnswer(Verifier):
    """Does the answer mean the same as `truth["answer"]`?

    Compared in tiers, cheapest first; `detail` says which one decided: the same text; exact numbers (0.5 is 1/2, 9999 is not
    10000); structures (sets, tuples, intervals, unions, matrices, lists, equations, inequalities, words) whose entries are
    compared as exact canonical forms; different values in floating point; last sympy, in a worker process under a deadline.
    A response without an answer (`no_answer`), an answer that cannot be read (`unparsable`) and one that asks for absurdly
    large numbers (`too_big`) score 0, each with its own reason, so that a mismatch of prompt and extractor shows.
    """

    judges: ClassVar = "answer"

    extract: str | tuple[str, ...] = "boxed"
    """Where the answer is: boxed, tag, hashes (GSM8K's `####`), phrase ("the answer is"), number, whole (all after the
    reasoning); or several, of which the first that finds any counts."""
    scope: Scope = "after_think"
    """The text that is searched: after the last `</think>` (all of it without one), or the whole `response`."""
    which: Literal["last", "unique"] = "last"
    """Which of several answers counts; `unique`: several that differ are `ambiguous` and score 0."""
    tag: str = "answer"
    """Name of the tag for `extract: tag`."""
    units: Literal["drop", "strict"] = "drop"
    """`drop`: a missing unit is accepted, a different one is not; `strict`: the units must be equal, or both missing."""
    tolerance: float = 0.0
    """Accepted relative difference; 0: numbers compare exactly."""
    rounded: bool = True
    """A ground truth like 3.14 (two decimals or more, not a fraction with a small denominator) equals what rounds to it."""

    def __post_init__(self) -> None:
        settle_places(self, EXTRACTORS)
        check_choices(self)
        check_fields(self, "tolerance", at_least=0, below=1)

    def applies(self, truth: Mapping[str, Any]) -> bool:
        return "answer" in truth and "choices" not in truth

    def check_truth(self, truth: Mapping[str, Any]) -> str | None:
        answer = truth.get("answer")
        if answer is None:
            return no_key(truth, "answer")
        if isinstance(answer, bool) or not isinstance(answer, str | int | float):
            return f"the truth's answer is a {type(answer).__name__}: must be a text or a number"
        text = _text(answer)
        read_as = _truth(text)
        return f"the truth's answer {text[:60]!r} cannot be read: {read_as}" if isinstance(read_as, str) else None

    def prepare(self) -> None:
        import sympy  # noqa: F401  # pyright: ignore[reportUnusedImport]

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        return self._score(completion, problem, None)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        verdict = self._score(completion, problem, None) or self._score(completion, problem, symbolic.equal)
        assert verdict is not None
        return verdict

    def _score(self, completion: str, problem: Problem, decide: Any) -> Verdict | None:
        """None: only `decide`, a symbolic comparison, could tell."""
        wrong_truth = self.check_truth(problem.truth)
        if wrong_truth:
            return Verdict.unscorable("bad_truth", detail=wrong_truth)
        found = find(completion, self.extract, tag=self.tag, scope=self.scope)
        if found is None:
            return not_found(self.extract)
        text, span = found.last.text, found.place(found.last)
        answer = text[:_SHOWN]
        several = self.which == "unique" and len(found.spans) > 1
        different = distinct([piece.text for piece in found.pieces()]) if several else ()
        if len(different) > 1:
            shown = ", ".join(each[:20] for each in different[:4])
            detail = f"{found.source}: {len(different)} answers that differ: {shown}"
            return Verdict.scored(0.0, "ambiguous", answer, detail, span=span)
        decision, reason, detail = self._compare(truth=_text(problem.truth["answer"]), given=text, decide=decide)
        if decision is None:
            return None
        return Verdict.scored(float(decision), reason, answer, f"{found.source}: {detail}", span=span)

    def _compare(self, *, truth: str, given: str, decide: Any) -> tuple[bool | None, str, str]:
        """Decision (None: undecided), reason, detail."""
        if given == normalise(truth):
            return True, "correct", "the same text"
        node = _truth(truth)
        assert not isinstance(node, str)
        exact = node.form.rational if isinstance(node, Quantity) and not node.unit and not node.decimals else None
        if exact is not None and not self.tolerance and _UNIT_SIGNS.isdisjoint(given):
            value = parse_number(given)
            if value is not None:
                if value == exact:
                    return True, "correct", f"equal to {truth} as exact numbers"
                return False, "wrong", f"{given[:60]} is not {truth[:60]} as exact numbers"
        how = Matching(units=self.units, tolerance=self.tolerance, rounded=self.rounded, symbolic=decide)
        try:
            decision = compare(truth=node, given=read(chosen(given, letter=is_choice(node))), how=how)
        except TooBig as error:
            return False, "too_big", f"not computed: {error}"
        except (ValueError, ArithmeticError, RecursionError) as error:  # Unreadable is a ValueError
            return False, "unparsable", f"cannot be read: {error or type(error).__name__}"
        by = "by sympy" if decide else "in exact form" if decision else "in form or value"
        return decision, "correct" if decision else "wrong", f"{'equal to' if decision else 'not'} {truth[:60]}, {by}"


def _text(answer: str | int | float) -> str:
    if isinstance(answer, float):
        return repr(answer) if math.isfinite(answer) else ""
    return answer if isinstance(answer, str) else str(answer) if abs(answer) < _LARGEST else ""


@lru_cache(maxsize=65536)
def _truth(text: str) -> Node | str:
    """The ground truth as parsed, or why it cannot be read."""
    try:
        return read(normalise(text))
    except (ValueError, ArithmeticError, RecursionError) as error:
        return str(error) or type(error).__name__
