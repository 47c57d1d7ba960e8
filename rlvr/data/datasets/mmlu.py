"""MMLU (Hendrycks et al. 2021, arXiv:2009.03300): multiple choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from rlvr.data.rows import folder_or_hub_rows, has_split, text_of
from rlvr.data.stored import Divided
from rlvr.errors import ConfigError
from rlvr.types import Problem

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class MMLU(Divided):
    """`cais/mmlu` from the hub, or a folder. Ground truths hold the choices and the letter of the right one.

    The folder has test.jsonl (`question`, `choices`, `answer` from 0), or the hub's Parquet files.
    """

    train_split: Literal["auxiliary_train", "validation", "dev"] = "auxiliary_train"
    """Split to train on: 99,842 questions of other sets, or 1,531 or 285 of MMLU itself; none if a folder lacks it."""

    def test(self) -> Sequence[Problem]:
        return self._split("test")

    def train(self) -> Sequence[Problem]:
        there = self.path is None or has_split(self.path, self.train_split, config="all")
        return self._split(self.train_split) if there else ()

    def _split(self, split: str) -> Sequence[Problem]:
        rows = folder_or_hub_rows(self.path, split, name="cais/mmlu", config="all")
        return [_problem(f"mmlu-{split}-{number:05}", row) for number, row in enumerate(rows)]


def _problem(problem_id: str, row: dict[str, Any]) -> Problem:
    question = text_of(row, "question", problem_id)
    choices, answer = row.get("choices"), row.get("answer")
    if not _are_texts(choices) or not 2 <= len(choices) <= len(LETTERS):
        raise ConfigError(
            f"dataset: {problem_id} needs a list of 2 to {len(LETTERS)} texts 'choices', got {str(choices)[:60]!r}"
        )
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise ConfigError(f"dataset: {problem_id}: answer={answer!r}: must be an index from 0 to {len(choices) - 1}")
    letter = LETTERS[answer]
    lines = [question] + [f"{each}. {choice.strip()}" for each, choice in zip(LETTERS, choices, strict=False)]
    metadata = {"solution": f"The right choice is {letter}, {choices[answer].strip().rstrip('.')}."}
    subject = row.get("subject") or row.get("type")
    if isinstance(subject, str):
        metadata["subject"] = subject
    return Problem(id=problem_id, prompt="\n".join(lines), truth={"choices": choices, "answer": letter}, metadata=metadata)


def _are_texts(choices: Any) -> TypeGuard[Sequence[str]]:
    return isinstance(choices, list | tuple) and all(isinstance(choice, str) for choice in choices)
