"""TriviaQA (Joshi et al. 2017, arXiv:1705.03551) without its documents: questions with all spellings of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.data.rows import folder_or_hub_rows, text_of
from rlvr.data.source import Splits
from rlvr.data.stored import Stored
from rlvr.errors import ConfigError
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class TriviaQA(Stored):
    """`mandarjoshi/trivia_qa`, `rc.nocontext`, from the hub, or a folder. Its test split has no answers, and is not used.

    The folder has train.jsonl and validation.jsonl (`question`, `answer` with `value` and `aliases`), or the hub's files.
    """

    def load(self) -> Splits:
        return Splits(train=self._split("train"), test=self._split("validation"))

    def _split(self, split: str) -> Sequence[Problem]:
        rows = folder_or_hub_rows(self.path, split, name="mandarjoshi/trivia_qa", config="rc.nocontext")
        return [_problem(f"triviaqa-{split}-{number:06}", row) for number, row in enumerate(rows)]


def _problem(problem_id: str, row: dict[str, Any]) -> Problem:
    question, answer = text_of(row, "question", problem_id), row.get("answer")
    if not isinstance(answer, dict):
        raise ConfigError(f"dataset: {problem_id} lacks an object 'answer' (it has: {', '.join(row) or 'nothing'})")
    value = text_of(answer, "value", f"{problem_id}'s answer")
    aliases = answer.get("aliases") or []
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise ConfigError(f"dataset: {problem_id}: the answer's 'aliases' must be a list of texts, got {str(aliases)[:60]!r}")
    return Problem(
        id=problem_id,
        prompt=question,
        truth={"answers": list(dict.fromkeys([value, *filter(str.strip, aliases)]))},
        metadata={"answer": value, "solution": f"The answer is {value}."},
    )
