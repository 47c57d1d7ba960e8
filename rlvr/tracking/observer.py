"""Observers of a run: the run folder, a metrics service, the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr.rules.pack import RulePack
from rlvr.types import Group, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A run, as its observers know it."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    """Plain values of all keys, without secrets."""
    steps: int
    """Training steps in all."""
    done: int = 0
    """Steps done before, by the run that is resumed."""
    sweep: str | None = None
    """Name of the sweep that the run belongs to."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the run works with, for a human: model, data, reward, device, ..."""
    notes: Sequence[str] = ()
    """What to know before the first step: changes on resume, warnings about the data."""


class Observer:
    """Called by the run and its trainer on the main process; each observer overrides the methods it needs.

    `tracking` in the configuration names one, for a metrics service. `rollouts`, `log`, `note` and `flush` may raise
    `RunStopped`.
    """

    def begin(self, run: RunInfo) -> None:
        """Called first, and once."""

    def rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        """The scored groups of a step, before its `log`; training groups with the advantages used in the loss."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """The metrics of a step; called once for each in ascending order, 0 before training."""

    def note(self, step: int, text: str) -> None:
        """A message for readers of the run: rules that changed, an edit that was refused."""

    def flush(self) -> None:
        """Flush to disk (fsync); called before a checkpoint is written."""

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Called last, and always once it has begun. summary: as in summary.json; None where the run failed."""
