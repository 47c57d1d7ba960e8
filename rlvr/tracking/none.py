"""No metrics service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.tracking.tracker import Session, Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTracker(Tracker):
    """Records nothing; the run folder has all metrics anyway."""

    def begin(self, *, name: str, config: Mapping[str, Any], folder: Path, sweep: str | None = None) -> Session:
        return Session()
