"""MATH (Hendrycks et al. 2021, arXiv:2103.03874): competition mathematics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.data.competition import problems_of
from rlvr.data.rows import hub_rows, split_rows
from rlvr.data.source import Splits
from rlvr.data.stored import Stored
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
class MATH(Stored):
    """`EleutherAI/hendrycks_math` from the hub (7,500 + 5,000), or a folder. 500 of its test problems are MATH-500.

    The folder has train.jsonl and test.jsonl (`problem`, `solution`), or the hub's Parquet files.
    """

    def load(self) -> Splits:
        return Splits(train=self._split("train"), test=self._split("test"))

    def _split(self, split: str) -> Sequence[Problem]:
        if self.path is not None:
            rows = split_rows(self.path, split)
        else:
            rows = [row for subject in SUBJECTS for row in hub_rows("EleutherAI/hendrycks_math", subject, split)]
        return problems_of(f"math-{split}", rows)
