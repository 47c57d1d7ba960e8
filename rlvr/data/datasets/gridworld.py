"""Procedurally generated maps: rooms in a row with locked doors between them, for rules=simulation."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from rlvr.config.bounds import check_fields
from rlvr.data.source import DataSource, Splits
from rlvr.errors import ConfigError
from rlvr.types import Problem
from rlvr.verifiers.simulation.gridworld import FLOOR, GOAL, KEYS, START, WALL, way

MOST_PROBLEMS = 20_000
"""Most problems of a pool; loading says so if a room is too small for so many different maps."""
_WALLS = 0.25
"""Share of a room's tiles that are walls."""
_MANY_TRIES = 5000
"""Tries without a new map, after which there is taken to be none."""

_QUESTION = """Walk from {start} to {goal} on this map:

{grid}

{wall} is a wall, {floor} is free.{doors} The actions are up, down, left and right, each a step to the next tile. At most \
{max_steps} steps may be taken, none of them into a wall or a closed door, and none after the goal. Write the actions, one a \
line."""
_DOORS = """ A small letter is a key, which is taken by stepping on it; the same letter as a capital is its door, closed \
without the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gridworld(DataSource):
    """Maps of `rlvr.verifiers.simulation.gridworld`, with a shortest path as the answer; they do not depend on the run's seed.

    A stable hash of the map alone decides whether a problem is for training or for testing, so that no map is in both.
    """

    train_problems: int = 2000
    """How many there are to train on."""
    test_problems: int = 200
    """How many there are to evaluate on."""
    room: int = 4
    """Tiles along a side of a room, from 3 to 8."""
    doors: int = 1
    """Locked doors between the start and the goal, from 0 to 4; there is one room more."""

    def __post_init__(self) -> None:
        check_fields(self, "train_problems", "test_problems", at_least=1, at_most=MOST_PROBLEMS)
        check_fields(self, "room", at_least=3, at_most=8)
        check_fields(self, "doors", at_least=0, at_most=len(KEYS))

    def load(self) -> Splits:
        return Splits(train=self._problems("train", self.train_problems), test=self._problems("test", self.test_problems))

    def _problems(self, pool: Literal["train", "test"], count: int) -> list[Problem]:
        """The first `count` different maps of a pool: a larger count keeps them."""
        rng = random.Random(f"rlvr gridworld {pool} {self.room} {self.doors}")
        grids: dict[tuple[str, ...], Problem] = {}
        tries = 0
        while tries < _MANY_TRIES:
            tries += 1
            grid = _draw(rng, self.room, self.doors)
            if _pool(grid) != pool:
                continue
            grid = _reflected(grid, rng)
            path = way(grid, _find(grid, START), frozenset(), _find(grid, GOAL)) if grid not in grids else None
            if path is not None and len(path) > 2:
                grids[grid] = _problem(f"gridworld-{pool}-{len(grids):05}", grid, path, self.doors)
                tries = 0
            if len(grids) == count:
                return list(grids.values())
        raise ConfigError(
            f"dataset.{pool}_problems={count}: only {len(grids)} different maps were found "
            f"with dataset.room={self.room}, dataset.doors={self.doors}"
        )


def _draw(rng: random.Random, room: int, doors: int) -> tuple[str, ...]:
    """Rooms from left to right, the start in the first, the goal in the last, the key of a door in any room before it.

    There may be no path to the goal.
    """
    width = (doors + 1) * (room + 1) + 1
    tiles = [[WALL] * width for _ in range(room + 2)]
    inner = range(1, room + 1)
    free = [[(row, at * (room + 1) + column) for row in inner for column in inner] for at in range(doors + 1)]
    letters = KEYS[:doors]
    next_to_doors: set[tuple[int, int]] = set()
    for at, key in enumerate(letters, start=1):
        row, column = rng.randint(1, room), at * (room + 1)
        tiles[row][column] = key.upper()
        next_to_doors |= {(row, column - 1), (row, column + 1)}  # walls there would leave no path
    for tiles_of_room in free:
        rng.shuffle(tiles_of_room)
        for row, column in tiles_of_room:
            tiles[row][column] = WALL if rng.random() < _WALLS and (row, column) not in next_to_doors else FLOOR
    things = [(START, 0), (GOAL, doors)] + [(key, rng.randint(0, at)) for at, key in enumerate(letters)]
    for thing, at in things:
        row, column = free[at].pop()
        tiles[row][column] = thing
    return tuple("".join(row) for row in tiles)


def _pool(grid: Sequence[str]) -> Literal["train", "test"]:
    """1 map in 10 is for testing. All rotations and reflections of a map are in one pool."""
    symmetric: list[tuple[str, ...]] = []
    for _ in range(4):
        grid = _transposed(grid[::-1])
        symmetric += [tuple(grid), tuple(grid[::-1])]
    digest = hashlib.sha256("\n".join(min(symmetric)).encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") % 10 == 0 else "train"


def _transposed(grid: Sequence[str]) -> list[str]:
    return ["".join(column) for column in zip(*grid, strict=True)]


def _reflected(grid: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """The map as it is, mirrored or transposed, so that the goal may lie in any direction."""
    if rng.random() < 0.5:
        grid = [row[::-1] for row in grid]
    if rng.random() < 0.5:
        grid = _transposed(grid)
    return tuple(grid)


def _find(grid: Sequence[str], tile: str) -> tuple[int, int]:
    return next((row, line.index(tile)) for row, line in enumerate(grid) if tile in line)


def _problem(problem_id: str, grid: tuple[str, ...], path: Sequence[tuple[str, tuple[int, int]]], doors: int) -> Problem:
    max_steps = 2 * len(path)
    actions = [action for action, _ in path]
    question = _QUESTION.format(
        grid="\n".join(grid),
        max_steps=max_steps,
        start=START,
        goal=GOAL,
        wall=WALL,
        floor=FLOOR,
        doors=_DOORS if doors else "",
    )
    return Problem(
        id=problem_id,
        prompt=question,
        truth={"simulation": {"grid": list(grid), "max_steps": max_steps}},
        metadata={"answer": "\n".join(actions), "solution": " ".join(_in_words(grid, path))},
    )


def _in_words(grid: Sequence[str], path: Sequence[tuple[str, tuple[int, int]]]) -> Iterator[str]:
    """The path in words, a sentence for each thing on it."""
    row, column = _find(grid, START)
    yield f"The start is in row {row + 1}, column {column + 1}."
    leg: list[str] = []
    seen: set[str] = set()
    for action, (row, column) in path:
        leg.append(action)
        tile = grid[row][column]
        if tile in (FLOOR, START) or tile in seen:
            continue
        seen.add(tile)
        thing = "the goal" if tile == GOAL else f"key {tile}" if tile in KEYS else f"door {tile}"
        runs = [f"{len(list(same))} {action}" for action, same in groupby(leg)]
        yield f"To {thing} in row {row + 1}, column {column + 1}: {', '.join(runs)}."
        leg = []
