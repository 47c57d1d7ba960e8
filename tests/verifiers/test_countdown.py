"""Countdown: which expressions count, and the reasons of the others."""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr import Problem, load_rules
from rlvr.verifiers.countdown import Countdown

TRUTH = {"numbers": [3, 5, 7], "target": 22}


def judge(text: str, truth: Mapping[str, object] = TRUTH, **options: object) -> tuple[float | None, str]:
    verdict = Countdown(**options)(text, Problem(id="p", prompt="q", truth=truth))  # type: ignore[arg-type]
    return verdict.score, verdict.reason


@pytest.mark.parametrize(
    "expression",
    [
        "3 * 5 + 7",
        "7+3*5",
        "(3*5)+7",
        "((7) + ((5*3)))",
        "[3*5]+7",
        "3 \u00d7 5 + 7",
        "3 \u22c5 5 + 7",
        "3 \u2217 5 + 7",
        r"3 \times 5 + 7",
        r"3 \cdot 5 + 7",
        r"\left(3 \times 5\right) + 7",
        r"$3 \cdot 5 + 7$",
        r"\(3*5 + 7\)",
        r"\[3*5 + 7\]",
        r"3\,\times\,5 + 7",
        "3 * 5 + 7 = 22",
        "3 * 5 + 7 = 22.",
        "3 * 5 + 7.",
        "3 * 5 + 7 = 44/2",
        "\uff13 * \uff15 + \uff17",  # full-width digits
        "03 * 5.0 + 7",
        "3\n*\n5\n+\n7",
        r"\boxed{3 * 5 + 7}",
        r"\boxed{1} no, \boxed{3*5+7}",
    ],
)
def test_right(expression: str) -> None:
    assert judge(f"<think>so</think><answer>{expression}</answer>") == (1.0, "correct")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("3 + 5 + 7", "wrong"),
        ("3 * 5 + 7 = 23", "wrong"),  # what it states is not its value
        ("3 + 5 + 7 = 22", "wrong"),
        ("7 - 3 - 5", "wrong"),
        ("22", "wrong_numbers"),
        ("3 * 5", "wrong_numbers"),
        ("3 * 5 + 7 + 7 - 7", "wrong_numbers"),
        ("3 * 5 + 7 * 1", "wrong_numbers"),
        ("15 + 7", "wrong_numbers"),
        ("35 - 7", "wrong_numbers"),  # digits do not join
        ("3.5 + 7", "wrong_numbers"),
        ("3 / (5 - 5) + 7", "wrong_numbers"),
        ("3 5 + 7", "unparsable"),
        ("3(5) + 7", "unparsable"),
        ("-3 + 5 * 7", "unparsable"),
        ("3 * +5 + 7", "unparsable"),
        ("3 * (-5) + 7", "unparsable"),
        ("3 ** 5 + 7", "unparsable"),
        ("3 // 5 + 7", "unparsable"),
        ("3 ^ 5 + 7", "unparsable"),
        ("3\u00b2 + 5 + 7", "unparsable"),
        ("3! + 5 + 7", "unparsable"),
        ("(3 * 5 + 7", "unparsable"),
        ("3 * 5) + 7", "unparsable"),
        ("3 * 5 + 7 +", "unparsable"),
        ("3 * 5 + + 7", "unparsable"),
        ("()", "unparsable"),
        ("{3} * 5 + 7", "unparsable"),
        ("3 * 5 + 7 = 22 = 22", "unparsable"),
        ("22 = 3 * 5 + 7", "unparsable"),
        ("3 * 5 + 7 = x", "unparsable"),
        ("3 * 5 + 7 =", "unparsable"),
        ("= 22", "unparsable"),
        ("3 * 5 + 7 and done", "unparsable"),
        ("3e0 * 5 + 7", "unparsable"),
        ("0x3 * 5 + 7", "unparsable"),
        ("1_0 + 5 + 7", "unparsable"),
        ("__import__('os').getpid()", "unparsable"),
        ("[3*5+7 for x in (1,)]", "unparsable"),
        (r"\frac{3}{5", "unparsable"),
        (r"\frac35 + 7", "unparsable"),
        (r"\fractal{3}{5} + 7", "unparsable"),
        ("(" * 60 + "3" + ")" * 60, "unparsable"),
        ("9" * 5000, "unparsable"),
    ],
)
def test_not_right(expression: str, reason: str) -> None:
    assert judge(f"<answer>{expression}</answer>") == (0.0, reason)


@pytest.mark.parametrize(
    ("expression", "numbers", "target", "reason"),
    [
        (r"\frac{8}{2}", [8, 2], 4, "correct"),
        (r"\dfrac{8 + 4}{\frac{6}{2}}", [8, 4, 6, 2], 4, "correct"),
        (r"8 \div 2", [2, 8], 4, "correct"),
        ("8 \u00f7 2", [2, 8], 4, "correct"),
        ("8 \u2044 2", [2, 8], 4, "correct"),
        ("8 / (3 - 8 / 3)", [8, 3, 8, 3], 24, "correct"),  # exact fractions on the way
        ("8 / 3", [8, 3], "8/3", "correct"),
        ("8 / 3 = 8/3", [8, 3], "8/3", "correct"),
        ("8 / 3 = 2.67", [8, 3], "8/3", "wrong"),
        ("3 \u2212 5", [3, 5], -2, "correct"),
        ("3 - 5 = -2", [3, 5], -2, "correct"),
        ("9 - 4 - 3", [9, 4, 3], 2, "correct"),  # from the left
        ("9 - 4 - 3", [9, 4, 3], 8, "wrong"),
        ("24 / 4 / 2", [24, 4, 2], 3, "correct"),
        ("2.5 * 4", [2.5, 4], 10, "correct"),
        ("3 / (5 - 5)", [3, 5, 5], 0, "division_by_zero"),
        (r"\frac{3}{5 - 5}", [3, 5, 5], 0, "division_by_zero"),
        ("0 / 0", [0, 0], 0, "division_by_zero"),
        ("5 + 5", [5, 7], 10, "wrong_numbers"),
        ("5 + 5", [5, 5], 10, "correct"),
        ("7", [7], 7, "correct"),
        ("999999999999999999 + 1", [999999999999999999, 1], 10**18, "correct"),
        ("999999999999999998 + 1", [999999999999999998, 1], 10**18, "wrong"),
    ],
)
def test_other_numbers(expression: str, numbers: list[object], target: object, reason: str) -> None:
    assert judge(f"<answer>{expression}</answer>", {"numbers": numbers, "target": target})[1] == reason


def test_at_most_once() -> None:
    truth = {"numbers": [3, 5, 7], "target": 15}
    assert judge("<answer>3 * 5</answer>", truth) == (0.0, "wrong_numbers")
    assert judge("<answer>3 * 5</answer>", truth, use_all=False) == (1.0, "correct")
    assert judge("<answer>5 + 5 + 5</answer>", truth, use_all=False) == (0.0, "wrong_numbers")


def test_where_the_expression_is() -> None:
    assert judge(r"so \boxed{3*5+7}") == (1.0, "correct")
    assert judge("so 3*5+7") == (0.0, "no_answer")
    assert judge("") == (0.0, "no_answer")
    assert judge(r"<answer>3+5+7</answer> or \boxed{3*5+7}") == (0.0, "wrong")  # the tag comes first
    assert judge("<answer>3+5+7</answer><answer>3*5+7</answer>") == (1.0, "correct")  # the last counts
    assert judge("<answer>3+5+7</answer><out>3*5+7</out>", tag="out") == (1.0, "correct")
    assert judge("3*5+7", extract="whole") == (1.0, "correct")
    assert judge(r"<think>\boxed{3*5+7}</think>so it is") == (0.0, "no_answer")  # reasoning is no answer
    with pytest.raises(ValueError, match="tag='<a>': must be the name of a tag"):
        Countdown(tag="<a>")
    with pytest.raises(ValueError, match="extract=box: must be one of boxed, tag"):
        Countdown(extract="box")


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        ({}, "no key 'numbers'"),
        ({"numbers": [3]}, "no key 'target'"),
        ({"target": 3}, "no key 'numbers'"),
        ({"numbers": [], "target": 3}, "no list of numbers"),
        ({"numbers": "3 5", "target": 3}, "no list of numbers"),
        ({"numbers": 3, "target": 3}, "no list of numbers"),
        ({"numbers": [3, "x"], "target": 3}, "hold 'x'"),
        ({"numbers": [3, None], "target": 3}, "hold 'None'"),
        ({"numbers": [True], "target": 1}, "hold 'True'"),
        ({"numbers": [float("nan")], "target": 1}, "hold 'nan'"),
        ({"numbers": [-3], "target": 1}, "hold '-3'"),
        ({"numbers": [3], "target": "three"}, "target 'three' is not a number"),
        ({"numbers": [3], "target": float("inf")}, "target 'inf' is not a number"),
    ],
)
def test_a_truth_that_cannot_be_checked_is_unscorable_never_zero(truth: dict[str, object], reason: str) -> None:
    problem = Problem(id="p", prompt="q", truth=truth)
    verdict = Countdown()("<answer>3</answer>", problem)
    assert (verdict.outcome, verdict.reason) == ("unscorable", "bad_truth")
    assert reason in (Countdown().check_truth(problem.truth) or "")
    assert Countdown().applies(problem.truth) == ({"numbers", "target"} <= set(truth))


def test_the_pack_requires_the_form() -> None:
    pack = load_rules("countdown")
    problem = Problem(id="p", prompt="q", truth=TRUTH)
    assert pack.bounds == (0.0, 1.1)
    assert pack.check_truth(problem) is None
    assert pack.judge("<think>3 by 5 is 15</think><answer>3*5+7</answer>", problem).reward == 1.1
    assert pack.judge("<think>3 by 5 is 15</think><answer>3*5-7</answer>", problem).reward == 0.1
    bare = pack.judge("<answer>3*5+7</answer>", problem)
    assert (bare.reward, bare.verdicts["countdown"].reason) == (0.0, "requires")
    assert load_rules("r1_format+countdown").bounds == (0.0, 1.1)  # the same rule `format`


def test_pickles() -> None:
    verifier, problem = Countdown(), Problem(id="p", prompt="q", truth=TRUTH)
    assert pickle.loads(pickle.dumps((verifier, problem)))[0]("<answer>3*5+7</answer>", problem).score == 1.0


OPERATIONS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
expressions = st.recursive(
    st.integers(0, 30).map(lambda n: (str(n), [n], n)),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda p: (f"({p[0][0]} {p[1]} {p[2][0]})", p[0][1] + p[2][1], OPERATIONS[p[1]](p[0][2], p[2][2]))
    ),
)


@given(expressions)
def test_an_expression_reaches_only_its_own_value(drawn: tuple[str, list[int], int]) -> None:
    expression, numbers, value = drawn
    assert judge(f"<answer>{expression} = {value}</answer>", {"numbers": numbers, "target": value}) == (1.0, "correct")
    assert judge(f"<answer>{expression}</answer>", {"numbers": numbers[::-1], "target": value}) == (1.0, "correct")
    assert judge(f"<answer>{expression}</answer>", {"numbers": numbers, "target": value + 1}) == (0.0, "wrong")
    assert judge(f"<answer>{expression} + 1</answer>", {"numbers": numbers, "target": value}) == (0.0, "wrong_numbers")


PIECES = st.sampled_from(["3", "5", "7", "22", "+", "-", "*", "/", "(", ")", "=", "\\frac", "{", "}", "\\times", " ", "\ud800"])


@given(st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_twice(text: str) -> None:
    for response in (text, f"<answer>{text}</answer>"):
        first = judge(response)
        assert first[0] in (0.0, 1.0)
        assert first == judge(response)


@pytest.mark.parametrize(
    "piece", ["(", "3*", "9", "\\frac{", "<answer>", "<answer>3</answer>", "\\boxed{", "=", "\\left", "\u0301"]
)
def test_long_hostile_text_takes_no_time(piece: str) -> None:
    """A quadratic scan of 400,000 characters would take minutes."""
    text = piece * (400_000 // len(piece))
    start = time.process_time()
    judge(text)
    judge(f"<answer>{text}</answer>")
    judge(f"<answer>{text[:1000]}</answer>")
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("3 x 5 + 7", True),
        ("(3) x 5 + 7", True),
        ("(3)x(5) + 7", True),
        ("7 + 3 X 5", True),
        ("x 3 * 5 + 7", False),
        ("3 x x 5 + 7", False),
    ],
)
def test_an_x_between_numbers_is_a_product(text: str, right: bool) -> None:
    problem = Problem(id="p", prompt="q", truth={"numbers": [3, 5, 7], "target": 22})
    assert Countdown()(f"<answer>{text}</answer>", problem).score == float(right)
