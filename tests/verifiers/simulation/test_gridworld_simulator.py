"""Gridworld: what steps do, the scores of states, which maps are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.types import frozen
from rlvr.verifiers.simulation.base import Invalid
from rlvr.verifiers.simulation.gridworld import MOVES, Gridworld, Walker, way

WORLD = Gridworld()
GRID = ["########", "#@.a#.G#", "#.##A.##", "#....###", "########"]


def start(grid: Sequence[str] = GRID, max_steps: int = 30) -> Walker:
    return WORLD.start(frozen({"grid": list(grid), "max_steps": max_steps}))


def walk(state: Walker, *actions: str) -> Walker:
    for action in actions:
        after = WORLD.step(state, action)
        assert isinstance(after, Walker), after
        state = after
    return state


def refused(state: Walker, action: str) -> str:
    after = WORLD.step(state, action)
    assert isinstance(after, Invalid)
    return after.why


# The door lies beside the end of the lower corridor: the key first, then back and around.
KEY = ("right", "right")
DOOR = ("left", "left", "down", "down", "right", "right", "right", "up")
REST = ("right", "up", "right")


def test_the_way_with_the_key() -> None:
    state = walk(start(), *KEY)
    assert state.keys == {"a"}
    assert WORLD.score(walk(state, *DOOR, *REST)) == 1.0


def test_a_door_is_closed_without_its_key_and_stays_open_with_it() -> None:
    without = walk(start(), *DOOR[2:-1])
    assert refused(without, "up") == "up leads to door A, whose key has not been found"
    through = walk(start(), *KEY, *DOOR)
    assert walk(through, "right", "left", "down", "up").at == through.at


def test_a_capital_that_is_the_goal_is_no_door() -> None:
    assert WORLD.score(walk(start(["@G"], 1), "right")) == 1.0


@pytest.mark.parametrize(
    ("state", "action", "says"),
    [
        (start(), "up", "into a wall"),
        (start(["@.G"], 5), "left", "off the map"),
        (start(["@.G"], 5), "down", "off the map"),
        (start(), "jump", "no such action, only up, down, left, right"),
        (start(), "", "no such action"),
        (start(), "right right", "no such action"),
        (walk(start(["@.G"], 2), "right", "right"), "left", "the goal has been reached"),
        (walk(start(["@.G"], 2), "right", "left"), "right", "2 steps are all that may be taken"),
    ],
)
def test_invalid(state: Walker, action: str, says: str) -> None:
    assert says in refused(state, action)


def test_actions_are_read_without_case_and_space() -> None:
    assert walk(start(), " Right\t", "LEFT").at == start().at


@pytest.mark.parametrize(
    ("setup", "says"),
    [
        ({}, "grid='None'"),
        ({"grid": "@G", "max_steps": 3}, "grid='@G'"),
        ({"grid": [], "max_steps": 3}, "grid="),
        ({"grid": ["@G", 3], "max_steps": 3}, "grid="),
        ({"grid": ["@G"]}, "max_steps=None"),
        ({"grid": ["@G"], "max_steps": True}, "max_steps=True"),
        ({"grid": ["@G"], "max_steps": 0}, "max_steps=0"),
        ({"grid": ["@..G"], "max_steps": 2}, "the shortest way has 3 steps"),
        ({"grid": ["@G", "#"], "max_steps": 3}, "rows of one length"),
        ({"grid": ["@" + "." * 40 + "G"], "max_steps": 99}, "40 tiles at most"),
        ({"grid": ["@G?"], "max_steps": 3}, "holds '?'"),
        ({"grid": ["@.."], "max_steps": 3}, "has 1 and 0"),
        ({"grid": ["@@G"], "max_steps": 3}, "has 2 and 1"),
        ({"grid": ["@#G"], "max_steps": 3}, "no way leads to the goal"),
        ({"grid": ["@AG"], "max_steps": 3}, "no way leads to the goal"),
        ({"grid": ["@AGa"], "max_steps": 3}, "no way leads to the goal"),
    ],
)
def test_a_bad_setup_is_refused(setup: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("?", r"\?")):
        WORLD.start(setup)


def test_a_shortest_way_is_found_also_with_four_keys() -> None:
    corridor = ("cbda@ABCDG",)
    found = way(corridor, (0, 4), frozenset(), (0, 9))
    assert found is not None
    assert [action for action, _ in found] == ["left"] * 4 + ["right"] * 9
    assert found[-1] == ("right", (0, 9))
    assert way(("cbda@ABCCG",), (0, 4), frozenset(), (0, 9)) is not None
    assert way((".bda@ABCDG",), (0, 4), frozenset(), (0, 9)) is None


@given(st.lists(st.sampled_from([*MOVES, "x"]), max_size=40))
@settings(deadline=None)
def test_any_run_is_deterministic_within_bounds_and_leaves_states_alone(actions: list[str]) -> None:
    first, states = start(), []
    before = repr(first)
    state = first
    for action in actions:
        after, again = WORLD.step(state, action), WORLD.step(state, action)
        assert after == again
        if isinstance(after, Walker):
            assert after.steps == state.steps + 1 <= 30
            assert state.keys <= after.keys
            state = after
            states.append(state)
    assert repr(first) == before
    assert WORLD.score(first) == 0.0
    for each in states:
        assert 0.0 <= WORLD.score(each) <= 1.0
        assert (WORLD.score(each) == 1.0) == (each.at == each.world.goal)


def test_the_score_rises_with_every_step_of_a_shortest_way() -> None:
    state = start()
    found = way(GRID, state.at, frozenset(), state.world.goal)
    assert found is not None
    scores = [WORLD.score(walk(state, *(action for action, _ in found[:at]))) for at in range(len(found) + 1)]
    assert scores == sorted(set(scores))
    assert (scores[0], scores[-1]) == (0.0, 1.0)
