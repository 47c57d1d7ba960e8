"""MBPP (Austin et al. 2021, arXiv:2108.07732): short Python tasks, each described in a sentence and scored by three asserts."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlvr.config.bounds import check_fields
from rlvr.data.code_rows import code_of, fenced, names_in, parsed, unix_lines
from rlvr.data.rows import folder_or_hub_rows, has_split, split_rows, text_of
from rlvr.data.source import Splits
from rlvr.data.stored import Stored
from rlvr.errors import ConfigError
from rlvr.types import Problem

TASKS = {"prompt": range(1, 11), "test": range(11, 511), "validation": range(511, 601), "train": range(601, 975)}
"""The paper's splits by `task_id`; `prompt` is that of few-shot examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MBPP(Stored):
    """`google-research-datasets/mbpp`, `full`, from the hub, or a folder; 374 + 10 tasks to train on, 500 to evaluate on.

    The prompt shows tests, because nothing else gives the name of the function and its arguments; the ground truth has all.
    The judge runs the tests on what the completion defines, so that a completion gains nothing by repeating them. The folder
    has all.jsonl (`task_id`, `text`, `code`, `test_list`, `test_setup_code`), a file a split, or the hub's.
    """

    train_splits: tuple[Literal["prompt", "train", "validation"], ...] = ("prompt", "train")
    """Splits to train on, in this order: few-shot examples (prompt.few_shot) come from the first."""
    test_split: Literal["test", "validation"] = "test"
    """Split to evaluate on; `validation` (90 tasks) while choosing settings."""
    shown_tests: int = 1
    """How many tests a prompt shows, with the code that sets them up; the paper shows all three."""

    def __post_init__(self) -> None:
        Stored.__post_init__(self)
        check_fields(self, "shown_tests", at_least=1, why="or no prompt names its function")
        splits = [*self.train_splits, self.test_split]
        twice = next((split for split in splits if splits.count(split) > 1), None)
        if twice:
            raise ConfigError(f"dataset.train_splits={list(self.train_splits)}: with test_split, {twice} is there twice")

    def load(self) -> Splits:
        train = [problem for split in self.train_splits for problem in self._split(split)]
        return Splits(train=train, test=self._split(self.test_split))

    def _split(self, split: str) -> Sequence[Problem]:
        problems: dict[str, Problem] = {}
        for task, row in self._rows(split):
            problem_id = f"mbpp-{split}-{task:03}"
            if problem_id in problems:
                raise ConfigError(f"dataset: {problem_id} is there twice")
            problems[problem_id] = _problem(problem_id, row, self.shown_tests)
        return list(problems.values())

    def _rows(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        whole = self.path is not None and has_split(self.path, "all")
        if self.path is not None and whole:
            rows = split_rows(self.path, "all")
        else:
            rows = folder_or_hub_rows(self.path, split, name="google-research-datasets/mbpp", config="full")
        for number, row in enumerate(rows):
            task = row.get("task_id")
            if isinstance(task, bool) or not isinstance(task, int) or not 1 <= task < TASKS["train"].stop:
                raise ConfigError(f"dataset: mbpp, row {number + 1}: task_id={task!r}: must be a whole number from 1 to 974")
            if not whole or task in TASKS[split]:
                yield task, row


def _problem(problem_id: str, row: dict[str, Any], shown: int) -> Problem:
    code = code_of(row, "code", problem_id)
    asserts = _asserts(row.get("test_list"), problem_id)
    setup = row.get("test_setup_code") or ""
    if not isinstance(setup, str):
        raise ConfigError(f"dataset: {problem_id}: its 'test_setup_code' must be a text, got {str(setup)[:60]!r}")
    setup = unix_lines(setup).strip()
    reference = parsed(code, f"{problem_id}'s reference")
    used = names_in(parsed("\n".join([setup, *asserts]), f"{problem_id}'s 'test_setup_code'"))
    names = [node.name for node in reference.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in used]
    if not names:
        raise ConfigError(f"dataset: {problem_id}: its tests use nothing that the reference defines: {asserts[0][:60]!r}")
    setup = "\n".join(filter(None, [*_imports(reference, used), setup]))
    example = "\n".join(filter(None, [setup, *asserts[:shown]]))
    return Problem(
        id=problem_id,
        prompt=f"{text_of(row, 'text', problem_id)}\nThe code is tested like this:\n\n{example}",
        truth={"asserts": asserts, "setup": setup, "names": list(dict.fromkeys(names))},
        metadata={"solution": code, "completion": fenced(code), "task_id": row["task_id"]},
    )


def _asserts(tests: Any, problem_id: str) -> list[str]:
    if not isinstance(tests, list | tuple) or not tests or not all(isinstance(test, str) for test in tests):
        raise ConfigError(f"dataset: {problem_id} needs a list of texts 'test_list' that is not empty, got {str(tests)[:60]!r}")
    asserts = [unix_lines(test).strip() for test in tests]
    for number, test in enumerate(asserts, start=1):
        if not any(isinstance(node, ast.Assert) for node in ast.walk(parsed(test, f"{problem_id}'s test {number}"))):
            raise ConfigError(f"dataset: {problem_id}'s test {number} asserts nothing: {test[:60]!r}")
    return asserts


def _imports(reference: ast.Module, used: set[str]) -> Iterator[str]:
    """Imports of the reference that its tests use (task 596 compares with `sys.getsizeof`); the judge imports nothing else."""
    for node in reference.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias for alias in node.names if (alias.asname or alias.name.partition(".")[0]) in used]
            if named:
                node.names = named
                yield ast.unparse(node)
