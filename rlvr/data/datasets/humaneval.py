"""HumanEval (Chen et al. 2021, arXiv:2107.03374): functions to complete from signature and docstring, scored by `check`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.data.code_rows import code_of, fenced, parsed
from rlvr.data.rows import folder_or_hub_rows, text_of
from rlvr.data.stored import Divided
from rlvr.errors import ConfigError
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanEval(Divided):
    """`openai/openai_humaneval` from the hub, or a folder: 164 functions, for evaluation.

    The folder has test.jsonl (`prompt`, `canonical_solution`, `test`, `entry_point`), or the hub's Parquet file.

    The prompt is the beginning of the program exactly as the set has it, its last newline included: with prompt=continue a base
    model continues it, with prompt=code the whole function is asked for. The ground truth's `preamble` is that same text.
    """

    def test(self) -> Sequence[Problem]:
        rows = folder_or_hub_rows(self.path, "test", name="openai/openai_humaneval")
        return [_problem(f"humaneval-{number:05}", row) for number, row in enumerate(rows)]


def _problem(problem_id: str, row: dict[str, Any]) -> Problem:
    preamble = code_of(row, "prompt", problem_id)
    check = code_of(row, "test", problem_id)
    entry_point = text_of(row, "entry_point", problem_id)
    program = preamble + code_of(row, "canonical_solution", problem_id)
    defined = [function.name for function in _functions(parsed(program, f"{problem_id}'s reference"))]
    if entry_point not in defined:
        raise ConfigError(f"dataset: {problem_id}: entry_point={entry_point!r}: the reference defines {', '.join(defined)}")
    checks = [function for function in _functions(parsed(check, f"{problem_id}'s 'test'")) if function.name == "check"]
    if len(checks) != 1:
        raise ConfigError(f"dataset: {problem_id}: its 'test' must define one function check, and defines {len(checks)}")
    if not any(isinstance(node, ast.Assert) for node in ast.walk(checks[0])):
        raise ConfigError(f"dataset: {problem_id}: check() asserts nothing, so that any code would pass")
    metadata = {"solution": program, "completion": fenced(program)}
    if isinstance(row.get("task_id"), str):
        metadata["task_id"] = row["task_id"]
    return Problem(
        id=problem_id,
        prompt=preamble,
        truth={"check": check, "entry_point": entry_point, "preamble": preamble},
        metadata=metadata,
    )


def _functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]
