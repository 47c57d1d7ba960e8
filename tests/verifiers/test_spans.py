"""Where verdicts say that they found the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.answers.extract import EXTRACTORS
from rlvr.answers.normalise import normalise, plain
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier
from rlvr.verifiers.countdown import Countdown
from rlvr.verifiers.exact import ExactAnswer
from rlvr.verifiers.format import FinalLine, Tags, ThinkAnswer
from rlvr.verifiers.matches import Matches
from rlvr.verifiers.math import MathAnswer
from rlvr.verifiers.simulation.verifier import Simulation
from rlvr.verifiers.structured.calls import FunctionCall
from rlvr.verifiers.structured.schema import JsonMode, XmlMode
from rlvr.verifiers.style import Forbidden, Overlong, ReasoningLength, Repetition, UniqueAnswer

GRIDWORLD = "rlvr.verifiers.simulation.gridworld.Gridworld"
SIMULATION = {"simulation": {"grid": ["@.G"], "max_steps": 5}}
CALLS = {"tools": [{"name": "now"}], "calls": [{"name": "now", "arguments": {}}]}
CALL = '{"name": "now", "arguments": {}}'
SCHEMA = {"json_schema": {"type": "object"}}


def judge(verifier: Verifier, truth: dict[str, Any], response: str) -> Verdict:
    return verifier(response, Problem(id="p", prompt="q", truth=truth))


@pytest.mark.parametrize(
    ("verifier", "truth", "response", "written"),
    [
        (MathAnswer(), {"answer": "52"}, "<think>\\boxed{1}</think>\r\n\\boxed{ \uff15\uff12 } or", "\uff15\uff12"),
        (MathAnswer(), {"answer": "10^{-3}"}, "\U0001f600\u00bd \\boxed{1} \\boxed{10\u207b\u00b3}", "10\u207b\u00b3"),
        (MathAnswer(), {"answer": "5"}, "\\boxed{4\u200b2\u200b}", "4\u200b2"),
        (MathAnswer(which="unique"), {"answer": "5"}, "\\boxed{4} or \\boxed{5}", "5"),
        (MathAnswer(extract="phrase"), {"answer": "5"}, "Final Answer: the answer is **5**. I hope", "5"),
        (MathAnswer(extract="hashes"), {"answer": "5"}, "5\n####   $5 \nso", "$5"),
        (MathAnswer(extract="number"), {"answer": "5"}, "x\u00b2 = 4, or 5.", "5"),
        (MathAnswer(extract="whole"), {"answer": "5"}, "<think>4</think>\n\n 5\n", "5"),
        (MathAnswer(scope="response", extract="tag"), {"answer": "5"}, "<answer> 5 </answer></think>6", "5"),
        (MathAnswer(), {"answer": "5"}, "5", None),
        (ExactAnswer(kind="number"), {"answer": 7}, "\u200b<answer>So \\boxed{6}, \\boxed{ \u22127 }</answer>", "\u22127"),
        (ExactAnswer(kind="aliases"), {"answers": ["Paris"]}, "\\boxed{\\text{Paris}}", "\\text{Paris}"),
        (ExactAnswer(kind="number", extract="tag"), {"answer": 5}, "<answer>5</answer><answer>\\boxed{ }</answer>", "5"),
        (ExactAnswer(kind="number", which="unique"), {"answer": 5}, "\\boxed{5} \\boxed{6}", "6"),
        (Countdown(), {"numbers": [3, 5], "target": 15}, "<answer>\u2026 \\boxed{3 \u00d7 5}</answer>", "3 \u00d7 5"),
        (Matches(pattern="b+"), {}, "<think>b</think>\U0001f600 abb", "b"),
        (Matches(pattern="b+", scope="after_think"), {}, "<think>b</think>\U0001f600\ud800 abb", "bb"),
        (Matches(pattern="\\C", negate=True), {}, "\U0001f600", "\U0001f600"),
        (Matches(pattern="b", mode="fullmatch"), {}, " b", None),
        (Matches(pattern="b", negate=True), {}, "a", None),
        (FinalLine(), {}, "a\u2026\r\n#### 1\r\n\r\n  ####  \uff15 \r\n", "\uff15"),
        (FinalLine(), {}, "#### 5 \n so", "5"),
        (FinalLine(marker="=>"), {}, "=> a => b", "a => b"),
        (FinalLine(), {}, "5", None),
        (UniqueAnswer(), {}, "\\boxed{0.5}\u2026 \\boxed{ \u00bd }", "\u00bd"),
        (UniqueAnswer(), {}, "\\boxed{4} \\boxed{5}", "5"),
        (
            Forbidden(phrases=("sudo rm",)),
            {},
            "\u2026 pseudo, \uff33\u200bu\uff24O \n\u00a0rM!",
            "\uff33\u200bu\uff24O \n\u00a0rM",
        ),
        (Forbidden(phrases=("ffi",), whole_words=False), {}, "\u0130 o\ufb03ce", "\ufb03"),
        (Forbidden(truth_keys=("test",)), {"test": "assert f(1) == 2"}, "A\r\n\tassert f(1)\r\n== 2 ", "assert f(1)\r\n== 2"),
        (Forbidden(phrases=("sudo",)), {}, "pseudo", None),
        (JsonMode(), SCHEMA, '<think>{}</think>So\n   ~~~json\n   {"a":\n    1}\n   ~~~\nor', '{"a":\n    1}'),
        (JsonMode(), SCHEMA, "\u200b", "\u200b"),
        (JsonMode(), SCHEMA, "<answer> {} </answer>", "{}"),
        (JsonMode(), SCHEMA, "<think> {} </think>", None),
        (XmlMode(), {}, "<think><a/></think>\U0001f600 see <a>\n</a> \n", "<a>\n</a>"),
        (XmlMode(), {}, "  ```xml\r\n   x <a>\r\n  </a>\r\n  ```", "<a>\r\n  </a>"),
        (XmlMode(), {}, "x", None),
        (FunctionCall(), CALLS, f"I call\n```json\n {CALL} \n```\n", CALL),
        (FunctionCall(), CALLS, f"<think>a</think>\u2026 <tool_call>{CALL}</tool_call> and", f"<tool_call>{CALL}</tool_call>"),
        (FunctionCall(style="openai"), CALLS, f" <tool_call>{CALL}</tool_call> a ", f"<tool_call>{CALL}</tool_call> a"),
        (FunctionCall(), CALLS, " <tool_call> a ", "<tool_call> a"),
        (FunctionCall(), CALLS, "none", None),
        (Simulation(simulator=GRIDWORLD), SIMULATION, "<answer>\u2026\n right\r\nright </answer>", "\u2026\n right\r\nright"),
        (Simulation(simulator=GRIDWORLD), SIMULATION, "<answer>\n```\nright\nright\n```</answer>", "right\nright"),
        (Simulation(simulator=GRIDWORLD), SIMULATION, "right", None),
        (ThinkAnswer(), {}, "<think>because it is</think><answer>5</answer>", None),
    ],
)
def test_what_was_found(verifier: Verifier, truth: dict[str, Any], response: str, written: str | None) -> None:
    verdict = judge(verifier, truth, response)
    if written is None:
        assert verdict.span is None
    else:
        assert verdict.span is not None
        assert response[slice(*verdict.span)] == written


def normalised(answer: str, written: str) -> bool:
    """A character that becomes several (as ½ does) may be found in part."""
    return normalise(written)[:200] == answer or (not written.isascii() and answer in plain(written))


def verbatim(answer: str, written: str) -> bool:
    return written.replace("\ud800", "\ufffd")[:200] == answer


def but_for_space(answer: str, written: str) -> bool:
    """A block may be indented, which its contents are not."""
    return "".join(written.split()).startswith("".join(answer.split()))


def folded(answer: str, written: str) -> bool:
    return " ".join(normalise(written).casefold().split()) == answer


def names_calls(answer: str, written: str) -> bool:
    return verbatim(answer, written) or all(call.partition("(")[0] in written for call in answer.split(") "))


CHECKS: list[tuple[Verifier, dict[str, Any], Callable[[str, str], bool]]] = [
    (Countdown(extract=EXTRACTORS), {"numbers": [3, 5], "target": 15}, normalised),
    (FinalLine(), {}, normalised),
    (UniqueAnswer(extract=("boxed", "number")), {}, normalised),
    (Matches(pattern="(?s)5.*5"), {}, verbatim),
    (Matches(pattern=r"\C\n", negate=True, scope="after_think"), {}, lambda answer, written: written.endswith("\n")),
    (Forbidden(phrases=("is 5",)), {}, folded),
    (JsonMode(), SCHEMA, but_for_space),
    (XmlMode(), {}, but_for_space),
    (FunctionCall(), CALLS, names_calls),
    (Simulation(simulator=GRIDWORLD, extract=("tag", "fenced", "whole"), on_invalid="skip"), SIMULATION, but_for_space),
]
for extractor in EXTRACTORS:
    CHECKS.append((MathAnswer(extract=extractor, which="unique"), {"answer": "5"}, normalised))
    CHECKS.append((ExactAnswer(kind="number", extract=extractor, scope="response"), {"answer": 5}, normalised))
WITHOUT_ANSWER = [ThinkAnswer(), Tags(), ReasoningLength(), Repetition(), Overlong()]
PIECES = [
    "<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "\\fbox{", "}", "{", "####", "the answer is ", "answer: ", "**",
    "```json\n", "\n```", "~~~\n", "  ```\n", "<tool_call>", "</tool_call>", CALL, '{"a": 1}', "<a>", "</a>", "right",
    "5", "3 * 5", "-1/2", " is 5", "\n", "\r\n", " ", "\t", "\u00a0", "\u200b", "\ufeff", "\u2028", "\ud800", "\U0001f600",
    "\u200d", "\uff15", "\u00b2", "\u207b\u00b3", "\u2080", "\u00bd", "\u2026", "\uff1c", "\uff03", "\ufb03", "\u0300",
    "\u2212", "\ufdfa",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_any_response(response: str) -> None:
    for verifier, truth, shows in CHECKS:
        verdict = judge(verifier, truth, response)
        assert (verdict.answer is None) == (verdict.span is None)
        if verdict.span is not None and verdict.answer is not None:
            start, end = verdict.span
            assert 0 <= start <= end <= len(response)
            assert shows(verdict.answer, response[start:end]), (verifier, verdict)
            assert isinstance(verifier, Matches) or response[start:end] == response[start:end].strip()
    for verifier in WITHOUT_ANSWER:
        verdict = judge(verifier, {}, response)
        assert verdict.answer is verdict.span is None
