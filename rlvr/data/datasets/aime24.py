"""AIME 2024."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.data.competition import problems_of
from rlvr.data.rows import check_folder, check_share, folder_or_hub_rows, has_split, split_by_prompt
from rlvr.data.source import DataSource, Splits


@dataclass(frozen=True, slots=True, kw_only=True)
class AIME24(DataSource):
    """`HuggingFaceH4/aime_2024` from the hub, or a folder: the 30 problems of AIME I and II 2024, answers 0 to 999."""

    path: str | None = None
    """Folder with test.jsonl (`problem`, `solution`, `answer`), or with the hub's Parquet file (named `train` there)."""
    train_share: float = 0.0
    """Share to train on and no longer evaluate on, chosen by prompt; 0: no training problems."""

    def __post_init__(self) -> None:
        check_folder(self.path)
        check_share("train_share", self.train_share)

    def load(self) -> Splits:
        from_hub = self.path is None or (has_split(self.path, "train") and not has_split(self.path, "test"))
        rows = folder_or_hub_rows(self.path, "train" if from_hub else "test", name="HuggingFaceH4/aime_2024")
        train, test = split_by_prompt(problems_of("aime24", rows), self.train_share)
        return Splits(train=train, test=test)
