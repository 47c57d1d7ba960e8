"""MathAnswer: what is found, what it is worth, and what must not be equal."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled import sampled

from rlvr import Problem
from rlvr.answers.normalise import normalise
from rlvr.verifiers.math import MathAnswer


def judge(text: str, truth: object, **options: str) -> tuple[float | None, str, str | None]:
    verdict = MathAnswer(**options)(text, Problem(id="p", prompt="q", truth={"answer": truth}))  # type: ignore[arg-type]
    return verdict.score, verdict.reason, verdict.answer


@pytest.mark.parametrize(
    ("text", "truth", "score", "reason"),
    [
        (r"so \boxed{72}", "72", 1.0, "correct"),
        (r"so \boxed{72.0}", "72", 1.0, "correct"),
        (r"so \boxed{0.5}", r"\frac{1}{2}", 1.0, "correct"),
        (r"so \boxed{3} no, \boxed{72}", 72, 1.0, "correct"),
        (r"so \boxed{72} no, \boxed{3}", "72", 0.0, "wrong"),
        (r"so 72", "72", 0.0, "no_answer"),
        (r"so \boxed{}", "72", 0.0, "no_answer"),
        (r"so \boxed{72 or 73}", "72", 0.0, "wrong"),
        (r"so \boxed{10000}", "9999", 0.0, "wrong"),
        (r"so \boxed{0.3333}", "1/3", 0.0, "wrong"),
        (r"so \boxed{998244352}", "998244353", 0.0, "wrong"),
        (r"so \boxed{35}", "3.5", 0.0, "wrong"),
        (r"so \boxed{5}", "-5", 0.0, "wrong"),
        (r"so \boxed{12}", "1/2", 0.0, "wrong"),
        (r"so \boxed{500}", "5", 0.0, "wrong"),
        (r"so \boxed{0}", "0.0", 1.0, "correct"),
        ("so \uff3cboxed\uff5b72\uff5d", "72", 1.0, "correct"),  # the marker in look-alikes too
    ],
)
def test_verdicts(text: str, truth: object, score: float, reason: str) -> None:
    assert judge(text, truth)[:2] == (score, reason)


def test_hashes_and_unique() -> None:
    assert judge("3 + 4\n#### 7", "7", extract="hashes") == (1.0, "correct", "7")
    assert judge("#### 6\n#### 7", "7", extract="hashes")[0] == 1.0
    assert judge("7", "7", extract="hashes")[1] == "no_answer"
    assert judge(r"\boxed{6} \boxed{7}", "7", which="unique")[1] == "ambiguous"
    assert judge(r"\boxed{7.0} then \boxed{7}", "7", which="unique")[1] == "correct"
    assert judge(r"\boxed{0} then \boxed{0.0}", "0", which="unique")[1] == "correct"


@pytest.mark.parametrize(
    "truth", [{}, {"answer": "\\frac{1}{"}, {"answer": ""}, {"answer": "x=1=2"}, {"answer": "9^{9^9}"}, {"answers": ["7"]}]
)
def test_a_truth_that_cannot_be_checked_is_unscorable_never_zero(truth: dict[str, object]) -> None:
    problem = Problem(id="p", prompt="q", truth=truth)
    verdict = MathAnswer()(r"\boxed{7}", problem)
    assert (verdict.outcome, verdict.score, verdict.reason) == ("unscorable", None, "bad_truth")
    assert MathAnswer().check_truth(problem.truth)


@given(st.fractions())
def test_a_number_equals_itself_in_every_form(value: Fraction) -> None:
    forms = [f"{value}", f"\\frac{{{value.numerator}}}{{{value.denominator}}}", f" {value}. ", f"${value}$"]
    assert all(judge(f"\\boxed{{{form}}}", str(value))[0] == 1.0 for form in forms)
    assert judge(f"\\boxed{{{value + 1}}}", str(value))[0] == 0.0


PIECES = st.sampled_from(
    ["\\boxed{", "{", "}", "\\frac", "\\", "$", ",", ".", "/", "-", "%", "####", "9", "\u00bd", "\u00b2", "\n"]
)


@given(st.lists(PIECES | st.text(max_size=4)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_twice(text: str) -> None:
    for options in ({}, {"extract": "hashes"}, {"which": "unique"}):
        first = judge(text, "7", **options)
        assert first[0] in (0.0, 1.0)
        assert first == judge(text, "7", **options)
        assert normalise(text) == normalise(normalise(text)) or not text.isascii()


PIECES_400K = ["\\boxed{", "{", "\\boxed{1}", "\\", "#### ", "1/", "9", "\\frac{1}", ",", "\u0315\u0300"]


@pytest.mark.parametrize("piece", sampled(PIECES_400K))
def test_long_hostile_text_takes_no_time(piece: str) -> None:
    """A quadratic scan of 400,000 characters would take minutes."""
    text = piece * (400_000 // len(piece))
    start = time.process_time()
    judge(text, "7")
    judge(f"\\boxed{{{text}}}", "7")
    judge(text, "7", extract="hashes", which="unique")
    assert time.process_time() - start < 10


NESTED = ["\\sin(" * 38 + "x" + ")" * 38, "((" * 15 + "x" + "+1)^{2})" * 15, "+".join(["(1+x)^{90}"] * 8), "2^" * 290 + "2"]


@pytest.mark.parametrize("text", [*NESTED, "\\sqrt" * 110 + "2", "3^{1000}" * 70, "\\binom{4000}{2000}" * 25, "(n!)!!!!!!"])
def test_a_small_formula_takes_neither_time_nor_memory(text: str) -> None:
    """The name of a nested function once doubled with every level: 38 of them were 30 GB."""
    start = time.process_time()
    problem = Problem(id="p", prompt="q", truth={"answer": "x+1"})
    MathAnswer().quick(f"\\boxed{{{text}}}", problem)
    MathAnswer().quick("\\boxed{7}", Problem(id="p", prompt="q", truth={"answer": text}))
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "answer", [True, (1, 2), {"a": 1}, float("nan"), float("inf"), pytest.param(10**5000, id="huge"), "\\ud800", "(" * 300]
)
def test_an_odd_truth_is_reported(answer: object) -> None:
    assert judge(r"\boxed{7}", answer)[1] == "bad_truth"


@pytest.mark.parametrize(("answer", "text"), [(7, "7"), (0.5, r"\frac12"), (1e-07, "10^{-7}"), (-3, "-3")])
def test_a_truth_may_be_a_number(answer: object, text: str) -> None:
    assert judge(f"\\boxed{{{text}}}", answer)[1] == "correct"


def test_one_answer_is_not_written_in_a_hundred_ways() -> None:
    boxes = " ".join(f"\\boxed{{7.{'0' * zeros}}}" for zeros in range(101))
    assert judge(boxes, "7", which="unique")[1] == "ambiguous"


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="extract=box: must be one of boxed, tag, hashes"):
        MathAnswer(extract="box")  # type: ignore[arg-type]
