"""AIME 2024."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.data.competition import problems_of
from rlvr.data.rows import folder_or_hub_rows, has_split
from rlvr.data.stored import Divided
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class AIME24(Divided):
    """`HuggingFaceH4/aime_2024` from the hub, or a folder: the 30 problems of AIME I and II 2024, answers 0 to 999.

    The folder has test.jsonl (`problem`, `solution`, `answer`), or the hub's Parquet file (named `train` there).
    """

    def test(self) -> Sequence[Problem]:
        from_hub = self.path is None or (has_split(self.path, "train") and not has_split(self.path, "test"))
        rows = folder_or_hub_rows(self.path, "train" if from_hub else "test", name="HuggingFaceH4/aime_2024")
        return problems_of("aime24", rows)
