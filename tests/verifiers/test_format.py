"""ThinkAnswer, Tags and FinalLine: what passes, what does not, and why."""

from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr import Problem
from rlvr.verifiers.format import FinalLine, Tags, ThinkAnswer, visible_text

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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"Sure! {GOOD}", "text before <think>: 'Sure!'"),
        ("<think>2 + 2 is 4, clearly</think> so <answer>4</answer>", "text between the blocks: 'so'"),
        (f"{GOOD} and that is it", "text after </answer>: 'and that is it'"),
    ],
)
def test_the_detail_says_where_text_stands(text: str, says: str) -> None:
    assert ThinkAnswer()(text, PROBLEM).detail == says


@pytest.mark.parametrize("prompt", ["q\n<think>", "User: q\nAssistant: <think>\n", "<think>q</think>\n<think>"])
def test_a_think_that_the_prompt_opened_counts(prompt: str) -> None:
    problem = Problem(id="p", prompt=prompt, truth={})
    assert ThinkAnswer()(problem.response("2 + 2 is 4, clearly</think><answer>4</answer>"), problem).score == 1.0
    assert ThinkAnswer()(problem.response(GOOD), problem).score == 0.0  # opened twice


def test_a_think_inside_the_question_opens_nothing() -> None:
    problem = Problem(id="p", prompt="What does <think> mean?", truth={})
    assert problem.response(GOOD) == GOOD


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


PCA = Tags(tags=("plan", "code", "answer"))
PCA_GOOD = "<plan>add them</plan>\n<code>2 + 2</code>\n<answer>4</answer>"


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        (PCA_GOOD, 1.0, "correct"),
        (f" \n{PCA_GOOD}\n", 1.0, "correct"),
        ("<plan>a</plan><code>b</code><answer>c</answer>", 1.0, "correct"),
        ("<plan>a <b>bold</b> <think>x</think></plan><code>b</code><answer>c</answer>", 1.0, "correct"),  # others are text
        ("<plan></plan><code>b</code><answer>c</answer>", 0.0, "empty_block"),
        ("<plan>a</plan><code>\u200b\u2800\n</code><answer>c</answer>", 0.0, "empty_block"),
        (f"{PCA_GOOD} done", 0.0, "text_outside"),
        (f"Sure: {PCA_GOOD}", 0.0, "text_outside"),
        ("<plan>a</plan> then <code>b</code><answer>c</answer>", 0.0, "text_outside"),
        ("<plan>a</plan>\u200b<code>b</code><answer>c</answer>", 0.0, "text_outside"),
        (f"{PCA_GOOD}<answer>5</answer>", 0.0, "wrong_tags"),
        (f"{PCA_GOOD}{PCA_GOOD}", 0.0, "wrong_tags"),
        ("<code>b</code><plan>a</plan><answer>c</answer>", 0.0, "wrong_tags"),
        ("<plan>a<code>b</code></plan><answer>c</answer>", 0.0, "wrong_tags"),
        ("<plan><plan>a</plan></plan><code>b</code><answer>c</answer>", 0.0, "wrong_tags"),
        ("<plan>a</plan><answer>c</answer>", 0.0, "wrong_tags"),
        ("<plan>a</plan><code>b</code><answer>c", 0.0, "wrong_tags"),
        ("<plan>a</plan><code>b</code>c</answer>", 0.0, "wrong_tags"),
        ("<PLAN>a</PLAN><CODE>b</CODE><ANSWER>c</ANSWER>", 0.0, "no_tags"),
        ("<think>a</think>", 0.0, "no_tags"),
        ("4", 0.0, "no_tags"),
        ("", 0.0, "no_tags"),
    ],
)
def test_tags(text: str, score: float, reason: str) -> None:
    verdict = PCA(text, PROBLEM)
    assert (verdict.score, verdict.reason) == (score, reason)


def test_tags_of_other_names_and_a_block_that_the_prompt_opened() -> None:
    assert Tags(tags=("a-b", "a", "A_1"))("<a-b>1</a-b><a>2</a><A_1>3</A_1>", PROBLEM).score == 1.0
    opened = Problem(id="p", prompt="q\n<think>", truth={})
    assert Tags()(opened.response("reasons</think><answer>4</answer>"), opened).score == 1.0
    planned = Problem(id="p", prompt="q <plan>", truth={}, prefill="<plan>")
    assert PCA(planned.response("a</plan><code>b</code><answer>c</answer>"), planned).score == 1.0
    assert PCA(planned.response(PCA_GOOD), planned).score == 0.0  # opened twice


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ((), r"tags=\(\): must be a list of at least one name"),
        ("think", "tags='think': must be a list"),
        (("think", "a b"), "tags='a b': must consist of letters, digits, _ and -"),
        (("",), "tags='': must consist"),
        (("a|b",), "tags='a|b': must consist".replace("|", r"\|")),
        (("caf\u00e9",), "must consist of letters"),
        (("a\n",), "must consist of letters"),
        (("a", "b", "a"), "tags=a, b, a: must not hold a name twice"),
    ],
)
def test_bad_names_of_tags(tags: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tags(tags=tags)


def test_tags_pickle() -> None:
    assert pickle.loads(pickle.dumps(PCA))(PCA_GOOD, PROBLEM) == PCA(PCA_GOOD, PROBLEM)


@pytest.mark.parametrize("piece", ["<think>", "</answer>", "<", "<think></think>", "</", " ", "\u0315\u0300", "\ud800", "\x00"])
def test_long_hostile_text_takes_no_time(piece: str) -> None:
    """A quadratic scan of 400,000 characters would take minutes."""
    text = piece * (400_000 // len(piece))
    start = time.process_time()
    for verifier in (ThinkAnswer(), Tags(), PCA):
        verifier(text, PROBLEM)
        verifier(f"<think>{text}</think><answer>{text}</answer>", PROBLEM)
    assert time.process_time() - start < 10


PIECES = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "####", " ", "\n", "7", "x", "\u200b", "<", "\\boxed{", "<plan>", "\ud800"]
)


@given(st.lists(PIECES | st.text(max_size=5)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_twice(text: str) -> None:
    for verifier in (ThinkAnswer(), FinalLine(), Tags(), PCA):
        first = verifier(text, PROBLEM)
        assert first.outcome == "scored"
        assert first == verifier(text, PROBLEM)


def test_visible_text() -> None:
    assert visible_text("a b\tc\n\u200bd\u00e9") == "abcd\u00e9"
