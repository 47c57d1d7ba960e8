"""Matches: a user's regular expression, in linear time."""

from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr import Problem
from rlvr.config.instantiate import construct
from rlvr.verifiers.base import Verifier
from rlvr.verifiers.matches import Matches

PROBLEM = Problem(id="p", prompt="q", truth={})
LINE = r"(?m)^Answer: \d+$"


@pytest.mark.parametrize(
    ("options", "text", "score", "reason"),
    [
        ({"pattern": LINE}, "Two and two.\nAnswer: 4\n", 1.0, "correct"),
        ({"pattern": LINE}, "Answer: four", 0.0, "no_match"),
        ({"pattern": LINE}, "", 0.0, "no_match"),
        ({"pattern": r"\d+", "mode": "fullmatch"}, "42", 1.0, "correct"),
        ({"pattern": r"\d+", "mode": "fullmatch"}, "42\n", 0.0, "no_match"),
        ({"pattern": r"\d+", "mode": "fullmatch"}, "It is 42", 0.0, "no_match"),
        ({"pattern": "a|ab", "mode": "fullmatch"}, "ab", 1.0, "correct"),
        ({"pattern": "(?i)yes"}, "YES", 1.0, "correct"),
        ({"pattern": "a.b"}, "a\nb", 0.0, "no_match"),
        ({"pattern": "(?s)a.b"}, "a\nb", 1.0, "correct"),
        ({"pattern": "^.$", "mode": "fullmatch"}, "\u65e5", 1.0, "correct"),  # one character, three bytes
        ({"pattern": r"\p{Cyrillic}"}, "p\u0430y", 1.0, "correct"),
        ({"pattern": "\u00e9+"}, "caf\u00e9", 1.0, "correct"),
        ({"pattern": "a\x00b"}, "a\x00b", 1.0, "correct"),
        ({"pattern": "a.c", "mode": "fullmatch"}, "a\ud800c", 1.0, "correct"),  # half a pair is a character too
        ({"pattern": r"\?"}, "\ud800", 0.0, "no_match"),
        ({"pattern": "4", "scope": "after_think"}, "<think>4</think>5", 0.0, "no_match"),
        ({"pattern": "5", "scope": "after_think"}, "<think>4</think>5", 1.0, "correct"),
        ({"pattern": "5", "scope": "after_think"}, "5</think>5</think>4", 0.0, "no_match"),
        ({"pattern": "5", "scope": "after_think"}, "5", 1.0, "correct"),
        ({"pattern": "sorry", "negate": True}, "It is 4", 1.0, "correct"),
        ({"pattern": "sorry", "negate": True}, "so sorry", 0.0, "forbidden"),
        ({"pattern": r"\A\s*\z", "negate": True}, " \n", 0.0, "forbidden"),
        ({"pattern": r"\A\s*\z", "negate": True}, "text", 1.0, "correct"),
    ],
)
def test_matches(options: dict[str, object], text: str, score: float, reason: str) -> None:
    verdict = Matches(**options)(text, PROBLEM)  # type: ignore[arg-type]
    assert (verdict.score, verdict.reason) == (score, reason)


def test_what_matched_is_shown_and_cut() -> None:
    assert Matches(pattern=r"\d+")("so 42 it is", PROBLEM).answer == "42"
    assert Matches(pattern="(?s).*")("\u65e5" * 1000, PROBLEM).answer == "\u65e5" * 200


@pytest.mark.parametrize(
    "pattern", [r"(?=a)b", r"(?!a)b", r"(?<=a)b", r"(?<!a)b", r"(a)\1", r"(?P<x>a)(?P=x)", "a{2000}", "(", "[\n"]
)
def test_a_pattern_that_re2_lacks_is_one_line(pattern: str) -> None:
    with pytest.raises(
        ValueError, match="must be a regular expression of RE2, which has no lookaround and no backreference"
    ) as e:
        Matches(pattern=pattern)
    assert str(e.value).startswith(f"pattern={pattern!r}: must")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": ""}, "pattern='': must not be empty"),
        ({"pattern": "\ud800"}, "pattern=.*: must be a regular expression"),
        ({"pattern": r"(\pL{50}){19}"}, "pattern too large"),
        ({"pattern": "a", "mode": "match"}, "mode=match: must be one of search, fullmatch"),
        ({"pattern": "a", "scope": "think"}, "scope=think: must be one of response, after_think"),
    ],
)
def test_bad_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Matches(**options)  # type: ignore[arg-type]


def test_a_bad_pattern_in_a_pack_names_its_key() -> None:
    node = {"_target_": "rlvr.verifiers.matches.Matches", "pattern": "(?=x)"}
    with pytest.raises(ValueError, match=r"rules.mine.verifier.pattern='\(\?=x\)': must be a regular expression of RE2"):
        construct(node, Verifier, key="rules.mine.verifier")


def test_pickles() -> None:
    verifier = Matches(pattern=LINE)
    assert verifier("Answer: 4", PROBLEM) == pickle.loads(pickle.dumps(verifier))("Answer: 4", PROBLEM)


@given(st.text(alphabet=st.characters(codec=None), max_size=40))
def test_any_text_gets_a_score_and_the_same_one_twice(text: str) -> None:
    for scope in ("response", "after_think"):
        for negate in (False, True):
            verifier = Matches(pattern=r"(\w+\s?)+x|\d", scope=scope, negate=negate)  # type: ignore[arg-type]
            first = verifier(text, PROBLEM)
            assert first.score in (0.0, 1.0)
            assert first == verifier(text, PROBLEM)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*b", r"(\w+\s?)*x", r"(.*)(.*)(.*)(.*)b", r"(x+x+)+y", r"(a?){50}b"])
def test_patterns_that_explode_elsewhere_take_no_time(pattern: str) -> None:
    """With backtracking, 30 characters of this take minutes; here are 400,000."""
    start = time.process_time()
    for text in ("a" * 400_000 + "!", "a " * 200_000 + "!", "x" * 400_000, "\u0301\ud800" * 200_000):
        Matches(pattern=pattern)(text, PROBLEM)
        Matches(pattern=pattern, mode="fullmatch", scope="after_think")(text, PROBLEM)
    assert time.process_time() - start < 10
