"""Judging a batch: every rollout gets its own verdicts, whoever judged it, however many did."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from slow_verifiers import Does

from rlvr import Problem, Verdict
from rlvr.build import plan
from rlvr.compose import compose
from rlvr.config import ConfigError, VerifyConfig
from rlvr.rules.pack import Rule, RulePack
from rlvr.types import Group, Rollout
from rlvr.verify.local import JudgingFailed, check_error_share, judge


@dataclass(frozen=True, kw_only=True)
class Mixed(Does):
    """Slow for a turn that names an action, quick for any other. The answer says who judged."""

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        return None if ": " in completion else Verdict.scored(1.0, "correct", f"{os.getpid()} {problem.id} {completion}")


def group(number: int, texts: list[str]) -> Group:
    rollouts = tuple(Rollout(token_ids=(i,), logprobs=(0.0,), text=text, finish_reason="stop") for i, text in enumerate(texts))
    return Group(problem=Problem(id=f"p{number}", prompt="q", truth={}), prompt_ids=(), rollouts=rollouts)


def pack(**more: Any) -> RulePack:
    return RulePack(rules={"mixed": Rule(name="mixed", weight=1.0, verifier=Does(), **more)})


MIXED = RulePack(
    rules={
        "mixed": Rule(name="mixed", weight=1.0, verifier=Mixed()),
        "parts": Rule(
            name="parts",
            weight=0.5,
            parts=(
                Rule(name="slow", weight=1.0, verifier=Does(what="echo")),
                Rule(name="quick", weight=1.0, verifier=Mixed()),
            ),
            requires=("mixed",),
        ),
    }
)
TEXTS = [["echo: 0", "one", "spin: ", "echo: 3"], ["four", "fail: ", "refuse: six", "echo: 7"], ["exit_3: ", "echo: 9"]]


def test_verdicts_are_the_same_with_any_number_of_workers() -> None:
    groups = [group(i, texts) for i, texts in enumerate(TEXTS)]
    one, four = (judge(groups, MIXED, VerifyConfig(workers=n, deadline_s=0.2)) for n in (1, 4))
    assert one.groups == four.groups
    assert [[r.text for r in g.rollouts] for g in one.groups] == TEXTS
    assert [[r.token_ids for r in g.rollouts] for g in one.groups] == [[(i,) for i in range(len(texts))] for texts in TEXTS]
    assert [[r.reward for r in g.rollouts] for g in one.groups] == [[1.5, 1.5, 0.0, 1.5], [1.5, None, None, 1.5], [None, 1.5]]
    reasons = [[r.verdicts["mixed"].reason for r in g.rollouts] for g in one.groups]
    correct = "correct"
    assert reasons == [[correct, correct, "timeout", correct], [correct, "crash", "bad_truth", correct], ["crash", correct]]
    for judged in one.groups:
        for rollout in judged.rollouts:
            verdict = rollout.verdicts["mixed"]
            if ": " not in rollout.text:
                assert verdict.answer == f"{os.getpid()} {judged.problem.id} {rollout.text}", "here, without a detour"
            elif verdict.reason == "correct":
                assert verdict.answer == rollout.text


def test_slow_rollouts_are_judged_side_by_side(tmp_path: Path) -> None:
    """Each waits for the others, within and across groups."""
    groups = [group(i, [f"meet: {tmp_path} 4 {i} {j}" for j in range(2)]) for i in range(2)]
    judged = judge(groups, pack(), VerifyConfig(workers=4))
    assert [[r.verdicts["mixed"].reason for r in g.rollouts] for g in judged.groups] == [["correct"] * 2] * 2


def test_seconds_are_those_of_each_rollout() -> None:
    judged = judge([group(0, ["a", "sleep: 0.3", "b"]), group(1, ["sleep: 0.2", "sleep: 0.3"])], MIXED, VerifyConfig(workers=1))
    a, first, b, second, third = judged.seconds
    assert first >= 0.3
    assert second >= 0.2
    assert third >= 0.3
    assert min(a, b) > 0.0


def test_errors_are_tried_again_as_often_as_asked_then_masked(tmp_path: Path) -> None:
    for retries, reward in ((0, None), (1, 1.0)):
        judged = judge([group(0, [f"fail_once: {tmp_path}/{retries}"])], pack(), VerifyConfig(workers=1, retries=retries))
        assert judged.groups[0].rollouts[0].reward == reward


def test_too_many_errors_stop_the_run_and_timeouts_do_not() -> None:
    judged = judge([group(0, ["fail: ", "spin: ", "spin: "])], pack(), VerifyConfig(workers=2, deadline_s=0.1))
    check_error_share(judged.groups, pack(), 0.4)
    with pytest.raises(JudgingFailed, match=r"1 of 3 rollouts could not be judged, .*: mixed: crash: LookupError"):
        check_error_share(judged.groups, pack(), 0.3)


def test_nothing_to_judge() -> None:
    assert judge([], pack(), VerifyConfig()).groups == ()
    assert judge([group(0, [])], pack(), VerifyConfig()).seconds == ()


def test_a_pack_judges_slow_rules_without_being_told_how() -> None:
    judgement = MIXED.judge("echo: x", Problem(id="p", prompt="q", truth={}))
    assert judgement.reward == 1.5
    assert judgement.verdicts["parts"].answer == "echo: x"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("verify.workers=0", "verify.workers=0: must be at least 1"),
        ("verify.deadline_s=0", "verify.deadline_s=0.0: must be above 0"),
        ("verify.deadline_s=inf", "verify.deadline_s=inf: must be above 0"),
        ("verify.memory_mb=0", "verify.memory_mb=0: must be at least 1"),
        ("verify.workers=many", "verify.workers=many: Value 'many'"),
    ],
)
def test_bad_options(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(compose([override]))
    assert message in str(caught.value)
