"""The interface of metrics services."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.tracking.observer import Observer


class Tracker(ABC):
    """A metrics service."""

    @abstractmethod
    def begin(self, *, name: str, config: Mapping[str, Any], folder: Path, sweep: str | None = None) -> Session:
        """Begin a run. config: plain values without secrets; sweep: name of the sweep this run belongs to."""


class Session(Observer):
    """One run at a metrics service; the base class records nothing."""

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """End the run; summary: None where it failed. No other call follows."""
