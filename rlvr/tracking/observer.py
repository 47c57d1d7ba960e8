"""Who hears of what a run does: the run folder, the tracker, the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rlvr.rules.pack import RulePack
from rlvr.types import Group

if TYPE_CHECKING:
    from rlvr.runs.rows import Split


class Observer:
    """Called by the trainer on the main process; each observer overrides what it cares for."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Everything of a step that has a number; once a step, steps rising, 0 before training."""

    def rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        """The judged groups of a step, before its `log`: training groups with the advantages that the loss saw."""

    def settle(self) -> None:
        """Before a checkpoint: on return, what was heard of is on the disk itself."""

    def note(self, step: int, text: str) -> None:
        """Something that a reader of the run should know of: rules that changed, an edit that was refused."""
