"""What a metrics service is to a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.tracking.observer import Observer


class Tracker(ABC):
    """A metrics service; the trainer works with `begin(...)` as a session."""

    @abstractmethod
    def begin(self, *, name: str, config: Mapping[str, Any], folder: Path, sweep: str | None = None) -> Session:
        """`config`: plain values without passwords; `sweep`: of which the run is a job, by name."""


class Session(Observer):
    """One run at a metrics service; this one keeps nothing."""

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """The run is over, by an error where there is no summary. Nothing follows."""
