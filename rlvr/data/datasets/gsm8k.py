"""GSM8K (Cobbe et al. 2021, arXiv:2110.14168): grade-school word problems; the answer follows `####`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.data.rows import folder_or_hub_rows
from rlvr.data.source import Splits
from rlvr.data.stored import Stored
from rlvr.errors import ConfigError
from rlvr.types import Problem

_CALCULATION = re.compile(r"<<[^<>]*>>")  # calculator annotations, <<48/2=24>>


@dataclass(frozen=True, slots=True, kw_only=True)
class GSM8K(Stored):
    """`openai/gsm8k` from the hub, or a folder with train.jsonl and test.jsonl (`question`, `answer`) or the hub's files."""

    def load(self) -> Splits:
        return Splits(train=self._split("train"), test=self._split("test"))

    def _split(self, split: str) -> Sequence[Problem]:
        rows = folder_or_hub_rows(self.path, split, name="openai/gsm8k", config="main")
        return [_problem(f"gsm8k-{split}-{number:05}", row) for number, row in enumerate(rows)]


def _problem(problem_id: str, row: dict[str, Any]) -> Problem:
    question, solution = row.get("question"), row.get("answer")
    if not isinstance(question, str) or not isinstance(solution, str):
        raise ConfigError(f"dataset: {problem_id} lacks 'question' or 'answer' (it has: {', '.join(row)})")
    reasoning, marker, answer = solution.rpartition("####")
    if not marker:
        raise ConfigError(f"dataset: {problem_id} has no '####' before its answer: {solution[-60:]!r}")
    return Problem(
        id=problem_id,
        prompt=question.strip(),
        truth={"answer": answer.strip()},
        metadata={"solution": _CALCULATION.sub("", reasoning).strip()},
    )
