"""The interface of a data set: a class that loads problems for training and for evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlvr.config.instantiate import construct
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Problems whose prompts are bare questions; `metadata["solution"]` is the reference reasoning, if there is one."""

    train: Sequence[Problem]
    test: Sequence[Problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource(ABC):
    """A data set: constructed from its YAML keys, which the constructor checks, and loaded once."""

    on_unscorable: Literal["fail", "drop", "keep"] = "fail"
    """What to do with problems whose ground truth the rules cannot score: `fail` stops before training, `drop` leaves them out,
    `keep` masks their rollouts. They are reported in any case."""

    @abstractmethod
    def load(self) -> Splits:
        """Read everything. Errors: `ValueError` naming the key to set when the data is not there."""


def data_source(node: Mapping[str, Any], key: str = "dataset") -> DataSource:
    """The data set that a configuration node names, or a mixture with its parts. Errors: `ConfigError`."""
    node = node.get("dataset", node)  # a part whose file sets other keys too (`@package _global_`)
    if "parts" not in node:
        return construct(node, DataSource, key=key)
    parts = {name: data_source(part, f"{key}.parts.{name}") for name, part in node["parts"].items()}
    return construct({**node, "parts": parts}, DataSource, key=key)
