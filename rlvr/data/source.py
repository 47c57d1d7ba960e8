"""What a data set is to the rest of the project: two lists of problems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Problems whose prompts are bare questions; `metadata["solution"]` is the reference reasoning where there is one."""

    train: Sequence[Problem]
    test: Sequence[Problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource(ABC):
    """A data set adapter: constructed from its YAML keys (and checks them there), loaded once."""

    on_unscorable: Literal["fail", "drop", "keep"] = "fail"
    """What becomes of problems whose truth the rules cannot score: `fail` stops before training, `drop` leaves them out,
    `keep` has their rollouts masked. They are reported in any case."""

    @abstractmethod
    def load(self) -> Splits:
        """Read everything. Errors: `ValueError` naming the key to set when the data cannot be had."""
