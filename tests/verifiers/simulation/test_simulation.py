"""Simulation: how actions are read, what invalid ones do, the score of the last state."""

from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
from counting_simulators import Mine
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr import Problem, Verdict, load_rules
from rlvr.errors import ConfigError
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.verifiers.simulation.verifier import Simulation

GRIDWORLD = "rlvr.verifiers.simulation.gridworld.Gridworld"
COUNTER = "counting_simulators.Counter"
WALK = {"grid": ["#######", "#@a#.G#", "##.A.##", "#######"], "max_steps": 8}
RIGHT = "right\ndown\nright\nright\nup\nright"


def problem(**setup: Any) -> Problem:
    return Problem(id="p", prompt="q", truth={"simulation": setup or WALK})


def judge(answer: str, **options: Any) -> Verdict:
    return Simulation(simulator=GRIDWORLD, **options)(f"<think>so</think><answer>{answer}</answer>", problem())


def count(*actions: str, **options: Any) -> Verdict:
    """Counts to 10, with a user's simulator."""
    return Mine(simulator=COUNTER, **options)("<answer>" + "\n".join(actions) + "</answer>", problem(target=10))


@pytest.mark.parametrize(
    "answer",
    [
        RIGHT,
        f"\n{RIGHT}\n",
        RIGHT.replace("\n", "\n\n  "),
        RIGHT.replace("\n", "\r\n"),
        RIGHT.upper(),
        "".join(f"{at}. {action}\n" for at, action in enumerate(RIGHT.split(), start=1)),
        "".join(f"- {action}\n" for action in RIGHT.split()),
        '["right", "down", "right", "right", "up", "right"]',
        f"\\boxed{{{RIGHT}}}",
        f"```\n{RIGHT}\n```",
        f"left\n</answer> no: <answer>{RIGHT}",
    ],
)
def test_right(answer: str) -> None:
    verdict = judge(answer)
    assert (verdict.score, verdict.reason) == (1.0, "correct")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "no_answer"),
        (" \n ", "no_answer"),
        ("right", "wrong"),
        ("right\ndown\nright\nright\nup", "wrong"),
        ("left", "invalid_action"),
        ("right\nright", "invalid_action"),
        ("right\nleft\nright\nleft\nright\ndown\nright\nright\nup\nright", "invalid_action"),  # more than 8 steps
        (f"{RIGHT}\nleft", "invalid_action"),  # beyond the goal
        (f"{RIGHT}\nand then I am there", "invalid_action"),
        ("right, down, right, right, up, right", "invalid_action"),
        ("rightdownrightrightupright", "invalid_action"),
        ("teleport to the goal", "invalid_action"),
        ('["right", 1]', "unparsable"),
        ('["right"', "unparsable"),
        ("[[]]", "unparsable"),
        ('["right"] ["down"]', "unparsable"),
        ("[" * 5000, "unparsable"),
        ("right " * 200, "unparsable"),
        ("right\n" * 1001, "too_many_actions"),
        ("right\n" * 200_000, "too_many_actions"),
    ],
)
def test_not_right(answer: str, why: str) -> None:
    start = time.process_time()
    verdict = judge(answer)
    assert (verdict.score, verdict.reason) == (0.0, why)
    assert time.process_time() - start < 1


def test_actions_in_the_reasoning_do_not_count() -> None:
    verifier = Simulation(simulator=GRIDWORLD)
    for response in (
        f"<think><answer>{RIGHT}</answer></think>",
        f"<think><answer>{RIGHT}</answer>",
        RIGHT,
        f"\\boxed{{{RIGHT}}}",
    ):
        assert verifier(response, problem()).reason == "no_answer"
    last = f"<answer>{RIGHT}</answer><answer>left</answer>"
    assert verifier(last, problem()).reason == "invalid_action"


def test_place_and_form_of_actions_can_be_declared() -> None:
    def reason(response: str, **options: Any) -> str:
        return Simulation(simulator=GRIDWORLD, **options)(response, problem()).reason

    assert reason(RIGHT, extract="whole") == "correct"
    assert reason(f"So:\n```actions\n{RIGHT}\n```", extract="fenced", language="actions") == "correct"
    assert reason(f"So:\n```actions\n{RIGHT}\n```", extract="fenced") == "no_answer"
    assert reason(f"\\boxed{{{RIGHT}}} or \\boxed{{up}}", extract=("tag", "boxed")) == "invalid_action"
    assert reason(f"<way>{RIGHT}</way>", tag="way") == "correct"
    assert reason(f"<answer>{RIGHT}</answer>", form="json") == "unparsable"
    assert reason('<answer>["right"]</answer>', form="lines") == "invalid_action"


def test_an_invalid_action_fails_stops_or_is_skipped() -> None:
    actions = ("2", "2", "jump", "2", "2", "2")
    assert (count(*actions).score, count(*actions).reason) == (0.0, "invalid_action")
    assert (count(*actions, on_invalid="stop").score, count(*actions, on_invalid="stop").reason) == (0.0, "wrong")
    assert count(*actions, on_invalid="stop", partial=True).score == pytest.approx(0.4)
    assert (count(*actions, on_invalid="skip").score, count(*actions, on_invalid="skip").reason) == (1.0, "correct")
    assert "action 3, 'jump': not 1, 2 or -1" in count(*actions).detail


def test_part_of_the_way_counts_only_with_partial() -> None:
    assert (count("2", "2").score, count("2", "2").reason) == (0.0, "wrong")
    verdict = count("2", "2", partial=True)
    assert (verdict.score, verdict.reason) == (pytest.approx(0.4), "partial")
    assert count(*["2"] * 5, partial=True).reason == "correct"
    assert (count(*["2"] * 10, partial=True).score, count(*["2"] * 10, partial=True).reason) == (0.0, "wrong")


def test_the_number_of_actions_is_bounded() -> None:
    assert count(*["1"] * 10, max_actions=10).score == 1.0
    assert count(*["1"] * 11, max_actions=10).reason == "too_many_actions"
    assert count("1", "-1", *["1"] * 10, max_actions=10).reason == "too_many_actions"


def test_a_simulator_without_a_valid_score_is_an_error() -> None:
    for name in ("Generous", "Undecided"):
        verdict = Mine(simulator=f"counting_simulators.{name}")("<answer>1</answer>", problem(target=10))
        assert (verdict.outcome, verdict.reason, verdict.score) == ("error", "bad_score", None)


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        ({}, "no object 'simulation' (it has: none)"),
        ({"simulation": [1]}, "no object 'simulation'"),
        ({"simulation": {}}, "no target"),
        ({"simulation": {"target": 3, "from": 3}}, "solved at its start"),
    ],
)
def test_a_truth_without_a_start_is_refused_and_never_scored(truth: dict[str, Any], says: str) -> None:
    verifier, asked = Mine(simulator=COUNTER), Problem(id="p", prompt="q", truth=truth)
    found = verifier.check_truth(asked.truth)
    assert found is not None
    assert says in found
    for response in ("", "<answer>1</answer>"):
        assert verifier(response, asked).outcome == "unscorable"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"simulator": "os.path.join"}, "simulator=os.path.join: allowed are rlvr. (derive from Simulation in your package)"),
        ({"simulator": COUNTER}, f"simulator={COUNTER}: allowed are rlvr."),
        ({"simulator": "rlvrx.simulators.gridworld.Gridworld"}, "allowed are rlvr."),
        ({"simulator": "rlvr"}, "simulator=rlvr"),
        ({"simulator": ""}, "simulator="),
        ({"simulator": "rlvr.verifiers.simulation.nowhere.Gridworld"}, "No module named 'rlvr.verifiers.simulation.nowhere'"),
        ({"simulator": "rlvr.verifiers.simulation.gridworld.Gridwrld"}, "is no Simulator (that module has: Gridworld)"),
        ({"simulator": "rlvr.verifiers.simulation.gridworld.Walker"}, "is no Simulator"),
        ({"simulator": "rlvr.verifiers.simulation.base.Simulator"}, "cannot be made"),
        ({"form": "csv"}, "form=csv: must be one of lines, json, either"),
        ({"on_invalid": "ignore"}, "on_invalid=ignore: must be one of fail, stop, skip"),
        ({"extract": "hashes"}, "extract=hashes: must be one of fenced, tag, boxed, whole"),
        ({"tag": "<a>"}, "tag='<a>'"),
        ({"max_actions": 0}, "max_actions=0"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is compared below
        Simulation(**{"simulator": GRIDWORLD, **options})
    assert message in str(caught.value)


def test_a_users_simulator_is_named_through_a_class_of_their_package() -> None:
    """`rules_from` must list the package, as for any verifier."""
    node = f"rules.actions.verifier={{_target_: counting_simulators.Mine, simulator: {COUNTER}}}"
    pack = load_rules("simulation", ["rules_from=[counting_simulators]", node])
    assert pack.judge("<answer>" + "2\n" * 5 + "</answer>", problem(target=10)).reward == 1.0
    with pytest.raises(ConfigError, match="_target_=counting_simulators.Mine: allowed are rlvr"):
        load_rules("simulation", [node])
    with pytest.raises(ConfigError, match=r"rules.actions.verifier.simulator=counting_simulators.Counter: allowed are rlvr\."):
        load_rules("simulation", [f"rules.actions.verifier.simulator={COUNTER}"])
    with pytest.raises(ConfigError, match="cannot be made without arguments"):
        load_rules("simulation", ["rules_from=[counting_simulators]", node.replace("Counter", "Demanding")])


def test_a_simulator_that_may_hang_runs_in_a_worker_process() -> None:
    slow = Mine(simulator="counting_simulators.SlowCounter")
    asked = problem(target=2)
    assert slow.quick("<answer>2</answer>", asked) is None
    brief = Mine(simulator=COUNTER)
    assert brief.quick("<answer>2</answer>", asked) == brief("<answer>2</answer>", asked)
    with Supervisor(workers=1, deadline_s=0.3) as pool:
        assert pool.score(slow, "<answer>hang</answer>", asked).reason == "timeout"
        assert pool.score(slow, "<answer>2</answer>", asked).score == 1.0
        assert pool.score(slow, "<answer>raise</answer>", asked).outcome == "error"


def test_responses_with_the_same_actions_are_the_same() -> None:
    verifier = Simulation(simulator=GRIDWORLD)
    responses = (f"<think>a</think><answer>{RIGHT}</answer>", f"<think>b</think> So <answer>\n{RIGHT}\n</answer>")
    (first, at), (second, behind) = (verifier.scored_part(response, problem()) for response in responses)
    assert first == second != verifier.scored_part("<answer>up</answer>", problem())[0]
    assert [response[start:].startswith(RIGHT) for response, start in zip(responses, (at, behind), strict=True)] == [True, True]


@given(st.lists(st.sampled_from(["1", "2", "-1", "x"]), max_size=30), st.sampled_from(["fail", "stop", "skip"]), st.booleans())
@settings(deadline=None)
def test_any_actions_are_scored_within_bounds_and_the_same_twice(actions: list[str], on_invalid: str, partial: bool) -> None:
    verdict = count(*actions, on_invalid=on_invalid, partial=partial)
    assert verdict.outcome == "scored"
    assert verdict.score is not None
    assert 0 <= verdict.score <= 1
    assert verdict == count(*actions, on_invalid=on_invalid, partial=partial)
    taken = [int(each) for each in actions if each != "x"] if on_invalid == "skip" else None
    if taken:
        expected = max(0.0, 1 - abs(10 - sum(taken)) / 10)
        assert verdict.score == pytest.approx(expected if partial or expected == 1 else 0.0)


@given(st.text(st.characters(exclude_categories=[]), max_size=100) | st.text("[]\"',\n \\{}`updownlefright", max_size=100))
@settings(deadline=None)
def test_any_text_is_scored(text: str) -> None:
    for extract in ("tag", "whole"):
        verdict = Simulation(simulator=GRIDWORLD, extract=extract, on_invalid="skip")(f"<answer>{text}</answer>", problem())
        assert verdict.outcome == "scored"


def test_pickled() -> None:
    verifier = Simulation(simulator=GRIDWORLD, partial=True)
    assert pickle.loads(pickle.dumps(verifier)) == verifier
