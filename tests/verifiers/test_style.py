"""Length, repetition, one answer, forbidden text: honest solutions keep the full score, hacks do not."""

from __future__ import annotations

import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled import sampled

from conftest import data, score_gap
from rlvr import Problem, load_rules
from rlvr.config.compose import compose
from rlvr.data.datasets.arithmetic import Arithmetic
from rlvr.data.datasets.gsm8k import GSM8K
from rlvr.data.prompts import Prompts
from rlvr.verifiers.base import Verifier
from rlvr.verifiers.style import Forbidden, Overlong, ReasoningLength, Repetition, UniqueAnswer

PROBLEM = Problem(id="p", prompt="q", truth={})
HONEST = "<think>She sold 48 clips in April and half as many in May, so 24; 48 + 24 = 72.</think><answer>\\boxed{72}</answer>"


def think(reasoning: str) -> str:
    return f"<think>{reasoning}</think><answer>\\boxed{{72}}</answer>"


def solutions(name: str) -> list[str]:
    lines = (data(name) / "test.jsonl").read_text().splitlines()
    return [json.loads(line)["solution"] for line in lines]


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_honest_solutions_of_gsm8k_keep_full_score(gsm8k_path: Path, every: int) -> None:
    rules = load_rules("r1_format+anti_hack+overlong")
    prompts = Prompts(template=compose(["model=qwen0.5b", "prompt=r1"]).prompt)
    splits = GSM8K(path=str(gsm8k_path)).load()
    problems = [*splits.train, *splits.test]
    assert len(problems) == 8792
    assert [(p.id, lost) for p in problems[::every] if (lost := score_gap(prompts, p, rules))] == []
    for verifier in (Repetition(), UniqueAnswer(), ReasoningLength(), Overlong()):
        assert verifier(prompts.solution(problems[0]), problems[0]).score == 1.0


def test_honest_solutions_of_the_default_data_set_keep_full_score() -> None:
    rules = load_rules("r1_format+answer+anti_hack+overlong+english_only", ["rules.reasoning_length.verifier.min_chars=7"])
    prompts = Prompts(template=compose([]).prompt)
    for problem in Arithmetic(train_problems=100).load().train:
        assert score_gap(prompts, problem, rules) is None


@pytest.mark.parametrize(("name", "count"), [("math500", 500), ("aime24", 30)])
def test_honest_solutions_of_competitions_keep_full_score(name: str, count: int) -> None:
    texts = solutions(name)
    assert len(texts) == count
    for text in texts:
        assert Repetition()(text, PROBLEM).score == 1.0
        assert ReasoningLength(scope="response")(text, PROBLEM).score == 1.0
        assert ReasoningLength()(think(text), PROBLEM).score == 1.0


# --- ReasoningLength


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        (HONEST, 1.0, "correct"),
        ("She sold 48 clips in April and 24 in May</think><answer>\\boxed{72}</answer>", 1.0, "correct"),
        (think("abcdefghijklmn"), 0.5, "short"),
        (think("abcdefgh"), 0.25, "short"),
        (think(""), 0.0, "short"),
        (think(" \n\t "), 0.0, "short"),
        (think("\u200b" * 500), 0.0, "short"),
        (think("\u2800" * 500), 0.0, "short"),
        (think("." * 500), 1 / 24, "short"),
        (think(". " * 500), 1 / 24, "short"),
        (think("4" * 500), 1 / 24, "short"),
        (think("abABAbAB" * 50), 2 / 24, "short"),
        (think("thinking " * 100), 8 / 24, "short"),
        (think("Thinking THINKING thinking " * 100), 8 / 24, "short"),
        (think("\\boxed{72}" * 100), 10 / 24, "short"),
        (think("<think>" * 100), 0.0, "short"),
        ("<think></think><think>She sold 48 clips in April and 24 in May</think>", 0.0, "short"),  # the first block counts
        ("<answer>\\boxed{72}</answer> as she sold 48 clips in April and 24 in May", 0.0, "no_think"),
        ("<think>She sold 48 clips in April and half as many in May", 0.0, "no_think"),
        ("", 0.0, "no_think"),
    ],
)
def test_reasoning_length(text: str, score: float, reason: str) -> None:
    verdict = ReasoningLength()(text, PROBLEM)
    assert (verdict.score, verdict.reason) == (pytest.approx(score), reason)


def test_which_text_counts_as_reasoning() -> None:
    before, late = "She sold 48 clips in April and 24 in May: \\boxed{72}", "\\boxed{72}: she sold 48 clips in April, 24 in May"
    assert ReasoningLength(scope="before_answer")(before, PROBLEM).score == 1.0
    assert ReasoningLength(scope="before_answer")(late, PROBLEM).score == 0.0
    assert ReasoningLength(scope="before_answer")(HONEST, PROBLEM).score == 1.0
    assert ReasoningLength(scope="before_answer")(think(""), PROBLEM).score == 0.0
    assert ReasoningLength(scope="response")(late, PROBLEM).score == 1.0
    assert ReasoningLength(scope="response")("<think></think>" * 99, PROBLEM).score == 0.0


def test_reasoning_may_be_too_long() -> None:
    verifier = ReasoningLength(max_chars=100)
    letters = "".join(f"{n:02x}" for n in range(256))
    scores = [verifier(think(letters[:n]), PROBLEM).score for n in (50, 100, 150, 175, 200, 400)]
    assert scores == [1.0, 1.0, 0.5, 0.25, 0.0, 0.0]
    assert verifier(think(letters[:150]), PROBLEM).reason == "long"


LETTERS = st.text(alphabet=st.characters(exclude_characters="<"), max_size=60)


@given(LETTERS, LETTERS)
def test_more_reasoning_never_scores_less(text: str, more: str) -> None:
    for scope in ("think", "before_answer", "response"):
        scores = []
        for reasoning in (text, text + more):
            response = f"<think>{reasoning}</think>" if scope == "think" else reasoning
            scores.append(ReasoningLength(scope=scope)(response, PROBLEM).score or 0.0)  # type: ignore[arg-type]
        assert scores[0] <= scores[1]


# --- Repetition


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{4}" * 1000,
        "4" * 1000,
        "4 " * 1000,
        "The answer is 4. " * 1000,
        "The answer is 4.\n" * 1000,
        "<answer>4</answer>" * 1000,
        " " * 1000,
        "\n" * 1000,
        "\u65e5\u672c" * 1000,
        "\ud800" * 1000,
        HONEST + "\\boxed{72}" * 1000,
        HONEST * 1000,
    ],
)
def test_what_is_repeated_a_thousand_times_scores_zero(text: str) -> None:
    verdict = Repetition()(text, PROBLEM)
    assert (verdict.score, verdict.reason) == (0.0, "repetitive")


def test_repetition_falls_linearly() -> None:
    scores = [Repetition()("\\boxed{4}" * n, PROBLEM).score for n in (1, 2, 4, 5, 8, 10, 13)]
    assert scores == pytest.approx([1.0, 1.0, 1.0, 0.8205, 0.2327, 0.0892, 0.0], abs=1e-3)
    assert Repetition(n=2, allowed=0.0, worst=1.0)("aaaaa", PROBLEM).score == pytest.approx(0.25)
    assert Repetition(n=2, allowed=0.0, worst=1.0)("abcde", PROBLEM).score == 1.0
    assert Repetition()("", PROBLEM).score == 1.0


def test_repetition_in_millions_of_characters() -> None:
    assert Repetition()("\\boxed{4}" * 500_000, PROBLEM).score == 0.0
    assert Repetition()(" ".join(map(str, range(400_000))), PROBLEM).score == 1.0


# --- UniqueAnswer


@pytest.mark.parametrize(
    ("options", "text", "score", "reason"),
    [
        ({}, HONEST, 1.0, "correct"),
        ({}, "so \\boxed{4}, that is \\boxed{4}", 1.0, "correct"),
        ({}, "so \\boxed{1/2}, that is \\boxed{0.5}", 1.0, "correct"),
        ({}, "so \\boxed{\\frac{1}{2}}, that is \\boxed{ \\dfrac12 }", 1.0, "correct"),
        ({}, "so \\boxed{4}, that is \\boxed{\uff14}", 1.0, "correct"),
        ({}, "\\boxed{4} or \\boxed{5}", 0.0, "ambiguous"),
        ({}, "\\boxed{4} no, \\boxed{5} no, \\boxed{4}", 0.0, "ambiguous"),
        ({}, "".join(f"\\boxed{{{n}}}" for n in range(1000)), 0.0, "ambiguous"),
        ({}, "\\boxed{4}" * 3, 0.0, "repeated"),
        ({}, "\\boxed{4}" * 1000, 0.0, "repeated"),
        ({}, "\\boxed{4}\\boxed{4.0}\\boxed{4.00}\\boxed{8/2}", 0.0, "repeated"),
        ({"max_copies": 3}, "\\boxed{4}" * 3, 1.0, "correct"),
        ({"max_copies": 1}, "\\boxed{4}" * 2, 0.0, "repeated"),
        ({}, "4", 0.0, "no_answer"),
        ({}, "\\boxed{}", 0.0, "no_answer"),
        ({}, "\\boxed{4", 0.0, "no_answer"),
        ({}, "", 0.0, "no_answer"),
        ({}, "\\boxed{1/0} and \\boxed{1/0}", 1.0, "correct"),
        ({}, "\\boxed{1/0} and \\boxed{2/0}", 0.0, "ambiguous"),
        ({"extract": "tag"}, "<answer>4</answer><answer>5</answer>", 0.0, "ambiguous"),
        ({"extract": "tag", "tag": "final"}, "<final>4</final><answer>5</answer>", 1.0, "correct"),
        ({"extract": ("boxed", "hashes")}, "4\n#### 4", 1.0, "correct"),
        ({"extract": "hashes"}, "#### 4\n#### 5", 0.0, "ambiguous"),
    ],
)
def test_unique_answer(options: dict[str, Any], text: str, score: float, reason: str) -> None:
    verdict = UniqueAnswer(**options)(text, PROBLEM)
    assert (verdict.score, verdict.reason) == (score, reason)


# --- Overlong


def test_overlong_falls_as_in_dapo() -> None:
    verifier = Overlong(max_chars=100, buffer_chars=20)
    scores = [verifier("a" * n, PROBLEM).score for n in (0, 80, 81, 90, 99, 100, 101, 5000)]
    assert scores == pytest.approx([1.0, 1.0, 0.95, 0.5, 0.05, 0.0, 0.0, 0.0])
    assert verifier("a" * 90, PROBLEM).reason == "overlong"
    assert Overlong(max_chars=1, buffer_chars=1)("", PROBLEM).score == 1.0


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 200), st.integers(1, 200))
def test_a_longer_response_never_scores_more(n: int, more: int, limit: int, buffer: int) -> None:
    verifier = Overlong(max_chars=max(limit, buffer), buffer_chars=buffer)
    assert (verifier("a" * n, PROBLEM).score or 0.0) >= (verifier("a" * (n + more), PROBLEM).score or 0.0)


# --- Forbidden


@pytest.mark.parametrize(
    ("options", "text", "score"),
    [
        ({}, "the plan is good", 1.0),
        ({}, "As an AI model I think", 0.0),
        ({}, "as  an\nai\u00a0model", 0.0),
        ({}, "AS AN AI MODEL", 0.0),
        ({"fold_case": False}, "as an ai model", 1.0),
        ({}, "a\u200bs an A\u00adI mo\ufe0fdel", 0.0),
        ({}, "as\x00 an A\x08I model", 0.0),
        ({}, "\uff41\uff53 \uff41\uff4e \uff21\uff29 model", 0.0),  # full-width
        ({}, "\U0001d41a\U0001d42c \U0001d41a\U0001d427 \U0001d400\U0001d408 model", 0.0),  # mathematical bold
        ({}, "has an AI models", 1.0),
        ({"whole_words": False}, "has an AI models", 0.0),
        ({}, "has an AI modelsas an AI models; as an AI model", 0.0),
        ({}, "as_an_AI_model", 1.0),
        ({}, "as an AI model", 0.0),
        ({"phrases": ("...",)}, "wait...", 0.0),
        ({"phrases": ("4",)}, "it is 42", 1.0),
        ({"phrases": ("caf\u00e9",)}, "cafe\u0301", 0.0),
        ({"phrases": ("caf\u00e9",)}, "cafe", 1.0),
        ({}, "", 1.0),
    ],
)
def test_forbidden_phrases(options: dict[str, Any], text: str, score: float) -> None:
    verdict = Forbidden(**{"phrases": ("sudo", "as an AI model"), **options})(text, PROBLEM)
    assert (verdict.score, verdict.reason) == (score, "correct" if score else "forbidden")
    assert score or verdict.answer


TESTS = {"asserts": ["assert similar((3, 4), (5, 4)) == (4,)", "assert f(1) == 2"], "setup": ""}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("def similar(a, b): return tuple(set(a) & set(b))", 1.0),
        ("assert similar((3, 4), (5, 4)) == (4,)", 0.0),
        ("def similar(*a):\n    assert   similar((3,4),(5,4))==(4,)", 0.0),
        ("assert similar((3, 4),\n  (5, 4)) == (4,)", 0.0),
        ("assert simi\u200blar((3, 4), (5, 4)) == (4,)", 0.0),
        ("assert similar((\uff13, 4), (5, 4)) == (4,)", 0.0),
        ("assert similar((3, 4), (5, 4)) == (5,)", 1.0),
        ("ASSERT SIMILAR((3, 4), (5, 4)) == (4,)", 1.0),
        ("so f(1) == 2", 1.0),
        ("assert f(1) == 2", 0.0),
    ],
)
def test_hidden_tests_may_not_be_copied(text: str, score: float) -> None:
    verifier = Forbidden(truth_keys=("asserts",))
    assert verifier(text, Problem(id="p", prompt="q", truth=TESTS)).score == score
    assert Forbidden(truth_keys=("asserts",), min_line_chars=99)(text, Problem(id="p", prompt="q", truth=TESTS)).score == 1.0


def test_texts_of_a_truth_at_any_depth() -> None:
    problem = Problem(id="p", prompt="q", truth={"cases": [{"stdin": "1 2", "stdout": "a very long\nexpected output"}]})
    verifier = Forbidden(truth_keys=("cases",))
    assert verifier("it prints expected output", problem).score == 0.0
    assert verifier("it prints 1 2", problem).score == 1.0


@pytest.mark.parametrize(
    ("truth", "reason"), [({}, "no key 'asserts'"), ({"asserts": []}, "holds no text"), ({"asserts": 3}, "no text")]
)
def test_a_truth_without_texts_is_unscorable_never_zero(truth: dict[str, Any], reason: str) -> None:
    verifier, problem = Forbidden(truth_keys=("asserts",)), Problem(id="p", prompt="q", truth=truth)
    verdict = verifier("assert f(1) == 2", problem)
    assert (verdict.outcome, verdict.reason) == ("unscorable", "bad_truth")
    assert reason in (verifier.check_truth(problem.truth) or "")
    assert verifier.applies(problem.truth) == ("asserts" in truth)


# --- all of them


@pytest.mark.parametrize(
    ("verifier", "options", "message"),
    [
        (ReasoningLength, {"min_chars": 0}, "min_chars=0: must be at least 1"),
        (ReasoningLength, {"max_chars": 5}, "max_chars=5: must be at least min_chars"),
        (ReasoningLength, {"scope": "all"}, "scope=all: must be one of think, before_answer, response"),
        (Repetition, {"n": 1}, "n=1: must be at least 2"),
        (Repetition, {"allowed": 1.0}, "allowed=1.0: must lie in"),
        (Repetition, {"allowed": float("nan")}, "allowed=nan: must lie in"),
        (Repetition, {"worst": 0.5}, "worst=0.5: must lie above allowed"),
        (Repetition, {"worst": 1.5}, "worst=1.5: must lie above allowed"),
        (Overlong, {"max_chars": 0}, "max_chars=0: must be at least 1"),
        (Overlong, {"buffer_chars": 0}, "buffer_chars=0: must lie between"),
        (Overlong, {"buffer_chars": 5000}, "buffer_chars=5000: must lie between"),
        (UniqueAnswer, {"extract": "box"}, "extract=box: must be one of boxed"),
        (UniqueAnswer, {"extract": ()}, r"extract=\[\]: must be one of boxed"),
        (UniqueAnswer, {"tag": "<a>"}, "tag='<a>': must be the name of a tag"),
        (UniqueAnswer, {"max_copies": 0}, "max_copies=0: must be at least 1"),
        (Forbidden, {}, r"phrases=\[\]: must name at least one phrase"),
        (Forbidden, {"phrases": "sudo"}, "phrases='sudo': must be a list"),
        (Forbidden, {"truth_keys": "asserts"}, "truth_keys='asserts': must be a list"),
        (Forbidden, {"phrases": ("a", " ")}, "phrases=' ': must hold a visible character"),
        (Forbidden, {"phrases": ("\u200b",)}, "must hold a visible character"),
        (Forbidden, {"phrases": ("a",), "min_line_chars": 0}, "min_line_chars=0: must be at least 1"),
    ],
)
def test_options_are_checked(verifier: type[Verifier], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verifier(**options)


ALL: list[Verifier] = [
    *(ReasoningLength(scope=scope, max_chars=90) for scope in ("think", "before_answer", "response")),  # type: ignore[arg-type]
    Repetition(),
    Repetition(n=2, allowed=0.1, worst=0.5),
    Overlong(max_chars=40, buffer_chars=30),
    UniqueAnswer(),
    UniqueAnswer(extract=("tag", "number"), max_copies=1),
    Forbidden(phrases=("4 \u00e9", "\\boxed"), truth_keys=("asserts",)),
]
PIECES = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "}", "4", "4.0", " ", "\n", "#### ", "\u200b", "\ud800"]
)


@given(st.lists(PIECES | st.text(alphabet=st.characters(codec=None), max_size=4)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_twice(text: str) -> None:
    problem = Problem(id="p", prompt="q", truth=TESTS)
    for verifier in ALL:
        first = verifier(text, problem)
        assert first.score is not None
        assert first == verifier(text, problem)


def test_the_same_in_a_thread_and_after_pickling() -> None:
    problem = Problem(id="p", prompt="q", truth=TESTS)
    with ThreadPoolExecutor(4) as pool:
        for verifier in ALL:
            copy = pickle.loads(pickle.dumps(verifier))
            assert {pool.submit(each, HONEST, problem).result() for each in (verifier, copy)} == {verifier(HONEST, problem)}


PIECES_400K = [
    "\\boxed{4}",
    "\\boxed{",
    "4",
    "<think>",
    "</think>",
    "as an ",
    "a",
    " ",
    "\u0315\u0300",
    "\ud800",
    "\\boxed{1/0}",
    "\x00",
]


@pytest.mark.parametrize("piece", sampled(PIECES_400K))
def test_long_hostile_text_takes_no_time(piece: str) -> None:
    """A quadratic scan of 400,000 characters would take minutes."""
    problem = Problem(id="p", prompt="q", truth=TESTS)
    text = piece * (400_000 // len(piece))
    start = time.process_time()
    for verifier in (
        ReasoningLength(),
        Repetition(),
        Overlong(),
        UniqueAnswer(),
        ALL[-1],
        Forbidden(phrases=("as an AI", "aaaa")),
    ):
        verifier(text, problem)
        verifier(f"<think>{text}</think>", problem)
    assert time.process_time() - start < 20


def test_many_spellings_of_one_answer_take_no_time() -> None:
    start = time.process_time()
    assert UniqueAnswer()("".join(f"\\boxed{{4.{'0' * n}}}" for n in range(800)), PROBLEM).reason == "repeated"
    assert UniqueAnswer()("".join(f"\\boxed{{{n}}}" for n in range(40_000)), PROBLEM).reason == "ambiguous"
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("test_", "def test_x(): pass", True),
        ("test_", "def mytest_x(): pass", False),
        ("test", "def test_x(): pass", False),
        ("_hidden", "the_hidden one", True),
        ("\u4f5c\u5f0a", "\u6211\u4f5c\u5f0a\u4e86", True),
        ("\u30c6\u30b9\u30c8", "\u3053\u306e\u30c6\u30b9\u30c8\u306f", True),
        ("test", "\u6211test\u4e86", False),
        ("cat", "a category", False),
    ],
)
def test_the_ends_of_a_word(phrase: str, text: str, found: bool) -> None:
    verdict = Forbidden(phrases=(phrase,))(text, Problem(id="p", prompt="q", truth={}))
    assert verdict.reason == ("forbidden" if found else "correct")


@pytest.mark.parametrize("tests", [[" "], ["", "\n"], [["\t"]]])
def test_blank_texts_in_a_truth_are_reported(tests: list[Any]) -> None:
    assert Forbidden(truth_keys=("tests",)).check_truth({"tests": tests}) == "the truth's tests holds no text"


def test_the_tag_may_have_a_hyphen() -> None:
    text = "<final-answer>5</final-answer>"
    assert UniqueAnswer(extract="tag", tag="final-answer")(text, Problem(id="p", prompt="q", truth={})).score == 1.0
