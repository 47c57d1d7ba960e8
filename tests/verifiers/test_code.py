"""Code and CodeFormat: scores from test results, details of verdicts, and determinism."""

from __future__ import annotations

import pickle
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr import Problem, Verdict, load_rules
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.verifiers.code import Code, CodeFormat

ASSERTS = {"asserts": [f"assert f({n}) == {n * n}" for n in range(4)]}
CHECK = {
    "check": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 9\n",
    "entry_point": "f",
    "preamble": 'def f(x):\n    """ Square. """\n',
}
CALLS = {"calls": [{"args": [2], "expected": 4}, {"args": [3], "expected": 9}], "entry_point": "f"}
CASES = {"cases": [{"stdin": "2", "stdout": "4"}, {"stdin": "3", "stdout": "9\n"}]}
SQUARE = "def f(x): return x * x"
SCRIPT = "print(int(input()) ** 2)"


def problem(truth: Any) -> Problem:
    return Problem(id="p", prompt="q", truth=truth)


def judge(program: str, truth: Any, **options: Any) -> Verdict:
    response = f"So:\n```python\n{program}\n```"
    verdict = Code(**options)(response, problem(truth))
    assert verdict.span is None or response[slice(*verdict.span)] == f"{program}\n"
    return verdict


@pytest.mark.parametrize(
    ("truth", "right", "half"),
    [
        (ASSERTS, SQUARE, "def f(x): return x if x < 2 else 5"),
        (CHECK, SQUARE, "def f(x): return 4"),
        (CALLS, SQUARE, "def f(x): return 4"),
        (CASES, SCRIPT, "print(4)"),
    ],
    ids=["asserts", "check", "calls", "cases"],
)
def test_the_share_of_the_tests(truth: Any, right: str, half: str) -> None:
    assert judge(right, truth).score == 1.0
    assert judge(right, truth).reason == "correct"
    verdict = judge(half, truth)
    assert (verdict.outcome, verdict.score, verdict.reason) == ("scored", 0.5, "wrong")
    assert judge(half, truth, score="all").score == 0.0
    assert judge(right, truth, score="all").score == 1.0
    assert judge("def f(x: return", truth).reason == "syntax_error"
    assert judge("def f(x: return", truth).score == 0.0
    n = 4 if truth is ASSERTS else 2
    weighted = {**truth, "weights": [3] * (n // 2) + [1] * (n // 2)}
    assert judge(half, weighted, score="weighted").score == 0.75
    assert judge(half, weighted).score == 0.5


def test_one_word_for_each_test() -> None:
    program = "def f(x):\n    if x == 1: raise KeyError('k')\n    while x == 2: pass\n    return x * x"
    verdict = judge(program, ASSERTS, wall_s=0.5)
    assert verdict.detail.startswith("2 of 4 tests passed: 0 pass, 1 exception, 2 timeout, 3 pass; KeyError: 'k'")
    assert (verdict.score, verdict.reason) == (0.5, "exception")
    assert verdict.answer is not None
    assert program in verdict.answer


@pytest.mark.parametrize("truth", [ASSERTS, CHECK, CALLS, CASES], ids=["asserts", "check", "calls", "cases"])
def test_scored_again_the_verdict_is_the_same(truth: Any) -> None:
    program = SCRIPT if truth is CASES else SQUARE
    for text in (program, program.replace("2", "3").replace("x * x", "x + 2"), "raise SystemExit(0)", "import os; os._exit(0)"):
        given_ = problem(truth)
        before = pickle.dumps(given_)
        first, second = (Code()(f"```python\n{text}\n```", given_) for _ in range(2))
        assert first == second
        assert pickle.dumps(given_) == before, "it changes nothing in the problem"


def test_bad_truths_are_unscorable_and_reported_at_load() -> None:
    for truth in ({}, {"asserts": []}, {"cases": []}, {"check": "x", "entry_point": "f"}, {**CASES, "weights": [1]}):
        verdict = judge(SQUARE, truth)
        assert (verdict.outcome, verdict.score, verdict.reason) == ("unscorable", None, "bad_truth")
        assert Code().check_truth(problem(truth).truth) == verdict.detail
        assert Code().quick("```\nx\n```", problem(truth)) == verdict
    assert Code(score="weighted").check_truth(CASES) == "the truth has no weights, which score=weighted needs"
    assert Code(language="cpp").check_truth(ASSERTS) == "language=cpp: only tests of the form cases can be run with it"
    assert Code(language="cpp").check_truth(CASES) is None
    verdict = judge(SQUARE, {"asserts": ["assert f(1) == 1"], "setup": "import nosuchmodule"})
    assert (verdict.outcome, verdict.reason) == ("unscorable", "bad_truth")
    assert "nosuchmodule" in verdict.detail
    assert verdict.span is not None


def test_it_applies_to_tests_of_programs() -> None:
    assert all(Code().applies(truth) for truth in (ASSERTS, CHECK, CALLS, CASES))
    assert not any(Code().applies(truth) for truth in ({"answer": "1"}, {"calls": [{"name": "f"}], "tools": []}, {}))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"extract": "fence"}, "extract=fence: must be one of fenced, continuation, whole, or a list of them"),
        ({"extract": ()}, "extract=[]: must be one of"),
        ({"extract": ("fenced", "x")}, "extract=x"),
        *(({name: 0}, f"{name}=0: must be above 0") for name in ("wall_s", "cpu_s", "budget_s", "memory_mb")),
        ({"memory_mb": -1}, "memory_mb=-1: must be above 0"),
        ({"wall_s": float("inf")}, "wall_s=inf"),
        ({"tolerance": 1.0}, "tolerance=1.0: must lie in [0, 1)"),
        ({"tolerance": -0.1}, "tolerance=-0.1"),
    ],
)  # fmt: skip
def test_options_are_checked_at_construction(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Code(**options)


@pytest.mark.parametrize(
    ("response", "truth", "options", "score"),
    [
        (f"<think>no</think>So:\n```python\n{SQUARE}\n```\nDone.", CALLS, {}, 1.0),
        (SQUARE, CALLS, {}, 0.0),
        (SQUARE, CALLS, {"extract": "whole"}, 1.0),
        ("    return x * x\n", CHECK, {}, 1.0),
        ("    return x * x\n\nprint(f(3))\nassert f(2) == 5\nAnd so (on\n", CHECK, {}, 1.0),
        ("    return x * x\n\ndef f(x):\n    return 0\n", CHECK, {"extract": "continuation"}, 1.0),
        (f"```python\n{SQUARE}", CHECK, {}, 1.0),
        ("```python\n    return x * x\n```", CHECK, {}, 1.0),
        ("```python\nimport os\n```\nno", CHECK, {}, 0.0),
        ("no code at all", CALLS, {}, 0.0),
    ],
)
def test_where_the_program_is(response: str, truth: Any, options: dict[str, Any], score: float) -> None:
    assert Code(**options)(response, problem(truth)).score == score


@pytest.mark.parametrize(
    ("response", "truth", "options", "reason", "written"),
    [
        (f"<think>\n```python\nno\n```\n</think>So:\n```python\n{SQUARE}\n```\nDone.", CALLS, {}, "correct", f"{SQUARE}\n"),
        (
            "So:\r\n```python\r\ndef f(x):\r\n    return 4\r\n```\r\nDone.",
            CALLS,
            {},
            "wrong",
            "def f(x):\r\n    return 4\r\n",
        ),
        (f"1. So:\n   ```python\n   {SQUARE}\n   ```", CALLS, {}, "correct", f"   {SQUARE}\n"),
        (f"```python\n{SQUARE}", CALLS, {}, "correct", SQUARE),
        ("```python\n    return x * x\n```", CHECK, {}, "correct", "    return x * x\n"),
        ("<think>no</think>    return x * x\n\nprint(f(3))\n", CHECK, {}, "correct", "    return x * x\n"),
        ("    return x * x\r\n\r\nAnd so (on\r\n", CHECK, {}, "correct", "    return x * x\r\n"),
        ("    return 1 +\n", CHECK, {}, "syntax_error", "    return 1 +\n"),
        (f"<think>no</think>\n{SQUARE}\n", CALLS, {"extract": "whole"}, "correct", f"\n{SQUARE}\n"),
        ("```python\nwhile True: pass\n```", CALLS, {"wall_s": 0.3}, "timeout", "while True: pass\n"),
        ("no code", CALLS, {}, "no_code", None),
    ],
)
def test_the_span_is_the_program_as_written(
    response: str, truth: Any, options: dict[str, Any], reason: str, written: Any
) -> None:
    verdict = Code(**options)(response, problem(truth))
    assert verdict.reason == reason
    assert (verdict.span and response[slice(*verdict.span)]) == written


def test_the_span_where_the_prompt_has_opened_the_block() -> None:
    asked = Problem(id="p", prompt="q```python\n", truth=CALLS, prefill="```python\n")
    completion = f"{SQUARE}\n```\nDone."
    span = load_rules("code").judge(completion, asked).verdicts["code"].span
    assert span is not None
    assert completion[slice(*span)] == f"{SQUARE}\n"


def test_without_a_program_it_needs_no_worker() -> None:
    verdict = Code().quick("I cannot.", problem(CALLS))
    assert verdict is not None
    assert (verdict.score, verdict.reason) == (0.0, "no_code")
    assert Code().quick("```\nx\n```", problem(CALLS)) is None
    responses = [f"{text}\n```python\n{SQUARE}\n```" for text in ("One.", "Two.")]
    responses.append(f"The third.\n```python\n{SQUARE}\n```")
    assert len({Code().scored_part(response, problem(CALLS))[0] for response in responses}) == 1, (
        "the same program is scored once"
    )
    for response in responses:
        verdict = Code()(response, problem(CALLS))
        assert verdict.span is not None
        assert verdict.span[0] == Code().scored_part(response, problem(CALLS))[1]
    assert Code().scored_part("```\nx = 1\n```", problem(CALLS)) != Code().scored_part("```\nx = 2\n```", problem(CALLS))


def test_calls_with_a_tolerance() -> None:
    truth = {"calls": [{"args": [], "expected": 0.3}, {"args": [], "expected": 1}], "entry_point": "f"}
    assert judge("def f(): return 0.1 + 0.2", truth).score == 0.0
    assert judge("def f(): return 0.1 + 0.2", truth, tolerance=1e-9).score == 0.5
    assert judge("def f(): return 1.0", truth, tolerance=1e-9).score == 0.0


def test_whitespace() -> None:
    truth = {"cases": [{"stdin": "", "stdout": "1 2"}]}
    scores = [judge("print('1\\n2')", truth, whitespace=mode).score for mode in ("exact", "lines", "tokens")]
    assert scores == [0.0, 0.0, 1.0]


def test_the_budget_bounds_a_rollout() -> None:
    loops = {"asserts": [f"assert f({n}) == 1" for n in range(50)]}
    verdict = judge("def f(x):\n    while True: pass", loops, budget_s=0.4, wall_s=0.3)
    assert verdict.score == 0.0
    assert "49 not_run" in verdict.detail


def test_the_same_through_a_worker_process() -> None:
    responses = [
        f"```python\n{program}\n```" for program in (SQUARE, "def f(x): return 4", "while True: pass", "import os; os._exit(0)")
    ]
    with Supervisor(workers=1) as pool:
        for response in responses:
            verifier = Code(wall_s=0.4, budget_s=0.8)
            assert pool.score(verifier, response, problem(CALLS)) == verifier(response, problem(CALLS))


def test_values_that_are_expensive_to_compare_score_zero() -> None:
    truths = [
        "assert len(list(f(1))) == 3",
        "assert sum(f(1)) == 3",
        "assert int(f(1)) == 3",
        "assert f(1) == 3",
        "assert set(f(1)) == {3}",
    ]
    values = ["range(10 ** 15)", "decimal.Decimal('1e999999999')", "{n * (2 ** 61 - 1) for n in range(2000)}", "2 ** (1 << 24)"]
    for value in values:
        start = time.monotonic()
        verdict = judge(f"import decimal\ndef f(x): return {value}", {"asserts": truths}, wall_s=1.0)
        assert (verdict.outcome, verdict.score) == ("scored", 0.0)
        assert time.monotonic() - start < 15


BLOCK = "```python\nx = 1\n```"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (BLOCK, "correct"),
        (f"<think>{BLOCK} {BLOCK}</think>Text.\n{BLOCK}\nMore.", "correct"),
        (f"{BLOCK}\n```bash\nls\n```", "correct"),
        ("x = 1", "no_code"),
        ("", "no_code"),
        (f"<think>{BLOCK}</think>", "no_code"),
        ("```python\n\n```", "no_code"),
        (f"```python\n\n```\n{BLOCK}", "correct"),
        ("```python\n\n```\n```python\nx = \n```", "syntax_error"),
        (f"{BLOCK}\n{BLOCK}", "ambiguous"),
        ("```python\nx = \n```", "syntax_error"),
        ("```python\n\x00\n```", "syntax_error"),
        ("```python\n" + "(" * 5000 + "\n```", "syntax_error"),
        ("```python\n" + "-" * 49_000 + "1\n```", "syntax_error"),
        ("```python\n" + "x = 1\n" * 10_000 + "```", "too_long"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_form(response: str, reason: str) -> None:
    verdict = CodeFormat()(response, problem({}))
    assert (verdict.reason, verdict.score) == (reason, float(reason == "correct"))
    quick = CodeFormat().quick(response, problem({}))
    assert quick is None or quick == verdict
    assert (verdict.span is None) == (reason in ("no_code", "ambiguous"))


def test_the_span_of_the_form() -> None:
    response = f"<think>{BLOCK}</think>So:\n{BLOCK}"
    verdict = CodeFormat()(response, problem({}))
    assert verdict.span == (len(response) - len("x = 1\n```"), len(response) - len("```"))
    assert CodeFormat(max_chars=3)(response, problem({})).span == verdict.span
    assert CodeFormat(language="javascript")("```js\n;\n```", problem({})).span == (6, 8)


def test_the_form_of_other_languages() -> None:
    assert CodeFormat(language="cpp")("```cpp\nint x = ;\n```", problem({})).score == 1.0
    assert CodeFormat(language="cpp")("```python\nx = 1\n```", problem({})).reason == "no_code"
    with pytest.raises(ValueError, match="max_chars=0: must be at least 1"):
        CodeFormat(max_chars=0)


@given(
    st.lists(
        st.sampled_from(["```", "python", "\n", "~~~", " ", "def f(x):\n", "    return 1", "</think>", "é", "\r\n", "````"])
    )
)
@settings(max_examples=200, deadline=None)
def test_any_response_has_a_verdict(parts: list[str]) -> None:
    verdict = CodeFormat()("".join(parts), problem({}))
    assert verdict.outcome == "scored"
    assert verdict.score in (0.0, 1.0)
    quick = Code().quick("".join(parts), problem(CHECK))
    assert quick is None or quick.reason == "no_code"
