"""FunctionCall: which texts make which calls, their scores, and that spraying and repeating calls gains nothing."""

from __future__ import annotations

import itertools
import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled import sampled

from rlvr import Problem, load_rules
from rlvr.types import Verdict
from rlvr.verifiers.structured.calls import MAX_CALLS, FunctionCall

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of the coming days",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
NOW = {"name": "now"}
STORE = {"name": "store", "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}}
TOOLS = [WEATHER, NOW, STORE]


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


PARIS, ROME, NOW_CALL = call("weather", city="Paris", days=2), call("weather", city="Rome", days=2), call("now")
GOOD = json.dumps(PARIS)


def judge(text: str, *expected: Any, **options: Any) -> Verdict:
    return FunctionCall(**options)(text, Problem(id="p", prompt="q", truth={"tools": TOOLS, "calls": expected}))


def openai(*calls: dict[str, Any]) -> str:
    """As in a message of OpenAI's API."""
    functions = [{"name": each["name"], "arguments": json.dumps(each["arguments"])} for each in calls]
    made = [{"id": f"call_{i}", "type": "function", "function": each} for i, each in enumerate(functions)]
    return json.dumps({"role": "assistant", "content": None, "tool_calls": made})


def hermes(*calls: dict[str, Any]) -> str:
    return "\n".join(f"<tool_call>\n{json.dumps(each)}\n</tool_call>" for each in calls)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f" \n{GOOD}\n",
        f"[{GOOD}]",
        openai(PARIS),
        f"```json\n{openai(PARIS)}\n```",
        f"I will look.\n```json\n{GOOD}\n```",
        json.dumps({"type": "function", "function": PARIS}),
        json.dumps({"tool_calls": [PARIS]}),
        hermes(PARIS),
        f"Let me look.\n{hermes(PARIS)}\n",
        f"<tool_call>{GOOD}</tool_call>",
        f"<think>{hermes(ROME)} or {GOOD}?</think>{hermes(PARIS)}",
        f"<think>Paris, then</think>\n<answer>{GOOD}</answer>",
        json.dumps(call("weather", days=2, city="Paris")),
        GOOD.replace("2}", "2.0}"),
        GOOD.replace("Paris", "\\u0050aris"),
    ],
)
def test_every_way_to_make_the_right_call(text: str) -> None:
    assert judge(text, PARIS).score == 1.0
    assert judge(text, PARIS, order="any").reason == "correct"


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        (json.dumps(ROME), 0.4, "wrong_arguments"),
        (json.dumps(call("weather", city="paris", days=2)), 0.4, "wrong_arguments"),
        (json.dumps(call("weather", city="Paris")), 0.4, "wrong_arguments"),
        (json.dumps(call("weather", city="Paris", days=2, unit="C")), 0.4, "wrong_arguments"),
        (json.dumps(call("weather", city="Paris", days="2")), 0.2, "invalid_arguments"),
        (json.dumps(call("weather", city="Paris", days=True)), 0.2, "invalid_arguments"),
        (json.dumps(call("weather", days=2)), 0.2, "invalid_arguments"),
        (json.dumps(call("weather", city="Paris", days=2, hours=3)), 0.2, "invalid_arguments"),
        (json.dumps(NOW_CALL), 0.0, "wrong_function"),
        (json.dumps(call("Weather", city="Paris", days=2)), 0.0, "wrong_function"),
        (json.dumps(call("rm", path="/")), 0.0, "wrong_function"),
        # more than was asked for
        (hermes(PARIS, PARIS), 0.5, "extra_calls"),
        (hermes(ROME, PARIS), 0.5, "extra_calls"),
        (openai(*(call("weather", city=city, days=2) for city in ("Oslo", "Rome", "Bonn", "Paris"))), 0.25, "extra_calls"),
        # none
        ("It will rain in Paris.", 0.0, "no_call"),
        ("[]", 0.0, "no_call"),
        ('{"tool_calls": []}', 0.0, "no_call"),
        ('{"city": "Paris", "days": 2}', 0.0, "no_call"),
        ("", 0.0, "no_answer"),
        (f"<think>{GOOD}</think>", 0.0, "no_answer"),
        (f"<think>{hermes(PARIS)}", 0.0, "no_answer"),
        (f"<think>{hermes(PARIS)}</think>No.", 0.0, "no_call"),
        # not a call that could be executed
        (f"Sure: {GOOD}", 0.0, "unparsable"),
        (f"{GOOD} there you go", 0.0, "unparsable"),
        (f"{GOOD}\n{GOOD}", 0.0, "unparsable"),
        (f"<tool_call>{GOOD}", 0.0, "unparsable"),
        (f"{GOOD}</tool_call>", 0.0, "unparsable"),
        (f"{hermes(PARIS)}</tool_call>", 0.0, "unparsable"),
        (f"{hermes(PARIS)}<tool_call>", 0.0, "unparsable"),
        (f"</tool_call>{hermes(PARIS)}", 0.0, "unparsable"),
        (f"<tool_call>{hermes(PARIS)}</tool_call>", 0.0, "unparsable"),
        (f"<tool_call>{GOOD}{GOOD}</tool_call>", 0.0, "unparsable"),
        (f"<tool_call>[{GOOD}]</tool_call>", 0.0, "unparsable"),
        ("<tool_call>weather(city='Paris', days=2)</tool_call>", 0.0, "unparsable"),
        (f"```json\n{GOOD}\n```\n```json\n{{}}\n```", 0.0, "unparsable"),  # the last block counts, and calls nothing
        (GOOD.replace('"days": 2', '"days": 2, "days": 2'), 0.0, "unparsable"),
        (GOOD.replace('"days": 2', '"days": NaN'), 0.0, "unparsable"),
        (GOOD.replace('"days": 2', '"days": 1e400'), 0.0, "unparsable"),
        ('{"name": "weather", "arguments": [1]}', 0.0, "unparsable"),
        ('{"name": "weather", "arguments": "Paris"}', 0.0, "unparsable"),
        ('{"name": "weather", "arguments": null}', 0.0, "unparsable"),
        ('{"name": ["weather"], "arguments": {}}', 0.0, "unparsable"),
        ('{"function": "weather", "arguments": {}}', 0.0, "unparsable"),
        ('{"tool_calls": {"name": "weather", "arguments": {}}}', 0.0, "unparsable"),
        (f"[{GOOD}, 3]", 0.0, "unparsable"),
        (GOOD.replace("2}", f"{'[' * 70}{']' * 70}}}"), 0.0, "too_large"),
        (hermes(*[PARIS] * (MAX_CALLS + 1)), 0.0, "too_many_calls"),
        (json.dumps(call("weather", city="P" * 200_000)), 0.0, "too_large"),
    ],
)
def test_what_is_not_the_right_call(text: str, score: float, reason: str) -> None:
    for order in ("exact", "any"):
        verdict = judge(text, PARIS, order=order)
        assert (verdict.score, verdict.reason) == (pytest.approx(score), reason)


def test_arguments_may_hold_the_tags_as_text() -> None:
    tagged = call("store", text="</tool_call><tool_call>{}")
    assert judge(hermes(tagged, NOW_CALL), tagged, NOW_CALL).score == 1.0


@pytest.mark.parametrize(
    ("made", "exact", "anyhow", "reason"),
    [
        ((PARIS, ROME, NOW_CALL), 1.0, 1.0, "correct"),
        ((NOW_CALL, PARIS, ROME), 2 / 3, 1.0, "wrong_order"),
        ((ROME, PARIS, NOW_CALL), 2 / 3, 1.0, "wrong_order"),
        ((PARIS, NOW_CALL), 2 / 3, 2 / 3, "missing_calls"),
        ((PARIS,), 1 / 3, 1 / 3, "missing_calls"),
        ((NOW_CALL, PARIS, ROME, NOW_CALL), 3 / 4, 3 / 4, "extra_calls"),
        ((PARIS, ROME, NOW_CALL, PARIS, ROME, NOW_CALL), 1 / 2, 1 / 2, "extra_calls"),
        ((PARIS, PARIS, NOW_CALL), 2.4 / 3, 2.4 / 3, "wrong_arguments"),
        ((PARIS, call("weather"), NOW_CALL), 2.2 / 3, 2.2 / 3, "invalid_arguments"),
        ((PARIS, ROME, ROME), 2 / 3, 2 / 3, "wrong_function"),
    ],
)
def test_several_calls(made: tuple[dict[str, Any], ...], exact: float, anyhow: float, reason: str) -> None:
    for text in (hermes(*made), openai(*made), json.dumps(made)):
        verdict = judge(text, PARIS, ROME, NOW_CALL)
        assert (verdict.score, verdict.reason) == (pytest.approx(exact), reason)
        assert judge(text, PARIS, ROME, NOW_CALL, order="any").score == pytest.approx(anyhow)


OTHERS = [call("weather", city="Oslo"), call("weather"), call("now", a=1)]
CALLS = st.lists(st.sampled_from([PARIS, ROME, NOW_CALL, *OTHERS]), max_size=4)
EXPECTED = st.lists(st.sampled_from([PARIS, ROME, NOW_CALL]), min_size=1, max_size=4)


@given(EXPECTED, CALLS)
def test_the_matching_is_optimal(expected: list[Any], made: list[Any]) -> None:
    """Compared with all matchings, by brute force."""

    def pair(wanted: Any, got: Any) -> float:
        if wanted["name"] != got["name"]:
            return 0.0
        invalid = got in (call("weather"), call("now", a=1))
        return 1.0 if wanted == got else 0.2 if invalid else 0.4

    n_most = max(len(expected), len(made))
    padded = [*made, *[{"name": ""}] * len(expected)]
    best = max(sum(map(pair, expected, order)) for order in itertools.permutations(padded, len(expected)))
    assert judge(hermes(*made) or "none", *expected, order="any").score == pytest.approx(best / n_most)
    assert (judge(hermes(*made) or "none", *expected).score or 0.0) <= best / n_most + 1e-9


@given(EXPECTED, CALLS, st.randoms())
def test_extra_or_missing_calls_never_gain(expected: list[Any], made: list[Any], random: Any) -> None:
    for order in ("exact", "any"):
        right = judge(hermes(*expected), *expected, order=order)
        assert right.score == 1.0
        if made:
            sprayed = [*expected, *made]
            random.shuffle(sprayed)
            assert (judge(hermes(*sprayed), *expected, order=order).score or 0.0) < 1.0
        assert (judge(hermes(*expected[1:]) or "none", *expected, order=order).score or 0.0) < 1.0


def test_offering_all_choices_earns_no_more_than_one_of_them_on_average() -> None:
    choices = [call("weather", city=city) for city in ("Paris", "Rome", "Oslo", "Bonn")]
    alone = sum(judge(hermes(each), choices[0]).score or 0.0 for each in choices) / len(choices)
    for n in (2, 3, 4):
        offers = list(itertools.combinations(choices, n))
        sprayed = sum(judge(hermes(*offer), choices[0], order="any").score or 0.0 for offer in offers) / len(offers)
        assert sprayed < alone


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        ("There is no tool for that.", 1.0, "correct"),
        ('{"answer": 3}', 1.0, "correct"),
        ("[]", 1.0, "correct"),
        (f"<think>{GOOD}? no</think>I cannot.", 1.0, "correct"),
        (GOOD, 0.0, "unexpected_call"),
        (hermes(NOW_CALL), 0.0, "unexpected_call"),
        (f"I cannot. {hermes(NOW_CALL)}", 0.0, "unexpected_call"),
        (f"I cannot. {GOOD}", 0.0, "unparsable"),
        (GOOD[:-3], 0.0, "unparsable"),
        ("<tool_call>", 0.0, "unparsable"),
        ("", 0.0, "no_answer"),
        ("<think>whether to call", 0.0, "no_answer"),
    ],
)
def test_if_no_call_is_expected_none_may_be_made(text: str, score: float, reason: str) -> None:
    for style in ("openai", "hermes", "either"):
        verdict = judge(text, style=style)
        assert verdict.score == score
        assert verdict.reason in (reason, "wrong_style")


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        (GOOD, 1.0, "correct"),
        (hermes(ROME, NOW_CALL), 1.0, "correct"),
        (hermes(ROME, call("weather")), 0.75, "invalid_arguments"),
        (hermes(call("rm")), 0.0, "wrong_function"),
        (hermes(call("now", at=1)), 0.5, "invalid_arguments"),  # a tool without parameters takes none
        ("no", 0.0, "no_call"),
    ],
)
def test_without_expected_calls_validity_counts(text: str, score: float, reason: str) -> None:
    verdict = FunctionCall()(text, Problem(id="p", prompt="q", truth={"tools": TOOLS}))
    assert (verdict.score, verdict.reason) == (score, reason)


def test_styles() -> None:
    for style, right, wrong in (("openai", openai(PARIS), hermes(PARIS)), ("hermes", hermes(PARIS), openai(PARIS))):
        assert judge(right, PARIS, style=style).score == 1.0
        assert judge(wrong, PARIS, style=style).reason == "wrong_style"


def test_shares() -> None:
    assert judge(json.dumps(ROME), PARIS, name_share=0.5, valid_share=0.0).score == 0.5
    assert judge(json.dumps(ROME), PARIS, name_share=0.0, valid_share=0.0).score == 0.0
    assert judge(hermes(PARIS, PARIS, PARIS), PARIS, PARIS, PARIS, name_share=0.1, valid_share=0.7).score == 1.0


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({}, "no key 'tools' (it has: none)"),
        ({"calls": [PARIS]}, "no key 'tools' (it has: calls)"),
        ({"tools": []}, "at least one tool"),
        ({"tools": WEATHER}, "at least one tool"),
        ({"tools": "["}, "Expecting value"),
        ({"tools": [{1, 2}]}, "not JSON"),
        ({"tools": [WEATHER, WEATHER]}, "its own name"),
        ({"tools": ["weather"]}, "its own name"),
        ({"tools": [{"type": "function", "function": "weather"}]}, "its own name"),
        ({"tools": [{"name": "a", "parameters": {"city": {"type": "str"}}}]}, "a schema of type object"),
        ({"tools": [{"name": "a", "parameters": {"type": "object", "properties": {"b": {"type": "str"}}}}]}, "'str'"),
        ({"tools": [{"name": "a", "parameters": {"type": "object", "properties": {"b": {"pattern": "(?!x)"}}}}]}, "RE2"),
        ({"tools": TOOLS, "calls": PARIS}, "calls must be a list"),
        ({"tools": TOOLS, "calls": [PARIS] * 65}, "at most 64"),
        ({"tools": TOOLS, "calls": ["weather"]}, "needs a name and arguments"),
        ({"tools": TOOLS, "calls": [{"name": "now"}]}, "needs a name and arguments"),
        ({"tools": TOOLS, "calls": [call("rain")]}, "'rain' is to none of the tools"),
        ({"tools": TOOLS, "calls": [call("weather")]}, "'weather' breaks the schema"),
        ({"tools": TOOLS, "calls": [call("now", at=1)]}, "'now' breaks the schema"),
    ],
)
def test_a_truth_that_cannot_be_checked_is_unscorable_never_zero(truth: dict[str, Any], message: str) -> None:
    problem = Problem(id="p", prompt="q", truth=truth)
    verdict = FunctionCall()(GOOD, problem)
    assert (verdict.outcome, verdict.reason) == ("unscorable", "bad_truth")
    assert message in verdict.detail
    assert FunctionCall().check_truth(problem.truth) == verdict.detail


def test_tools_and_calls_may_be_json_texts() -> None:
    """As in data sets that are tables."""
    for expected in (
        [PARIS],
        [{"type": "function", "function": PARIS}],
        [{**PARIS, "arguments": json.dumps(PARIS["arguments"])}],
    ):
        problem = Problem(id="p", prompt="q", truth={"tools": json.dumps(TOOLS), "calls": json.dumps(expected)})
        assert FunctionCall()(GOOD, problem).score == 1.0


@pytest.mark.parametrize(
    "options",
    [{"style": "xml"}, {"order": "none"}, {"name_share": -0.1}, {"name_share": 1.0}, {"valid_share": 0.8}, {"valid_share": -1}],
)
def test_bad_options_name_the_key_and_the_value(options: dict[str, Any]) -> None:
    ((key, value),) = options.items()
    with pytest.raises(ValueError, match=f"{key}={value}: must"):
        FunctionCall(**options)


PIECES = st.sampled_from(
    [*"[]{},:", "<think>", "</think>", "<tool_call>", "</tool_call>", "```json\n", "\n```", GOOD, '{"tool_calls":', '"name"',
     '"arguments"', '"now"', "\x00", "\ud800", '"\\ud800"', "NaN", "1e999"]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_anywhere(text: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        for truth in ({"tools": TOOLS, "calls": [PARIS, NOW_CALL]}, {"tools": TOOLS, "calls": []}, {"tools": TOOLS}):
            problem = Problem(id="p", prompt="q", truth=truth)
            for verifier in (FunctionCall(), FunctionCall(order="any", style="hermes")):
                first = verifier(text, problem)
                assert first.outcome == "scored"
                assert first == pickle.loads(pickle.dumps(verifier))(text, problem)
                assert first == pool.submit(verifier, text, problem).result()


def test_a_name_that_cannot_be_written_does_not_reach_the_verdict() -> None:
    verdict = judge('{"name": "\\ud800", "arguments": {"\\ud800": "\\ud800"}}', PARIS)
    assert verdict.reason == "wrong_function"
    repr((verdict.answer, verdict.detail)).encode()
    assert (verdict.answer or "").encode()


PIECES_400K = ["<tool_call>", "</tool_call>", "<tool_call></tool_call>", "<tool_call> ", hermes(NOW_CALL), GOOD, f"{GOOD},",
               "[", '{"arguments":', '"', "\\", "<think>", "```json\n", " ", "\n"]  # fmt: skip


@pytest.mark.parametrize("piece", sampled(PIECES_400K))
def test_long_hostile_text_takes_no_time(piece: str) -> None:
    """A quadratic scan of 400,000 characters would take minutes."""
    start = time.process_time()
    for n_chars in (400_000, 99_000):  # more than is read, and all of it read
        text = piece * (n_chars // len(piece))
        for response in (text, f"[{text.rstrip(',')}]", f"<tool_call>{text}</tool_call>", f'{{"tool_calls": [{text}]}}'):
            assert judge(response, PARIS, order="any").outcome == judge(response).outcome == "scored"
    assert time.process_time() - start < 10


def test_the_pack() -> None:
    problem, rules = Problem(id="p", prompt="q", truth={"tools": TOOLS, "calls": [PARIS]}), load_rules("function_call")
    assert [rules.judge(text, problem).reward for text in (GOOD, json.dumps(ROME), "no")] == [1.0, 0.4, 0.0]
    response = f"<think>as they asked me</think><answer>{hermes(PARIS)}</answer>"
    assert load_rules("r1_format+function_call").judge(response, problem).reward == pytest.approx(1.1)
