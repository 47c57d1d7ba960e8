"""Observers of a run: the run folder, the tracker, the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rlvr.rules.pack import RulePack
from rlvr.types import Group

if TYPE_CHECKING:
    from rlvr.runs.entries import Split


class Observer:
    """Called by the trainer on the main process; each observer overrides the methods it needs."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """The metrics of a step; called once for each in ascending order, 0 before training."""

    def rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        """The scored groups of a step, before its `log`; training groups with the advantages used in the loss."""

    def flush(self) -> None:
        """Flush to disk (fsync); called before a checkpoint is written."""

    def note(self, step: int, text: str) -> None:
        """A message for readers of the run: rules that changed, an edit that was refused."""
