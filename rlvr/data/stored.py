"""Data sets that are files: in a folder, or without one on the Hugging Face hub."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rlvr.config.bounds import check_fields
from rlvr.data.rows import split_by_prompt
from rlvr.data.source import DataSource, Splits
from rlvr.errors import ConfigError
from rlvr.hub import offline_if_unreachable
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(DataSource):
    """A data set with a `path`."""

    path: str | None = None
    """Folder with a JSON Lines file a split, or with the hub's Parquet files; None: the hub."""

    def __post_init__(self) -> None:
        if not self.path:
            object.__setattr__(self, "path", None)  # `dataset.path=` on a command line
            offline_if_unreachable()
        elif not Path(self.path).is_dir():
            raise ConfigError(f"dataset.path={self.path}: no such folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided(Stored):
    """A data set whose test problems may be trained on in part."""

    train_share: float = 0.0
    """Share of the test problems to train on as well and no longer evaluate on, chosen by prompt."""

    def __post_init__(self) -> None:
        Stored.__post_init__(self)  # `super()` does not know a class with slots
        check_fields(self, "train_share", at_least=0, below=1)

    def load(self) -> Splits:
        chosen, rest = split_by_prompt(self.test(), self.train_share)
        return Splits(train=[*self.train(), *chosen], test=rest)

    @abstractmethod
    def test(self) -> Iterable[Problem]:
        """All test problems."""

    def train(self) -> Iterable[Problem]:
        """Problems that are for training in any case."""
        return ()
