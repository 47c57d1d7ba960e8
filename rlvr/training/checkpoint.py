"""Checkpoints for exact resume: written atomically, flushed to disk, a bounded number kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from rlvr.errors import ConfigError, RunStopped

CHECKPOINTS = "checkpoints"
"""Their folder within a run folder."""
STATE, TENSORS = "state.json", "tensors.pt"
FORMAT = 2
"""Counts up whenever what a checkpoint holds changes; one of another format cannot be resumed from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a run between two steps."""

    step: int
    """Steps done."""
    state: Mapping[str, Any]
    """Plain values, as JSON holds them."""
    tensors: Mapping[str, Any]
    """The learner's state (weights, optimizer): nested mappings and lists of tensors and plain values."""
    score: float | None = None
    """Of the evaluation after this step, where it is the best so far; else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """`checkpoints/<step>/` of a run folder."""

    folder: Path
    keep: int
    """How many of the latest are kept, in addition to the one with the best score (the earliest of equals)."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Errors: `RunStopped` when it cannot be written; earlier checkpoints are unaffected."""
        final, unfinished = self.folder / str(checkpoint.step), self.folder / f".{checkpoint.step}.unfinished"
        state = {"format": FORMAT, "step": checkpoint.step, "score": checkpoint.score, **checkpoint.state}
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            _write(unfinished / TENSORS, lambda path: torch.save(dict(checkpoint.tensors), path))
            _write(unfinished / STATE, lambda path: path.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8"))
            _sync(unfinished)
            self._remove(checkpoint.step)  # a resumed run may repeat a step
            unfinished.replace(final)
            _sync(self.folder)
            self._thin_out()
        except (OSError, RuntimeError) as error:  # torch raises the latter when the disk is full
            shutil.rmtree(unfinished, ignore_errors=True)
            raise RunStopped(f"the checkpoint of step {checkpoint.step} cannot be written: {error}") from error

    def latest(self) -> Checkpoint | None:
        """The one to resume from; None before the first. Errors: `ConfigError` where it cannot be read."""
        steps = self._steps()
        return self._load(steps[-1]) if steps else None

    def best(self) -> int | None:
        """The step of the checkpoint with the best score; None where none has one."""
        scored = [(score, -step) for step in self._steps() if (score := self._state(step)["score"]) is not None]
        return -max(scored)[1] if scored else None

    def _thin_out(self) -> None:
        best = self.best()
        for step in self._steps()[: -self.keep]:
            if step != best:
                self._remove(step)

    def _remove(self, step: int) -> None:
        """Renamed first, so that a kill in the middle leaves nothing that looks like a checkpoint."""
        removed = self.folder / f".{step}.removed"
        shutil.rmtree(removed, ignore_errors=True)
        if (self.folder / str(step)).exists():
            (self.folder / str(step)).replace(removed)
            shutil.rmtree(removed)

    def _steps(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())

    def _state(self, step: int) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / str(step) / STATE).read_text(encoding="utf-8"))
        return state

    def _load(self, step: int) -> Checkpoint:
        folder = self.folder / str(step)
        try:
            state = self._state(step)
            written = state.pop("format", 1)
            if written != FORMAT:
                raise ValueError(f"it is of a different version of rlvr (format {written}, not {FORMAT})")
            tensors = torch.load(folder / TENSORS, map_location="cpu", weights_only=True)
            return Checkpoint(step=state.pop("step"), score=state.pop("score"), state=state, tensors=tensors)
        except (OSError, ValueError, KeyError, RuntimeError, UnpicklingError) as error:
            raise ConfigError(f"{folder}: cannot be read as a checkpoint: {error}") from error


def tidy(folder: Path) -> None:
    """Remove checkpoints that a kill left half-written or half-removed."""
    for left in folder.glob(".*"):
        shutil.rmtree(left, ignore_errors=True)


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    write(path)
    _sync(path)


def _sync(path: Path) -> None:
    """Flush to disk (fsync), so that a rename afterwards is never of incomplete data, even after a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
