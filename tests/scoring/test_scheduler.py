"""Scoring a batch: every rollout gets its own verdicts with any number of workers; identical inputs are scored once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from slow_verifiers import Does, Located, Mixed, Notes, Programs

from rlvr import Problem, Verdict
from rlvr.rules.rule import Rule
from rlvr.scoring.local.rule_pack import LocalRulePack
from rlvr.scoring.local.supervisor import Supervisor, shared
from rlvr.scoring.scheduler import ScoredGroups, ScoringBatch, ScoringFailed, check_error_share, scoring
from rlvr.types import Group, Rollout


def score(
    groups: list[Group], rules: LocalRulePack, *, workers: int = 2, deadline_s: float = 0.2, retries: int = 1
) -> ScoredGroups:
    with scoring(rules, shared(workers=workers, deadline_s=deadline_s), retries=retries) as batch:
        return batch.collect(groups)


def group(number: int, texts: list[str]) -> Group:
    rollouts = tuple(Rollout(token_ids=(i,), logprobs=(0.0,), text=text, finish_reason="stop") for i, text in enumerate(texts))
    return Group(problem=Problem(id=f"p{number}", prompt="q", truth={}), prompt_ids=(), rollouts=rollouts)


def said(scored: ScoredGroups) -> list[list[Any]]:
    """What is said of each rollout, by group; rollouts themselves are compared by identity."""
    return [[(r.text, r.token_ids.tolist(), r.verdicts, r.reward) for r in group.rollouts] for group in scored.groups]


def pack(**more: Any) -> LocalRulePack:
    return LocalRulePack(rules={"mixed": Rule(name="mixed", weight=1.0, verifier=Does(), **more)})


MIXED = LocalRulePack(
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
    one, four = (score(groups, MIXED, workers=n) for n in (1, 4))
    assert said(four) == said(one)
    assert [[r.text for r in g.rollouts] for g in one.groups] == TEXTS
    assert [[r.token_ids for r in g.rollouts] for g in one.groups] == [[[i] for i in range(len(texts))] for texts in TEXTS]
    assert [[r.reward for r in g.rollouts] for g in one.groups] == [[1.5, 1.5, 0.0, 1.5], [1.5, None, None, 1.5], [None, 1.5]]
    reasons = [[r.verdicts["mixed"].reason for r in g.rollouts] for g in one.groups]
    correct = "correct"
    assert reasons == [[correct, correct, "timeout", correct], [correct, "crash", "bad_truth", correct], ["crash", correct]]
    for scored in one.groups:
        for rollout in scored.rollouts:
            verdict = rollout.verdicts["mixed"]
            if ": " not in rollout.text:
                assert verdict.answer == f"{os.getpid()} {scored.problem.id} {rollout.text}", "in this process"
            elif verdict.reason == "correct":
                assert verdict.answer == rollout.text


def test_slow_rollouts_are_scored_in_parallel(tmp_path: Path) -> None:
    """Each waits for the others, within its group and across groups."""
    groups = [group(i, [f"meet: {tmp_path} 4 {i} {j}" for j in range(2)]) for i in range(2)]
    scored = score(groups, pack(), workers=4, deadline_s=2.0)
    assert [[r.verdicts["mixed"].reason for r in g.rollouts] for g in scored.groups] == [["correct"] * 2] * 2


def test_seconds_are_those_of_each_rollout() -> None:
    scored = score([group(0, ["a", "sleep: 0.3", "b"]), group(1, ["sleep: 0.1", "sleep: 0.1"])], MIXED, deadline_s=2.0)
    a, first, b, second, waited = scored.seconds
    assert first >= 0.3
    assert second >= 0.1
    assert min(a, b, waited) > 0.0
    assert waited < 0.1, "the verdict on the same text was there"


def test_errors_are_retried_as_configured_then_masked(tmp_path: Path) -> None:
    for retries, reward in ((0, None), (1, 1.0)):
        scored = score([group(0, [f"fail_once: {tmp_path}/{retries}"])], pack(), retries=retries)
        assert scored.groups[0].rollouts[0].reward == reward


def test_too_many_errors_stop_the_run_and_timeouts_do_not() -> None:
    scored = score([group(0, ["fail: ", "spin: ", "spin: "])], pack())
    check_error_share(scored.groups, pack(), 0.4)
    with pytest.raises(ScoringFailed, match=r"1 of 3 rollouts could not be scored, .*: mixed: crash: LookupError"):
        check_error_share(scored.groups, pack(), 0.3)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """As at a terminal; a process that a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_pending_scoring_and_the_next_batch_is_scored_again(tmp_path: Path) -> None:
    """Without waiting for the deadlines of those that sleep, and of those that are next."""
    own = set(psutil.Process().children())
    pool = shared(workers=2, deadline_s=10.0)

    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        score([group(0, [f"meet: {tmp_path} 3 {i}" for i in range(6)])], pack(), deadline_s=10.0)
    assert len(list(tmp_path.iterdir())) == 2, "the others have not begun"
    assert set(psutil.Process().children()) <= own
    assert score([group(0, ["echo: "])], pack(), deadline_s=10.0).groups[0].rollouts[0].reward == 1.0
    assert shared(workers=2, deadline_s=10.0) is not pool


def test_nothing_to_score() -> None:
    assert score([], pack()).groups == ()
    assert score([group(0, [])], pack()).seconds == ()


def test_a_local_pack_scores_slow_rules_without_a_backend() -> None:
    judgement = MIXED.judge("echo: x", Problem(id="p", prompt="q", truth={}))
    assert judgement.reward == 1.5
    assert judgement.verdicts["parts"].answer == "echo: x"


def notes(path: Path, kind: type[Notes] = Notes, **options: Any) -> LocalRulePack:
    return LocalRulePack(rules={"noted": Rule(name="noted", weight=1.0, verifier=kind(path=str(path), **options))})


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("workers", [1, 4])
def test_identical_inputs_are_scored_once_even_concurrently(workers: int, tmp_path: Path) -> None:
    texts = ["ab|1", "ab|2", "abc|", "ab|1", "ab|3", "abc|"] * 3
    groups = [group(0, texts), group(1, texts)]
    by_response, by_program, path = tmp_path / "response", tmp_path / "program", tmp_path / "path"
    first = score(groups, notes(by_response, seconds=0.05), workers=workers, deadline_s=2.0)
    assert sorted(lines(by_response)) == sorted(["'ab'", "'ab'", "'ab'", "'abc'"] * 2), "each response once for each problem"
    second = score(groups, notes(by_program, Programs, seconds=0.05), workers=workers, deadline_s=2.0)
    assert sorted(lines(by_program)) == ["'ab'", "'abc'"]
    assert said(first) == said(second)
    assert [r.reward for r in second.groups[1].rollouts] == [2 / 8, 2 / 8, 3 / 8] * 6
    assert [r.text for r in second.groups[1].rollouts] == texts
    for _ in range(2):
        score([group(0, ["ab"])], notes(path, Programs))
    assert lines(path) == ["'ab'"] * 2, "only within one batch"


def test_equal_values_of_different_types_are_scored_separately(tmp_path: Path) -> None:
    truths: list[Any] = [1, True, 1.0, "1", [1], [True]]
    problems = [Problem(id="p", prompt="q", truth={"answer": truth}) for truth in truths]
    rollout = Rollout(token_ids=(1,), logprobs=(0.0,), text="x", finish_reason="stop")
    score(
        [Group(problem=each, prompt_ids=(), rollouts=(rollout, rollout)) for each in problems], notes(tmp_path / "a", Programs)
    )
    assert len(lines(tmp_path / "a")) == len(truths)
    both = LocalRulePack(
        rules={
            name: Rule(name=name, weight=1.0, verifier=Programs(path=str(tmp_path / "b"), seconds=seconds))
            for name, seconds in (("one", 0.0), ("same", 0.0), ("other", 0.001))
        }
    )
    assert score([group(0, ["x", "x"])], both).groups[0].rollouts[1].reward == 3 / 8
    assert len(lines(tmp_path / "b")) == 2, "once for each verifier"


def test_an_error_is_not_shared(tmp_path: Path) -> None:
    for retries, masked in ((0, 1), (1, 0)):
        scored = score([group(0, [f"fail_once: {tmp_path}/{retries}"] * 6)], pack(), retries=retries)
        rewards = [rollout.reward for rollout in scored.groups[0].rollouts]
        assert (rewards.count(None), rewards.count(1.0)) == (masked, 6 - masked)


def test_thousands_that_wait_for_one_verdict_each_ask_again_after_an_error() -> None:
    texts = ["echo: a"] * 1500
    closed = Supervisor(workers=2)
    closed.close()
    with scoring(pack(), closed, retries=1) as batch:
        judgements = batch.score((text, Problem(id="p", prompt="q", truth={})) for text in texts)
    assert [judgement.verdicts["mixed"].reason for judgement in judgements] == ["no_worker"] * 1500


def test_thousands_share_a_verdict_and_wait_for_it_without_threads(tmp_path: Path) -> None:
    texts = [f"meet: {tmp_path} 3 {i // 1000}" for i in range(3000)]
    scored = score([group(0, texts)], pack(), workers=3, deadline_s=5.0)
    assert [r.verdicts["mixed"].answer for r in scored.groups[0].rollouts] == texts
    assert len(list(tmp_path.iterdir())) == 3, "three workers, who have waited for each other"


@dataclass(frozen=True, kw_only=True)
class Counted(Mixed):
    """Counts quick verdicts, by response and thread."""

    calls: ClassVar[Counter[tuple[str, str]]] = Counter()

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        self.calls[completion, threading.current_thread().name] += 1
        return super().quick(completion, problem)


def test_a_quick_verdict_is_computed_once_and_without_a_slow_one_where_it_is_submitted() -> None:
    here = threading.current_thread().name
    first, last = (Rule(name=name, weight=1.0, verifier=Counted()) for name in ("first", "last"))
    slow = Rule(name="slow", weight=1.0, verifier=Does(what="echo"))
    Counted.calls.clear()
    (scored,) = score([group(0, ["a", "b"])], LocalRulePack(rules={"first": first, "last": last})).groups
    assert (Counted.calls, [r.reward for r in scored.rollouts]) == ({("a", here): 2, ("b", here): 2}, [2.0, 2.0])
    Counted.calls.clear()
    (scored,) = score([group(0, ["a", "b"])], LocalRulePack(rules={"first": first, "slow": slow, "last": last})).groups
    assert (Counted.calls["a", here], Counted.calls["b", here]) == (1, 1), "the first ones"
    assert (Counted.calls.total(), [r.reward for r in scored.rollouts]) == (4, [3.0, 3.0])


class Quits(Mixed):
    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        raise SystemExit(completion)


def test_what_would_end_a_thread_is_raised_where_the_judgement_is_read() -> None:
    slow, quits = pack().rules["mixed"], Rule(name="quits", weight=1.0, verifier=Quits())
    with pytest.raises(SystemExit, match="echo: x"):
        score([group(0, ["echo: x", "echo: x"])], LocalRulePack(rules={"mixed": slow, "quits": quits}))


def test_the_span_of_a_shared_verdict_is_that_of_each_completion(tmp_path: Path) -> None:
    texts = ["so @ab|1", "@ab|2", "and so @ab|3"]
    (scored,) = score([group(0, texts)], notes(tmp_path / "notes", Located), deadline_s=2.0).groups
    spans = [rollout.verdicts["noted"].span for rollout in scored.rollouts]
    assert spans == [(4, 6), (1, 3), (8, 10)]
    assert [text[slice(*span)] for text, span in zip(texts, spans, strict=True) if span] == ["ab"] * 3
    assert lines(tmp_path / "notes") == ["'ab'"], "scored once"


def test_verifiers_that_cannot_be_pickled_or_whose_scored_part_raises(tmp_path: Path) -> None:
    class Confused(Does):
        def scored_part(self, completion: str, problem: Problem) -> tuple[object, int]:
            raise LookupError

    rules = LocalRulePack(rules={"mixed": Rule(name="mixed", weight=1.0, verifier=Confused())})
    (scored,) = score([group(0, ["echo: ", "echo: "])], rules).groups
    assert ["cannot be sent to a worker" in r.verdicts["mixed"].detail for r in scored.rollouts] == [True, True]


def test_the_order_of_arrival_changes_nothing() -> None:
    groups = [group(i, texts) for i, texts in enumerate(TEXTS)]
    expected = score(groups, MIXED)
    places = [(g, at) for g in groups for at in range(len(g.rollouts))]
    for seed in range(3):
        with scoring(MIXED, shared(workers=2, deadline_s=0.2), retries=1) as batch:
            for g, at in random.Random(seed).sample(places, len(places) - 2):  # two are not submitted
                batch.submit(g.problem, at, g.rollouts[at])
            assert said(batch.collect(groups)) == said(expected)
            batch.submit(groups[0].problem, 9, groups[0].rollouts[0])
            with pytest.raises(ValueError, match="was submitted twice: ids of problems must be unique"):
                batch.submit(groups[0].problem, 9, groups[0].rollouts[1])


def test_scoring_begins_before_sampling_has_ended(tmp_path: Path) -> None:
    """The first rollout has its verdict while the second is still being sampled, without a call of `collect`."""
    path = tmp_path / "notes"
    first, second = group(0, ["first", "second"]).rollouts
    problem = Problem(id="p0", prompt="q", truth={})
    with scoring(notes(path), shared(workers=2, deadline_s=2.0), retries=0) as batch:
        batch.submit(problem, 1, second)
        wait_for(lambda: lines(path) == ["'second'"])
        batch.submit(problem, 0, first)
        wait_for(lambda: len(lines(path)) == 2)
        scored = batch.collect([Group(problem=problem, prompt_ids=(), rollouts=(first, second))])
    assert [r.verdicts["noted"].answer for r in scored.groups[0].rollouts] == ["first", "second"]


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_sampling_ends_concurrent_scoring(tmp_path: Path) -> None:
    """Also rollouts that wait for the verdict on an identical one."""
    path, own = tmp_path / "notes", set(psutil.Process().children())
    threads = threading.active_count()
    start = time.monotonic()
    batches: list[ScoringBatch] = []

    def sample() -> None:
        with scoring(notes(path, seconds=60.0), shared(workers=2, deadline_s=30.0), retries=1) as batch:
            batches.append(batch)
            for at, rollout in enumerate(group(0, ["a", "b", "a", "b", "c", "d"]).rollouts):
                batch.submit(Problem(id="p0", prompt="q", truth={}), at, rollout)
            wait_for(lambda: len(lines(path)) == 2)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)

    with pytest.raises(KeyboardInterrupt):
        sample()
    assert time.monotonic() - start < 20
    assert len(lines(path)) == 2
    assert set(psutil.Process().children()) <= own
    assert threading.active_count() == threads
    with pytest.raises(RuntimeError, match="after shutdown"):
        batches[0].score([("e", Problem(id="p0", prompt="q", truth={}))])


def wait_for(true: Any) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
