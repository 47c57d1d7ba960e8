"""Competition mathematics: MATH (Hendrycks et al. 2021, arXiv:2103.03874), its 500 test problems, and AIME 2024."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.answers.extract import boxes
from rlvr.config import ConfigError
from rlvr.data.rows import check_place, check_share, has_split, hub_rows, part_by_prompt, split_rows, text_of
from rlvr.data.source import DataSource, Splits
from rlvr.types import Problem

SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
"""The hub's configurations of MATH."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MATH(DataSource):
    """`EleutherAI/hendrycks_math` from the hub (7,500 + 5,000), or a folder. 500 of its test problems are MATH-500."""

    path: str | None = None
    """Folder with train.jsonl and test.jsonl (`problem`, `solution`), or with the hub's Parquet files."""

    def __post_init__(self) -> None:
        check_place(self.path)

    def load(self) -> Splits:
        return Splits(train=self._split("train"), test=self._split("test"))

    def _split(self, split: str) -> Sequence[Problem]:
        if self.path is not None:
            return _problems(f"math-{split}", split_rows(self.path, split))
        return _problems(
            f"math-{split}", [row for subject in SUBJECTS for row in hub_rows("EleutherAI/hendrycks_math", subject, split)]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MATH500(DataSource):
    """`HuggingFaceH4/MATH-500` from the hub, or a folder: the 500 test problems of MATH that Lightman et al. 2023 chose."""

    path: str | None = None
    """Folder with test.jsonl (`problem`, `solution`, `answer`)."""
    train_share: float = 0.0
    """Share that is trained on and no longer evaluated, chosen by prompt; at 0 there are no training problems."""

    def __post_init__(self) -> None:
        check_place(self.path)
        check_share("train_share", self.train_share)

    def load(self) -> Splits:
        rows = split_rows(self.path, "test") if self.path is not None else hub_rows("HuggingFaceH4/MATH-500", None, "test")
        train, test = part_by_prompt(_problems("math500", rows), self.train_share)
        return Splits(train=train, test=test)


@dataclass(frozen=True, slots=True, kw_only=True)
class AIME24(DataSource):
    """`HuggingFaceH4/aime_2024` from the hub, or a folder: the 30 problems of AIME I and II 2024, answers from 0 to 999."""

    path: str | None = None
    """Folder with test.jsonl (`problem`, `solution`, `answer`), or with the hub's Parquet file (which it calls `train`)."""
    train_share: float = 0.0
    """Share that is trained on and no longer evaluated, chosen by prompt; at 0 there are no training problems."""

    def __post_init__(self) -> None:
        check_place(self.path)
        check_share("train_share", self.train_share)

    def load(self) -> Splits:
        if self.path is not None:
            hub_copy = has_split(self.path, "train") and not has_split(self.path, "test")
            rows = split_rows(self.path, "train" if hub_copy else "test")
        else:
            rows = hub_rows("HuggingFaceH4/aime_2024", None, "train")
        train, test = part_by_prompt(_problems("aime24", rows), self.train_share)
        return Splits(train=train, test=test)


def _problems(name: str, rows: Sequence[dict[str, Any]]) -> list[Problem]:
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
    """What the last `\\boxed{...}` of a solution holds, `\\boxed 5` included, which MATH also writes; empty without one."""
    found = boxes(solution)
    _, command, rest = solution.rpartition("\\boxed ")
    if command and "\\boxed" not in rest and not rest.lstrip().startswith("{"):
        return rest.partition("$")[0].strip(" .\n")
    return found[-1].strip() if found else ""
