"""Rows of competition mathematics (MATH, MATH-500, AIME) as problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlvr.answers.extract import boxes
from rlvr.data.rows import text_of
from rlvr.errors import ConfigError
from rlvr.types import Problem


def problems_of(name: str, rows: Sequence[dict[str, Any]]) -> list[Problem]:
    """name: the start of their ids. Errors: `ConfigError` naming the row."""
    return [_problem(f"{name}-{number:05}", row) for number, row in enumerate(rows)]


def _problem(problem_id: str, row: dict[str, Any]) -> Problem:
    solution = text_of(row, "solution", problem_id)
    answer = str(row["answer"]).strip() if isinstance(row.get("answer"), str | int) else last_box(solution)
    if not answer:
        raise ConfigError(
            f"dataset: {problem_id} has neither an 'answer' nor a \\boxed{{}} in its solution: {solution[-60:]!r}"
        )
    about = {key: row[key] for key in ("subject", "type", "level") if isinstance(row.get(key), str | int)}
    return Problem(
        id=problem_id,
        prompt=text_of(row, "problem", problem_id),
        truth={"answer": answer},
        metadata={"solution": solution, **about},
    )


def last_box(solution: str) -> str:
    """The content of the last `\\boxed{...}` of a solution, or of `\\boxed 5`, which MATH also writes; empty without one."""
    found = boxes(solution)
    _, command, rest = solution.rpartition("\\boxed ")
    if command and "\\boxed" not in rest and not rest.lstrip().startswith("{"):
        return rest.partition("$")[0].strip(" .\n")
    return found[-1].strip() if found else ""
