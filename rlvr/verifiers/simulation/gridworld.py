"""A grid world: walk from the start to the goal, through doors that open once their keys are found."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

from rlvr.verifiers.simulation.base import Invalid, Simulator

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
"""Actions and their change of (row, column)."""
WALL, FLOOR, START, GOAL = "#.@G"
KEYS = "abcd"
"""Tiles with keys; the capital letter is the door of a key."""
MAX_SIDE = 40
"""Longest side of a map, in tiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What does not change during a run."""

    grid: tuple[str, ...]
    """Rows of tiles."""
    start: tuple[int, int]
    """Row and column."""
    goal: tuple[int, int]
    """Row and column."""
    max_steps: int
    """Most steps that may be taken."""
    shortest: int
    """Length of a shortest way, in steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walker:
    """The state of a run."""

    world: World
    at: tuple[int, int]
    """Row and column."""
    keys: frozenset[str]
    """Keys found so far."""
    steps: int
    """Steps taken so far."""


class Gridworld(Simulator[Walker]):
    """The setup is `{"grid": ["#####", "#@.G#", "#####"], "max_steps": 4}`.

    Tiles: `#` wall, `.` floor, `@` start, `G` goal, `a` to `d` keys, `A` to `D` their doors. Actions: up, down, left, right. A
    key is taken by stepping on it, and kept. Invalid are steps into a wall, off the map, through a door without its key, beyond
    max_steps, and after the goal was reached. The score is 1 at the goal, else 1 - (steps still needed) / (steps needed from
    the start), and at least 0.
    """

    brief: ClassVar = True

    def start(self, setup: Mapping[str, Any]) -> Walker:
        grid, max_steps = setup.get("grid"), setup.get("max_steps")
        if not isinstance(grid, list | tuple) or not grid or not all(isinstance(row, str) for row in grid):
            raise ValueError(f"grid={str(grid)[:40]!r}: must be a list of rows of tiles")
        if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
            raise ValueError(f"max_steps={max_steps!r}: must be a whole number from 1")
        world = _world(tuple(grid), max_steps)
        return Walker(world=world, at=world.start, keys=frozenset(), steps=0)

    def step(self, state: Walker, action: str) -> Walker | Invalid:
        world, name = state.world, action.strip().lower()
        if name not in MOVES:
            return Invalid(f"no such action, only {', '.join(MOVES)}")
        if state.at == world.goal:
            return Invalid("the goal has been reached")
        if state.steps == world.max_steps:
            return Invalid(f"{world.max_steps} steps are all that may be taken")
        moved = _moved(world.grid, state.at, state.keys, name)
        if isinstance(moved, Invalid):
            return moved
        return replace(state, at=moved[0], keys=moved[1], steps=state.steps + 1)

    def score(self, state: Walker) -> float:
        if state.at == state.world.goal:
            return 1.0
        left = way(state.world.grid, state.at, state.keys, state.world.goal)
        assert left is not None, "every step can be undone"
        return max(0.0, 1.0 - len(left) / state.world.shortest)


def way(
    grid: Sequence[str], start: tuple[int, int], keys: frozenset[str], goal: tuple[int, int]
) -> tuple[tuple[str, tuple[int, int]], ...] | None:
    """A shortest way to the goal as pairs (action, position after it), by breadth-first search; None if there is none."""
    first = (start, keys)
    came: dict[tuple[tuple[int, int], frozenset[str]], tuple[Any, str] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        here = waiting.popleft()
        if here[0] == goal:
            steps = []
            while (last := came[here]) is not None:
                steps.append((last[1], here[0]))
                here = last[0]
            return tuple(reversed(steps))
        for name in MOVES:
            there = _moved(grid, *here, name)
            if not isinstance(there, Invalid) and there not in came:
                came[there] = (here, name)
                waiting.append(there)
    return None


def _moved(
    grid: Sequence[str], at: tuple[int, int], keys: frozenset[str], name: str
) -> tuple[tuple[int, int], frozenset[str]] | Invalid:
    """Position and keys after a step."""
    row, column = at[0] + MOVES[name][0], at[1] + MOVES[name][1]
    if not (0 <= row < len(grid) and 0 <= column < len(grid[row])):
        return Invalid(f"{name} leads off the map")
    tile = grid[row][column]
    if tile == WALL:
        return Invalid(f"{name} leads into a wall")
    if tile.lower() in KEYS and tile.isupper() and tile.lower() not in keys:
        return Invalid(f"{name} leads to door {tile}, whose key has not been found")
    return (row, column), keys | {tile} if tile in KEYS else keys


# Cached: the rollouts of a problem share a map.
@lru_cache(maxsize=256)
def _world(grid: tuple[str, ...], max_steps: int) -> World:
    """The world of a map. Errors: `ValueError` naming what is wrong with it."""
    if max(len(grid), *map(len, grid)) > MAX_SIDE or len({len(row) for row in grid}) > 1:
        raise ValueError(f"grid: must be rows of one length, {MAX_SIDE} tiles at most each way")
    tiles = "".join(grid)
    unknown = set(tiles) - set(WALL + FLOOR + START + GOAL + KEYS + KEYS.upper())
    if unknown:
        raise ValueError(f"grid: holds {min(unknown)!r}, which is no tile")
    if tiles.count(START) != 1 or tiles.count(GOAL) != 1:
        raise ValueError(f"grid: must hold one {START} and one {GOAL}, has {tiles.count(START)} and {tiles.count(GOAL)}")
    start, goal = (divmod(tiles.index(tile), len(grid[0])) for tile in (START, GOAL))
    found = way(grid, start, frozenset(), goal)
    if found is None:
        raise ValueError("grid: no way leads to the goal")
    if len(found) > max_steps:
        raise ValueError(f"max_steps={max_steps}: the shortest way has {len(found)} steps")
    return World(grid=grid, start=start, goal=goal, max_steps=max_steps, shortest=len(found))
