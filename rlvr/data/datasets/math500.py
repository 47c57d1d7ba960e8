"""MATH-500: 500 test problems of MATH."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.data.competition import problems_of
from rlvr.data.rows import check_folder, check_share, folder_or_hub_rows, split_by_prompt
from rlvr.data.source import DataSource, Splits


@dataclass(frozen=True, slots=True, kw_only=True)
class MATH500(DataSource):
    """`HuggingFaceH4/MATH-500` from the hub, or a folder: the 500 test problems of MATH that Lightman et al. 2023 chose."""

    path: str | None = None
    """Folder with test.jsonl (`problem`, `solution`, `answer`)."""
    train_share: float = 0.0
    """Share to train on and no longer evaluate on, chosen by prompt; 0: no training problems."""

    def __post_init__(self) -> None:
        check_folder(self.path)
        check_share("train_share", self.train_share)

    def load(self) -> Splits:
        rows = folder_or_hub_rows(self.path, "test", name="HuggingFaceH4/MATH-500")
        train, test = split_by_prompt(problems_of("math500", rows), self.train_share)
        return Splits(train=train, test=test)
