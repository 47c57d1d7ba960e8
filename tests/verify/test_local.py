"""Judging a batch: every rollout gets its own verdicts, whoever judged it, however many did."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from slow_verifiers import Does, Mixed

from rlvr import Problem
from rlvr.build import plan
from rlvr.compose import compose
from rlvr.config import ConfigError, VerifyConfig
from rlvr.rules.pack import Rule, RulePack
from rlvr.types import Group, Rollout
from rlvr.verify.local import JudgingFailed, check_error_share, judge
from rlvr.verify.processes import shared

TWO = VerifyConfig(workers=2, deadline_s=0.2)


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
    assert four.groups == one.groups
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
    judged = judge([group(0, ["a", "sleep: 0.2", "b"]), group(1, ["sleep: 0.1", "sleep: 0.2"])], MIXED, TWO)
    a, first, b, second, third = judged.seconds
    assert first >= 0.2
    assert second >= 0.1
    assert third >= 0.2
    assert min(a, b) > 0.0


def test_errors_are_tried_again_as_often_as_asked_then_masked(tmp_path: Path) -> None:
    for retries, reward in ((0, None), (1, 1.0)):
        judged = judge([group(0, [f"fail_once: {tmp_path}/{retries}"])], pack(), replace(TWO, retries=retries))
        assert judged.groups[0].rollouts[0].reward == reward


def test_too_many_errors_stop_the_run_and_timeouts_do_not() -> None:
    judged = judge([group(0, ["fail: ", "spin: ", "spin: "])], pack(), TWO)
    check_error_share(judged.groups, pack(), 0.4)
    with pytest.raises(JudgingFailed, match=r"1 of 3 rollouts could not be judged, .*: mixed: crash: LookupError"):
        check_error_share(judged.groups, pack(), 0.3)


def test_ctrl_c_ends_what_is_judged_and_the_next_batch_is_judged_all_the_same(tmp_path: Path) -> None:
    """Nobody waits until the deadlines of those that sleep, and of those that are next."""
    verify, own = VerifyConfig(workers=2, deadline_s=10.0), set(psutil.Process().children())
    pool = shared(workers=2, deadline_s=10.0)

    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        judge([group(0, [f"meet: {tmp_path} 3"] * 6)], pack(), verify)
    assert len(list(tmp_path.iterdir())) == 2, "the others have not begun"
    assert set(psutil.Process().children()) <= own
    assert judge([group(0, ["echo: "])], pack(), verify).groups[0].rollouts[0].reward == 1.0
    assert shared(workers=2, deadline_s=10.0) is not pool


def test_nothing_to_judge() -> None:
    assert judge([], pack(), TWO).groups == ()
    assert judge([group(0, [])], pack(), TWO).seconds == ()


def test_a_pack_judges_slow_rules_without_being_told_how() -> None:
    judgement = MIXED.judge("echo: x", Problem(id="p", prompt="q", truth={}))
    assert judgement.reward == 1.5
    assert judgement.verdicts["parts"].answer == "echo: x"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("verify.workers=0", "verify.workers=0: must be at least 1"),
        ("verify.deadline_s=inf", "verify.deadline_s=inf: must be above 0"),
        ("verify.memory_mb=0", "verify.memory_mb=0: must be at least 1"),
        ("verify.workers=many", "verify.workers=many: Value 'many'"),
    ],
)
def test_bad_options(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(compose([override]))
    assert message in str(caught.value)
