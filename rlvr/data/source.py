"""What a data set is to the rest of the project: two lists of problems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlvr.config.instantiate import construct
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


def data_source(node: Mapping[str, Any], key: str = "dataset") -> DataSource:
    """A data set, or a mixture with its parts. Errors: `ConfigError`."""
    node = node.get("dataset", node)  # a part whose file sets other keys too (`@package _global_`): those stay with the file
    if "parts" not in node:
        return construct(node, DataSource, key=key)
    parts = {name: data_source(part, f"{key}.parts.{name}") for name, part in node["parts"].items()}
    return construct({**node, "parts": parts}, DataSource, key=key)
