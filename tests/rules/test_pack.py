"""Rules and packs: sums, parts, requirements, and three outcomes that are never mistaken for one another."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr import Problem, Verdict, Verifier
from rlvr.rules.rule import Rule
from rlvr.scoring.local.rule_pack import LocalRulePack
from rlvr.types import Span

PROBLEM = Problem(id="p", prompt="q", truth={"answer": "7", "nested": {"list": [1, {"a": 2}]}})


@dataclass(frozen=True, kw_only=True)
class Says(Verifier):
    """Always gives the same verdict, or raises."""

    verdict: Verdict | None

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        if self.verdict is None:
            raise ZeroDivisionError("a bug of ours")
        return self.verdict


def rule(name: str, weight: float, score: float | Verdict | None, **more: Any) -> Rule:
    verdict = Verdict.scored(score, "some") if isinstance(score, float) else score
    return Rule(name=name, weight=weight, verifier=Says(verdict=verdict), **more)


def pack(*rules: Rule) -> LocalRulePack:
    return LocalRulePack(rules={each.name: each for each in rules})


def test_reward_is_the_weighted_sum() -> None:
    judgement = pack(rule("a", 1.0, 0.5), rule("b", 0.1, 1.0), rule("c", -0.25, 1.0), rule("d", 0.0, 1.0)).judge("", PROBLEM)
    assert judgement.reward == 0.5 + 0.1 - 0.25
    assert list(judgement.verdicts) == ["a", "b", "c", "d"]
    assert judgement.outcome == "scored"


def test_the_sum_is_rounded_once_so_that_no_order_of_rules_changes_a_reward() -> None:
    rules = [rule(name, weight, 1.0) for name, weight in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    assert 0.1 + 0.2 + 0.3 != 0.6, "added up one by one"
    assert {pack(*order).judge("", PROBLEM).reward for order in itertools.permutations(rules)} == {0.6}


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 1)), min_size=1, max_size=5))
def test_reward_stays_within_the_bounds(rules: list[tuple[float, float]]) -> None:
    rules_pack = pack(*[rule(str(i), weight, score) for i, (weight, score) in enumerate(rules)])
    low, high = rules_pack.bounds
    reward = rules_pack.judge("", PROBLEM).reward
    assert reward is not None
    assert low - 1e-9 <= reward <= high + 1e-9


def test_unscorable_and_error_mask_and_differ() -> None:
    unscorable, fine = Verdict.unscorable("bad_truth"), Verdict.scored(1.0, "correct")
    for weight, verdict, outcome in ((1.0, unscorable, "unscorable"), (1.0, None, "error"), (0.0, unscorable, "scored")):
        judgement = pack(rule("a", weight, verdict), rule("b", 1.0, fine)).judge("", PROBLEM)
        assert judgement.outcome == outcome
        assert judgement.reward == (None if weight else 1.0)
    both = pack(rule("a", 1.0, unscorable), rule("b", 1.0, None)).judge("", PROBLEM)
    assert both.outcome == "error"
    assert both.verdicts["b"].reason == "crash"
    assert "ZeroDivisionError: a bug of ours" in both.verdicts["b"].detail


def test_parts_are_a_weighted_mean() -> None:
    parts = (rule("tags", 0.8, 1.0), rule("length", 0.2, 0.0))
    judgement = pack(Rule(name="format", weight=0.1, parts=parts)).judge("", PROBLEM)
    assert judgement.verdicts["format"].score == pytest.approx(0.8)
    assert judgement.reward == pytest.approx(0.08)
    assert judgement.verdicts["format"].detail == "tags: 1.0 some; length: 0.0 some"
    broken = Rule(name="format", weight=0.1, parts=(rule("tags", 0.8, 1.0), rule("length", 0.2, None)))
    assert pack(broken).judge("", PROBLEM).outcome == "error"


def test_requires_needs_full_score_and_any_order() -> None:
    dependent = rule("answer", 1.0, 1.0, requires=("format",))
    assert pack(dependent, rule("format", 0.1, 1.0)).judge("", PROBLEM).reward == 1.1
    short = pack(dependent, rule("format", 0.1, 0.8)).judge("", PROBLEM)
    assert (short.reward, short.verdicts["answer"].reason) == (pytest.approx(0.08), "requires")
    failed = pack(dependent, rule("format", 0.1, None)).judge("", PROBLEM)
    assert (failed.reward, failed.verdicts["answer"].outcome) == (None, "error")
    assert list(short.verdicts) == ["answer", "format"]


PREFILLED = Problem(id="p", prompt="q <think>", truth={}, prefill="<think>")


@pytest.mark.parametrize(
    ("in_response", "in_completion"),
    [
        ((9, 12), (2, 5)),
        ((7, 7), (0, 0)),
        ((5, 9), (0, 2)),
        ((0, 7), None),
        ((3, 3), None),
        (None, None),
    ],
)
def test_a_span_is_that_of_the_completion(in_response: Span | None, in_completion: Span | None) -> None:
    found = rule("a", 1.0, Verdict.scored(1.0, "correct", "x", span=in_response))
    assert pack(found).judge("12345", PREFILLED).verdicts["a"].span == in_completion
    assert pack(found).judge("12345", PROBLEM).verdicts["a"].span == in_response, "without a prefill"


def test_the_span_of_parts_is_that_of_the_answer_shown() -> None:
    silent, first, last = (
        rule(name, 1.0, Verdict.scored(1.0, "correct", answer, span=span))
        for name, answer, span in (("silent", None, (8, 9)), ("first", "x", (9, 10)), ("last", "y", (10, 11)))
    )
    for parts, answer, span in (
        ((silent, first, last), "x", (2, 3)),
        ((last, first), "y", (3, 4)),
        ((silent,), None, None),
    ):
        verdict = pack(Rule(name="all", weight=1.0, parts=parts)).judge("12345", PREFILLED).verdicts["all"]
        assert (verdict.answer, verdict.span) == (answer, span)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pack, "holds no rules"),
        (lambda: rule("a", float("nan"), 1.0), "a.weight=nan: must be a finite number"),
        (lambda: rule("a", float("inf"), 1.0), "a.weight=inf: must be a finite number"),
        (lambda: rule("a", True, 1.0), "a.weight=True: must be a finite number"),
        (lambda: Rule(name="a", weight=1.0), "either a verifier or parts"),
        (lambda: Rule(name="a", weight=1.0, parts=(rule("b", 0.0, 1.0),)), "one must be above 0"),
        (lambda: pack(rule("a", 1.0, 1.0, requires=("b",))), "rules.a.requires=b: the pack's rules are a"),
        (lambda: pack(rule("a", 1.0, 1.0, requires=("b",)), rule("b", 1.0, 1.0, requires=("a",))), "in a circle"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "verdict",
    [
        {"outcome": "scored", "score": None},
        {"outcome": "error", "score": 0.0},
        {"outcome": "unscorable", "score": 1.0},
        {"outcome": "scored", "score": 1.1},
        {"outcome": "scored", "score": -0.1},
        {"outcome": "scored", "score": float("nan")},
    ],
)
def test_a_verdict_cannot_contradict_itself(verdict: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="score"):
        Verdict(reason="x", **verdict)


def test_ground_truths_are_read_only_at_any_depth_and_can_be_pickled() -> None:
    for change in (
        lambda t: t.pop("answer"),
        lambda t: t.update(answer="8"),
        lambda t: t["nested"].clear(),
        lambda t: t["nested"]["list"][1].__setitem__("a", 3),
        lambda t: t["nested"]["list"].append(3),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change(PROBLEM.truth)
    assert PROBLEM.truth == {"answer": "7", "nested": {"list": (1, {"a": 2})}}
    assert pickle.loads(pickle.dumps(PROBLEM)) == PROBLEM
