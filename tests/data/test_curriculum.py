"""The order of problems: different in every epoch, nothing twice in a step, the same after a resume; and the curriculum."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr import Problem, load_rules
from rlvr.data.curriculum import ProblemStream, enough, passes
from rlvr.types import Group, Rollout, Verdict

PROBLEMS = [Problem(id=f"p{n}", prompt=f"{n}?", truth={"answer": str(n)}) for n in range(10)]
PACK = load_rules("r1_format+answer")


def group(problem: Problem, passed: list[bool]) -> Group:
    def rollout(right: bool) -> Rollout:
        verdicts = {"format": Verdict.scored(1.0, "well_formed"), "answer": Verdict.scored(float(right), "said")}
        return Rollout(token_ids=(1,), logprobs=(0.0,), text="", finish_reason="stop", verdicts=verdicts, reward=float(right))

    return Group(problem=problem, prompt_ids=(1,), rollouts=tuple(map(rollout, passed)))


def ids(problems: list[Problem]) -> list[str]:
    return [problem.id for problem in problems]


@given(st.integers(1, 10), st.integers(0, 5), st.integers(0, 30))
def test_an_epoch_asks_every_problem_at_most_once(n: int, seed: int, steps: int) -> None:
    stream = ProblemStream(problems=PROBLEMS, seed=seed)
    taken = [ids(stream.take(n)) for _ in range(steps)]
    per_epoch = 10 // n
    for at in range(0, steps, per_epoch):
        epoch = [each for step in taken[at : at + per_epoch] for each in step]
        assert len(set(epoch)) == len(epoch)


@settings(deadline=None)
@given(st.booleans(), st.integers(1, 10), st.integers(0, 12), st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_a_stream_goes_on_from_its_state(curriculum: bool, n: int, done: int, rates: list[float]) -> None:
    def stream() -> ProblemStream:
        return ProblemStream(problems=PROBLEMS, seed=3, curriculum=curriculum)

    whole = stream()
    whole.rates = {problem.id: rate for problem, rate in zip(PROBLEMS, rates, strict=True)}
    for _ in range(done):
        whole.take(n)
    resumed = stream()
    resumed.load_state(json.loads(json.dumps(whole.state())))
    for _ in range(4):
        step = ids(whole.take(n))
        assert len(set(step)) == n
        assert ids(resumed.take(n)) == step


@pytest.mark.parametrize(
    ("rate", "floor", "chance"),
    [(0.0, 0.1, 0.1), (1.0, 0.1, 0.1), (1.0, 0.0, 0.0), (0.01, 0.1, 0.1), (0.1, 0.1, 0.36), (0.25, 0.1, 0.75), (0.9, 0.5, 0.5)],
)
def test_the_chance_of_a_problem_is_4p_times_1_minus_p_and_at_least_the_floor(rate: float, floor: float, chance: float) -> None:
    problems = [Problem(id=f"p{n}", prompt="?", truth={}) for n in range(2000)]
    stream = ProblemStream(problems=problems, seed=1, curriculum=True, floor=floor)
    stream.rates = {problem.id: rate for problem in problems[:1000]}
    taken = [stream.take(1)[0].id]
    while stream.epoch == 0:
        taken.append(stream.take(1)[0].id)
    known = sum(each in stream.rates for each in taken[:-1])
    assert known / 1000 == pytest.approx(chance, abs=0.04)
    assert len(taken) - 1 - known == 1000, "all whose rate is not known"


def test_a_curriculum_asks_what_is_neither_mastered_nor_hopeless() -> None:
    stream = ProblemStream(problems=PROBLEMS, seed=0, curriculum=True)
    stream.rates = {"p0": 1.0, "p1": 0.0, "p2": 0.5}
    counts = dict.fromkeys(ids(PROBLEMS), 0)
    for _ in range(600):
        for problem in stream.take(2):
            counts[problem.id] += 1
    middle = [counts[f"p{n}"] for n in range(2, 10)]
    assert max(middle) < 1.3 * min(middle)
    for extreme in ("p0", "p1"):
        assert 0.03 < counts[extreme] / (sum(middle) / 8) < 0.25, "a tenth as often, for it may have changed"


def test_a_curriculum_never_waits_for_ever() -> None:
    stream = ProblemStream(problems=PROBLEMS, seed=0, curriculum=True, floor=0.0)
    stream.rates = dict.fromkeys(ids(PROBLEMS), 1.0)
    assert len(set(ids(stream.take(10)))) == 10


def test_pass_rates_follow_the_latest_groups() -> None:
    stream = ProblemStream(problems=PROBLEMS, seed=0)
    stream.learn([group(PROBLEMS[0], [True, False, False, False])], PACK)
    assert stream.rates == {"p0": 0.25}
    stream.learn([group(PROBLEMS[0], [True, True, True, False])], PACK)
    assert stream.rates["p0"] == pytest.approx(0.5)
    assert passes(group(PROBLEMS[0], [True]).rollouts[0], PACK)
    assert not passes(group(PROBLEMS[0], [False]).rollouts[0], PACK)


def test_few_problems_are_repeated_under_names_of_their_own() -> None:
    one = enough(PROBLEMS[:1], 4)
    assert ids(one) == ["p0", "p0#2", "p0#3", "p0#4"]
    assert {problem.prompt for problem in one} == {"0?"}
    assert ids(enough(PROBLEMS[:3], 2)) == ["p0", "p1", "p2"]
