"""ThinkAnswer and FinalLine: what passes, what does not, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr import Problem
from rlvr.verifiers.format import FinalLine, ThinkAnswer, visible_chars

PROBLEM = Problem(id="p", prompt="q", truth={})
GOOD = "<think>2 + 2 is 4, clearly</think><answer>4</answer>"


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        (GOOD, 1.0, "correct"),
        (f"  \n{GOOD}\n", 1.0, "correct"),
        ("<think>\nmany\nlines of it\n</think>\n\n<answer>\n4\n</answer>", 1.0, "correct"),
        ("<think>short</think><answer>4</answer>", 0.8, "short_think"),
        ("<think>a  b  c  d</think><answer>4</answer>", 0.8, "short_think"),  # spaces are no reasoning
        ("<think></think><answer>4</answer>", 0.0, "empty_block"),
        ("<think> \n\t </think><answer>4</answer>", 0.0, "empty_block"),
        ("<think>\u200b\u200b\ufeff\u2060\u00ad\u200d\u200e\u200f</think><answer>4</answer>", 0.0, "empty_block"),
        ("<think>2 + 2 is 4, clearly</think><answer> </answer>", 0.0, "empty_block"),
        (f"<think>{chr(0x2800) * 9}</think><answer>4</answer>", 0.0, "empty_block"),  # Braille cells without dots
        (f"<think>{chr(0x3164) * 9}</think><answer>4</answer>", 0.0, "empty_block"),  # Hangul fillers
        (f"<think>{chr(0x301) * 9}</think><answer>4</answer>", 0.0, "empty_block"),  # accents on nothing
        (f"{GOOD} and that is it", 0.0, "text_outside"),
        (f"Sure! {GOOD}", 0.0, "text_outside"),
        ("<think>2 + 2 is 4, clearly</think> so <answer>4</answer>", 0.0, "text_outside"),
        (f"{GOOD}{GOOD}", 0.0, "wrong_tags"),
        (f"{GOOD}<answer>5</answer>", 0.0, "wrong_tags"),
        ("<think><think>2 + 2 is 4, clearly</think></think><answer>4</answer>", 0.0, "wrong_tags"),
        ("<answer>4</answer><think>2 + 2 is 4, clearly</think>", 0.0, "wrong_tags"),
        ("<think>2 + 2 is 4, clearly<answer>4</answer></think>", 0.0, "wrong_tags"),
        ("<think>2 + 2 is 4, clearly</think><answer>4", 0.0, "wrong_tags"),
        ("2 + 2 is 4, clearly</think><answer>4</answer>", 0.0, "wrong_tags"),
        ("<THINK>2 + 2 is 4, clearly</THINK><answer>4</answer>", 0.0, "wrong_tags"),
        ("4", 0.0, "no_tags"),
        ("", 0.0, "no_tags"),
    ],
)
def test_think_answer(text: str, score: float, reason: str) -> None:
    verdict = ThinkAnswer()(text, PROBLEM)
    assert (verdict.score, verdict.reason) == (pytest.approx(score), reason)


@pytest.mark.parametrize("prompt", ["q\n<think>", "User: q\nAssistant: <think>\n", "<think>q</think>\n<think>"])
def test_a_think_that_the_prompt_opened_counts(prompt: str) -> None:
    problem = Problem(id="p", prompt=prompt, truth={})
    assert ThinkAnswer()(problem.turn("2 + 2 is 4, clearly</think><answer>4</answer>"), problem).score == 1.0
    assert ThinkAnswer()(problem.turn(GOOD), problem).score == 0.0  # opened twice


def test_a_think_inside_the_question_opens_nothing() -> None:
    problem = Problem(id="p", prompt="What does <think> mean?", truth={})
    assert problem.turn(GOOD) == GOOD


@pytest.mark.parametrize("options", [{"min_think_chars": 0}, {"length_share": 1.5}, {"length_share": -0.1}])
def test_bad_options_name_the_key_and_the_value(options: dict[str, float]) -> None:
    ((key, value),) = options.items()
    with pytest.raises(ValueError, match=f"{key}={value}: must"):
        ThinkAnswer(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        ("3 + 4 = 7\n#### 7", 1.0, "correct"),
        ("3 + 4 = 7\n#### $1,234.50\n\n", 1.0, "correct"),
        ("#### 7\nand so it is", 0.5, "not_last"),
        ("#### 6\n#### 7", 0.5, "not_last"),
        ("3 + 4 = 7\n####", 0.0, "unparsable"),
        ("3 + 4 = 7\n#### seven", 0.0, "unparsable"),
        ("It is 7 #### 7", 0.0, "no_marker"),
        ("7", 0.0, "no_marker"),
    ],
)
def test_final_line(text: str, score: float, reason: str) -> None:
    verdict = FinalLine()(text, PROBLEM)
    assert (verdict.score, verdict.reason) == (score, reason)


PIECES = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "####", " ", "\n", "7", "x", "\u200b", "<", "\\boxed{"]
)


@given(st.lists(PIECES | st.text(max_size=5)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_twice(text: str) -> None:
    for verifier in (ThinkAnswer(), FinalLine()):
        first = verifier(text, PROBLEM)
        assert first.outcome == "scored"
        assert first == verifier(text, PROBLEM)


def test_visible_chars() -> None:
    assert visible_chars("a b\tc\n\u200bd\u00e9") == 5
