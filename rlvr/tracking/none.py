"""No metrics service."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.tracking.observer import Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTracker(Observer):
    """Records nothing; the run folder has all metrics anyway."""
