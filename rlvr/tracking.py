"""Where metrics go besides the run folder."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class Tracker(ABC):
    """A metrics service; the trainer works with `begin(...)` as a session."""

    @abstractmethod
    def begin(self, *, name: str, config: Mapping[str, Any], folder: Path) -> Session: ...


class Session:
    """One run at a metrics service; this one keeps nothing."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of a step, once a step, steps rising."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The run is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTracker(Tracker):
    """Nothing besides the run folder."""

    def begin(self, *, name: str, config: Mapping[str, Any], folder: Path) -> Session:
        return Session()


@dataclass(frozen=True, slots=True, kw_only=True)
class WandbTracker(Tracker):
    """Weights & Biases: online when logged in, otherwise files in the run folder (`wandb sync` uploads them later)."""

    project: str = "rlvr"
    """Project in W&B."""
    entity: str | None = None
    """Team or user in W&B; None: the default of the account."""
    mode: str | None = None
    """online, offline or disabled; None: online when logged in, else offline. WANDB_MODE goes before it."""

    def __post_init__(self) -> None:
        if self.mode not in (None, "online", "offline", "disabled"):
            raise ValueError(f"mode={self.mode}: must be online, offline or disabled")

    def begin(self, *, name: str, config: Mapping[str, Any], folder: Path) -> Session:
        try:
            import wandb
        except ImportError as error:
            logger.warning("W&B cannot be imported, going on without it: %s", error)
            return Session()
        mode: Any = os.environ.get("WANDB_MODE") or self.mode or ("online" if wandb.api.api_key else "offline")
        try:
            run = wandb.init(
                project=self.project,
                entity=self.entity,
                name=name,
                config=dict(config),
                dir=folder,
                mode=mode,
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
            )
        except (wandb.Error, OSError) as error:
            logger.warning("W&B does not start, going on without it: %s", error)
            return Session()
        return _WandbSession(run)


class _WandbSession(Session):
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish()
