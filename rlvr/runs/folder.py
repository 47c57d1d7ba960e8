"""The folder of a run. Files appear whole or not at all; metrics.jsonl grows by whole lines."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rlvr.config.schema import AlgoConfig
from rlvr.errors import ConfigError, RunStopped
from rlvr.files import write_whole
from rlvr.models.lora import has_adapters, merged_state, save_adapters
from rlvr.models.policy import Policy
from rlvr.parallel.collectives import broadcast
from rlvr.rules.fingerprint import fingerprint
from rlvr.rules.pack import RulePack
from rlvr.runs.entries import Advantages
from rlvr.runs.rollout_log import RolloutLog
from rlvr.tracking.observer import Observer
from rlvr.training.checkpoint import CHECKPOINTS, Checkpoint, tidy
from rlvr.types import Group, Split

METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder(Observer):
    """`config.yaml`, `rules.yaml`, `metrics.jsonl`, `rollouts/`, `summary.json`, `curves.png`, `model/`, `adapter/`."""

    path: Path
    rules_from: tuple[str, ...] = ()
    """As configured; part of the rules' fingerprint, which is stored with the rollouts."""
    algo: AlgoConfig = field(default_factory=AlgoConfig)
    """As configured; how advantages follow from rewards, which is stored with the rollouts."""

    def create(self, config_yaml: str, rules: str) -> None:
        """Begin a new run. rules: text of rules.yaml, which can be edited live (`rlvr.rules.live`)."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write("config.yaml", config_yaml)
        self._write("rules.yaml", rules)
        (self.path / METRICS).touch()

    def resume(self, config_yaml: str, checkpoint: Checkpoint | None) -> None:
        """Resume the run: drop everything after the checkpoint, and whatever a kill left half-written."""
        self._write("config.yaml", config_yaml)
        done = -1 if checkpoint is None else checkpoint.step
        metrics = self.path / METRICS
        text = metrics.read_text(encoding="utf-8") if metrics.exists() else ""
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        lines = [line for line in whole if json.loads(line)["step"] <= done]
        self._write(METRICS, "".join(lines))
        RolloutLog.of(self.path).drop_after(done)
        tidy(self.path / CHECKPOINTS)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line, whole or not at all, and flush it to disk. Errors: `RunStopped` where it cannot be written."""
        line = json.dumps({"step": step, **{name: _rounded(value) for name, value in metrics.items()}}) + "\n"
        path = self.path / METRICS
        size = path.stat().st_size
        try:
            with path.open("ab", buffering=0) as lines:
                if lines.write(line.encode()) != len(line):
                    raise OSError("the disk is full")
                os.fsync(lines.fileno())  # a checkpoint must never be ahead of the metrics
        except OSError as error:
            os.truncate(path, size)
            raise RunStopped(f"{path} cannot be written: {error}") from error

    def rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        rules = fingerprint(pack, self.rules_from)
        advantages = Advantages.of(self.algo)
        RolloutLog.of(self.path).record(groups, step=step, split=split, rules=rules, advantages=advantages)

    def flush(self) -> None:
        RolloutLog.of(self.path).flush()

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self._write("summary.json", json.dumps(summary, indent=2) + "\n")

    def save_model(self, policy: Policy) -> None:
        """Write `model/`, which `AutoModelForCausalLM.from_pretrained` loads. LoRA adapters are merged into it and also saved
        separately, in `adapter/`. The policy itself is unchanged."""
        adapted = has_adapters(policy.model)

        def save(folder: Path) -> None:
            policy.model.save_pretrained(folder, state_dict=merged_state(policy.model) if adapted else None)
            policy.tokenizer.save_pretrained(folder)

        self._write_folder("model", save)
        if adapted:
            self._write_folder("adapter", partial(save_adapters, policy.model))

    def _write_folder(self, name: str, write: Callable[[Path], None]) -> None:
        unfinished, before = self.path / f".{name}.unfinished", self.path / f".{name}.before"
        for path in (unfinished, before):
            shutil.rmtree(path, ignore_errors=True)
        write(unfinished)
        if (self.path / name).exists():  # the run was resumed after its end
            os.replace(self.path / name, before)
        os.replace(unfinished, self.path / name)
        shutil.rmtree(before, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        write_whole(self.path / name, text)


def agree_on_folder(folder: Path, *, new: bool) -> Path:
    """The main process's folder, on every process: those that start a second apart have different default names.

    new: it must not hold a run, which would be overwritten. Errors: `ConfigError`.
    """
    folder = Path(broadcast(str(folder)))
    if new and (folder / METRICS).exists():
        raise ConfigError(f"hydra.run.dir={folder}: holds a run already; choose a different folder, or resume={folder}")
    return folder


def _rounded(value: float) -> float:
    """To nine digits: all that a float32 holds."""
    return float(f"{value:.9g}")
