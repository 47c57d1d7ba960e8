"""MATH-500: 500 test problems of MATH."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.data.competition import problems_of
from rlvr.data.rows import folder_or_hub_rows
from rlvr.data.stored import Divided
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class MATH500(Divided):
    """`HuggingFaceH4/MATH-500` from the hub, or a folder: the 500 test problems of MATH that Lightman et al. 2023 chose.

    The folder has test.jsonl (`problem`, `solution`, `answer`).
    """

    def test(self) -> Sequence[Problem]:
        return problems_of("math500", folder_or_hub_rows(self.path, "test", name="HuggingFaceH4/MATH-500"))
