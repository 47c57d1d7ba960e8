"""Messages of remote scoring: what is read equals what was written, or it is refused; nothing else can be constructed."""

from __future__ import annotations

import base64
import enum
import json
import re
import zlib
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr import Problem, Verdict, Verifier
from rlvr.config.compose import CONF, options
from rlvr.rules.load import read_pack
from rlvr.rules.rule import Rule
from rlvr.scoring.remote import protocol
from rlvr.verifiers.math import MathAnswer

OURS = ("rlvr.",)
TEXTS = st.text(st.characters(codec=None, categories=None, min_codepoint=0, max_codepoint=0x10FFFF), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
PAIR = "\ud83d" + "\ude00"
"""Two lone surrogates, which JSON's escapes would join into one character."""


def verifiers_of(rule: Rule) -> list[Verifier]:
    return [*([rule.verifier] if rule.verifier else []), *(each for part in rule.parts for each in verifiers_of(part))]


def test_every_verifier_of_every_pack_survives() -> None:
    seen = 0
    for name in options("rules"):
        if name == "reasoning_gym" and find_spec("reasoning_gym") is None:
            continue
        for rule in read_pack((CONF / "rules" / f"{name}.yaml").read_text()).rules.values():
            for verifier in verifiers_of(rule):
                again = protocol.read_verifier(protocol.verifier_text(verifier, OURS), OURS)
                assert again == verifier
                assert repr(again) == repr(verifier)
                seen += 1
    assert seen > 15


@given(truth=st.dictionaries(TEXTS, PLAIN, max_size=4), prompt=TEXTS, prefill=TEXTS, dataset=TEXTS)
def test_problems_survive(truth: dict[str, Any], prompt: str, prefill: str, dataset: str) -> None:
    problem = Problem(id="p", prompt=prompt, truth=truth, metadata={"dataset": dataset}, prefill=prefill)
    batch = protocol.Batch(
        deadline_s=0.5,
        memory_mb=3,
        tasks=(protocol.Task(id="t", verifier="v", problem=protocol.problem_text(problem), response=prompt + PAIR),),
    )
    again = protocol.unpack(protocol.pack(batch))
    assert again == batch
    assert repr(protocol.read_problem(again.tasks[0].problem)) == repr(problem)


def test_a_problem_is_sent_once_for_all_its_tasks() -> None:
    text = protocol.problem_text(Problem(id="p", prompt="q", truth={"x": [str(i) for i in range(100_000)]}))
    tasks = tuple(protocol.Task(id=str(i), verifier="v", problem=text, response="") for i in range(16))
    one = protocol.pack(protocol.Batch(deadline_s=1, memory_mb=1, tasks=tasks[:1]))
    many = protocol.pack(protocol.Batch(deadline_s=1, memory_mb=1, tasks=tasks))
    assert len(many) < 1.01 * len(one)
    assert protocol.unpack(many).tasks == tasks


class Number(enum.IntEnum):
    SEVEN = 7


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        ({"a": {1: "x"}}, "problem.truth.a does not survive JSON: the key 1 is a int"),
        ({"a": [b"x"]}, "problem.truth.a[0] does not survive JSON: it is a bytes"),
        ({"a": {"x"}}, "problem.truth.a does not survive JSON: it is a set"),
        ({"a": Number.SEVEN}, "problem.truth.a does not survive JSON: it is a Number"),
        ({"a": 10**5000}, "Exceeds the limit"),
    ],
)
def test_a_ground_truth_that_json_would_change_is_refused(truth: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        protocol.problem_text(Problem(id="p", prompt="q", truth=truth))


@dataclass(frozen=True, kw_only=True)
class Odd(Verifier):
    """Has a field that JSON cannot write, or reads back as something else."""

    value: Any = None
    derived: int = field(init=False, default=3)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        return Verdict.scored(1.0, "correct")


class NoDataclass(Verifier):
    def __call__(self, completion: str, problem: Problem) -> Verdict:
        return Verdict.scored(1.0, "correct")


@pytest.mark.parametrize(
    ("verifier", "prefixes", "why"),
    [
        (Odd(value=(1, 2)), ("test_protocol", *OURS), "test_protocol.Odd does not survive JSON"),
        (Odd(value=b"x"), ("test_protocol", *OURS), "bytes is not JSON serializable"),
        (Odd(), OURS, "verifier._target_=test_protocol.Odd: allowed are rlvr. (list more in rules_from)"),
        (NoDataclass(), ("test_protocol",), "NoDataclass is no dataclass"),
    ],
)
def test_a_verifier_that_json_would_change_is_refused(verifier: Verifier, prefixes: tuple[str, ...], why: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(why)):
        protocol.verifier_text(verifier, prefixes)
    assert protocol.verifier_text(Odd(value=[1, {"a": None}]), ("test_protocol",))


@pytest.mark.parametrize(
    "target", ["subprocess.Popen", "os.system", "rlvr.rules.load.rule_pack", "rlvr.types.Problem", "slow_verifiers.Does"]
)
def test_nothing_else_is_constructed(target: str) -> None:
    with pytest.raises(ValueError, match="_target_"):
        protocol.read_verifier(json.dumps({"_target_": target, "args": "touch /tmp/x"}), OURS)


def packed(value: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


LIMITS = {"deadline_s": 1, "memory_mb": 1}
ODD_LIMITS = [{"deadline_s": float("inf")}, {"deadline_s": 0}, {"deadline_s": -1}, {"memory_mb": 0}, {"memory_mb": -5}]
NO_BATCHES = [
    "",
    "é",
    "!!",
    base64.b64encode(b"x").decode(),
    packed([]),
    packed(None),
    packed({**LIMITS}),
    packed({**LIMITS, "verifiers": [], "problems": [], "tasks": [["t", 0, 0, "x"]]}),
    packed({**LIMITS, "verifiers": ["v"], "problems": ["p"], "tasks": [["t", 0, 0]]}),
    packed({**LIMITS, "verifiers": ["v"], "problems": ["p"], "tasks": [["t", "0", 0, "x"]]}),
    packed({**LIMITS, "verifiers": ["v"], "problems": [{}], "tasks": [["t", 0, 0, "x"]]}),
    packed({**LIMITS, "verifiers": ["v"], "problems": ["p"], "tasks": [[7, 0, 0, "x"]]}),
    packed({"deadline_s": "soon", "memory_mb": 1, "verifiers": ["v"], "problems": ["p"], "tasks": []}),
    packed({"deadline_s": 1, "memory_mb": 1e400, "verifiers": ["v"], "problems": ["p"], "tasks": []}),
    *(packed({**LIMITS, **odd, "verifiers": ["v"], "problems": ["p"], "tasks": []}) for odd in ODD_LIMITS),
    base64.b64encode(zlib.compress(b"[" * 200_000)).decode(),
    base64.b64encode(zlib.compress(b" " * (1 << 20) + b"x", 9)).decode(),
]


@pytest.mark.parametrize("payload", NO_BATCHES, ids=range(len(NO_BATCHES)))
def test_no_batch_is_refused(payload: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_BATCH", 1 << 20)
    with pytest.raises(ValueError, match="no batch"):
        protocol.unpack(payload)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"id": "p"}', json.dumps({"id": "p", "prompt": "q", "truth": [], "metadata": {}, "prefill": ""})],
)
def test_no_problem_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="problem|Expecting"):
        protocol.read_problem(text)


def test_results_are_read_by_id() -> None:
    right, wrong = Verdict.scored(1.0, "correct", PAIR, span=(3, 5)), Verdict.unscorable("bad_truth", "x")
    data = protocol.pack_result({"b": wrong, "a": right}, 0.25)
    verdicts, seconds = protocol.unpack_result(data, ["a", "b", "c"])
    assert (verdicts["a"], verdicts["b"], seconds) == (right, wrong, 0.25)
    assert type(verdicts["a"].span) is tuple
    assert (verdicts["c"].outcome, verdicts["c"].reason, verdicts["c"].score) == ("error", "bad_result", None)


FULL = {"outcome": "scored", "score": 1.0, "reason": "correct", "answer": None, "detail": "", "span": [0, 2]}
FORGED: list[Any] = [
    None,
    [FULL],
    "correct",
    {},
    {**FULL, "score": 2.0},
    {**FULL, "score": float("nan")},
    {**FULL, "score": None},
    {**FULL, "score": "1"},
    {**FULL, "score": True, "outcome": "error"},
    {**FULL, "outcome": "right"},
    {**FULL, "reason": 3},
    {**FULL, "answer": ["x"]},
    {**FULL, "more": 1},
    {**FULL, "span": 3},
    {**FULL, "span": "01"},
    {**FULL, "span": []},
    {**FULL, "span": [1]},
    {**FULL, "span": [1, 2, 3]},
    {**FULL, "span": [2, 1]},
    {**FULL, "span": [-1, 1]},
    {**FULL, "span": [0, 1.0]},
    {**FULL, "span": [False, True]},
    {**FULL, "span": [0, 1 << 31]},
    {**FULL, "span": {"0": 0, "1": 1}},
]


@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
def test_a_forged_verdict_is_an_error_and_costs_no_other(forged: Any) -> None:
    data = json.dumps({"seconds": 1, "verdicts": {"a": forged, "b": FULL}}).encode()
    verdicts, _ = protocol.unpack_result(data, ["a", "b"])
    assert (verdicts["a"].outcome, verdicts["a"].score, verdicts["a"].reason) == ("error", None, "bad_result")
    assert verdicts["b"].score == 1.0


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"{}", b'{"seconds": -1, "verdicts": {}}', b'{"seconds": NaN, "verdicts": {}}', b"[" * 9**6]
)
def test_a_forged_result_is_an_error_for_all(data: bytes) -> None:
    verdicts, seconds = protocol.unpack_result(data, ["a", "b"])
    assert [(v.outcome, v.reason) for v in verdicts.values()] == [("error", "bad_result")] * 2
    assert seconds == 0


def test_equal_texts_give_the_same_verifier_object() -> None:
    """So that a verifier which prepares something does so once, and not for every task."""
    text = protocol.verifier_text(MathAnswer(), OURS)
    assert protocol.read_verifier(text, OURS) is protocol.read_verifier(text, OURS)
