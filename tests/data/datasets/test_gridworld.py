"""The maps: all solved by their reference, none in both pools, the same every time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import ROOT, score_gap
from rlvr import load_rules
from rlvr.cli.main import main
from rlvr.config.compose import compose
from rlvr.data.datasets.gridworld import Gridworld
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError
from rlvr.types import Problem

TRAIN, TEST = 300, 40


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    """The first of the default data set."""
    splits = Gridworld(train_problems=TRAIN, test_problems=TEST).load()
    return [*splits.train, *splits.test]


@pytest.mark.parametrize("prompt", ["actions", "r1", "plain"])
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_reference_gets_full_score(problems: list[Problem], prompt: str, whole: bool) -> None:
    """As each of the prompts asks for it, with the format rewarded too."""
    pack = load_rules("r1_format+simulation+anti_hack", ["rules.unique_answer.weight=0"])
    prompts = Prompts(template=compose(["model=qwen0.5b", f"prompt={prompt}"]).prompt)
    if whole:
        splits = Gridworld().load()
        problems = [*splits.train, *splits.test]
        assert len(problems) == 2200
    assert [(each.id, reason) for each in problems if (reason := score_gap(prompts, each, pack))] == []


@pytest.mark.parametrize(("room", "doors"), [(3, 0), (3, 4), (6, 2), (8, 1)])
def test_other_sizes_too(room: int, doors: int) -> None:
    splits = Gridworld(room=room, doors=doors, train_problems=40, test_problems=10).load()
    pack = load_rules("simulation")
    for problem in (*splits.train, *splits.test):
        assert pack.check_truth(problem) is None
        assert pack.judge(f"<answer>{problem.metadata['answer']}</answer>", problem).reward == 1.0
        grid = "".join(problem.truth["simulation"]["grid"])
        assert sorted(set(grid) & set("abcdABCD")) == sorted("ABCD"[:doors] + "abcd"[:doors])


def test_every_door_has_to_be_passed(problems: list[Problem]) -> None:
    pack = load_rules("simulation")
    for problem in problems[:100]:
        setup = problem.truth["simulation"]
        grid = [row.replace("a", ".") for row in setup["grid"]]
        without_key = Problem(id="p", prompt="q", truth={"simulation": {**setup, "grid": grid}})
        assert "no way leads to the goal" in str(pack.check_truth(without_key))
        assert "door A" in problem.metadata["solution"]


def test_a_solution_of_another_map_is_hardly_ever_one(problems: list[Problem]) -> None:
    pack = load_rules("simulation")
    pairs = list(zip(problems, problems[7:], strict=False))
    right = sum(pack.judge(f"<answer>{other.metadata['answer']}</answer>", each).reward == 1.0 for each, other in pairs)
    assert right < len(pairs) / 100


def test_questions_hold_the_map_and_no_gaps(problems: list[Problem]) -> None:
    for problem in problems:
        setup = problem.truth["simulation"]
        assert "\n".join(setup["grid"]) in problem.prompt
        assert f"At most {setup['max_steps']} steps" in problem.prompt
        assert not set("{}\\") & set(problem.prompt)
        assert setup["max_steps"] == 2 * len(problem.metadata["answer"].split("\n"))


@pytest.mark.parametrize("doors", [0, 1])
def test_no_map_is_in_both_pools_or_twice_in_one(doors: int) -> None:
    splits = Gridworld(train_problems=250, test_problems=100, room=4, doors=doors).load()
    train, test = ({_seen(problem) for problem in pool} for pool in (splits.train, splits.test))
    assert not train & test
    questions = [problem.prompt for problem in (*splits.train, *splits.test)]
    assert len(set(questions)) == len(questions) == 350
    assert len({problem.id for problem in (*splits.train, *splits.test)}) == 350


def _seen(problem: Problem) -> tuple[str, ...]:
    """The same for all rotations and reflections of a map."""
    grid = list(problem.truth["simulation"]["grid"])
    ways = []
    for _ in range(4):
        grid = ["".join(column) for column in zip(*grid[::-1], strict=True)]
        ways += [tuple(grid), tuple(row[::-1] for row in grid)]
    return min(ways)


def test_maps_are_the_same_every_time_and_in_every_process() -> None:
    small = "Gridworld(train_problems=20, test_problems=20).load()"
    script = f"from rlvr.data.datasets.gridworld import Gridworld; print({small}.test)"
    elsewhere = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert elsewhere == f"{Gridworld(train_problems=20, test_problems=20).load().test}\n"


def test_asking_for_more_keeps_the_first_ones(problems: list[Problem]) -> None:
    small = Gridworld(train_problems=20, test_problems=10).load()
    assert list(small.train) == problems[:20]
    assert list(small.test) == problems[TRAIN : TRAIN + 10]


@pytest.mark.parametrize(
    ("key", "value"),
    [("train_problems", 0), ("test_problems", 20_001), ("room", 2), ("room", 9), ("doors", -1), ("doors", 5)],
)
def test_bad_sizes_are_refused_by_name(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^{key}={value}: must lie in \["):
        Gridworld(**{key: value})  # type: ignore[arg-type]


def test_too_many_maps_of_too_small_a_room_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.test_problems=9000: only \d+ different maps were found with"):
        Gridworld(room=3, doors=0, train_problems=1, test_problems=9000).load()


@pytest.mark.parametrize(("train", "test"), [(90, 10), pytest.param(2000, 200, marks=pytest.mark.slow)])
def test_the_audit_passes(train: int, test: int, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [f"dataset.train_problems={train}", f"dataset.test_problems={test}"]
    assert main(["audit", "rules=simulation", "dataset=gridworld", *sizes]) == 0
    shown = capsys.readouterr().out
    assert f"all {train + test:,} can be scored" in shown
    assert f"{train + test:,} of {train + test:,} get the full score" in shown
