"""What a run leaves on disk. Files appear whole or not at all; metrics.jsonl grows by whole lines."""

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
from rlvr.rules.fingerprint import fingerprint
from rlvr.rules.pack import RulePack
from rlvr.runs.rollout_log import RolloutLog
from rlvr.runs.rows import Split
from rlvr.tracking.observer import Observer
from rlvr.training.checkpoint import CHECKPOINTS, Checkpoint, tidy
from rlvr.types import Group

METRICS = "metrics.jsonl"
JOB_ERROR = "error.txt"
"""Why a job of a sweep failed, in its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder(Observer):
    """`config.yaml`, `rules.yaml`, `metrics.jsonl`, `rollouts/`, `summary.json`, `curves.png`, `model/`, `adapter/`."""

    path: Path
    rules_from: tuple[str, ...] = ()
    """As configured; for the hash of the rules beside the rollouts."""
    algo: AlgoConfig = field(default_factory=AlgoConfig)
    """As configured; for the advantages beside the rollouts."""

    @staticmethod
    def check_free(path: Path) -> None:
        """Errors: `ConfigError` when the folder holds a run already; nothing of it is overwritten."""
        if (path / METRICS).exists():
            raise ConfigError(f"hydra.run.dir={path}: holds a run already; choose another folder, or go on with resume={path}")

    def begin(self, config_yaml: str, rules: str) -> None:
        """A new run; `check_free` has been asked. rules: text of rules.yaml, which the next step uses (`rlvr.rules.live`)."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write("config.yaml", config_yaml)
        self._write("rules.yaml", rules)
        (self.path / METRICS).touch()

    def go_on(self, config_yaml: str, checkpoint: Checkpoint | None) -> None:
        """The run goes on: what came after the checkpoint is forgotten, and what a kill left half-written."""
        self._write("config.yaml", config_yaml)
        done = -1 if checkpoint is None else checkpoint.step
        lines = [line for line in self._whole_lines() if json.loads(line)["step"] <= done]
        self._write(METRICS, "".join(lines))
        RolloutLog.of(self.path).drop_after(done)
        tidy(self.path / CHECKPOINTS)

    def _whole_lines(self) -> list[str]:
        path = self.path / METRICS
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line, whole or not at all. Errors: `RunStopped` where the disk does not take it."""
        line = json.dumps({"step": step, **{name: _rounded(value) for name, value in metrics.items()}}) + "\n"
        path = self.path / METRICS
        size = path.stat().st_size
        try:
            with path.open("ab", buffering=0) as lines:
                if lines.write(line.encode()) != len(line):
                    raise OSError("the disk is full")
                os.fsync(lines.fileno())  # a checkpoint builds on it
        except OSError as error:
            os.truncate(path, size)
            raise RunStopped(f"{path} cannot be written: {error}") from error

    def rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        rules = fingerprint(pack, self.rules_from)
        RolloutLog.of(self.path).record(
            groups,
            step=step,
            split=split,
            rules=rules,
            scaling=self.algo.scaling,
            deviation=self.algo.deviation,
            mask_truncated=self.algo.mask_truncated,
        )

    def settle(self) -> None:
        RolloutLog.of(self.path).settle()

    def read_metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._whole_lines()]

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self._write("summary.json", json.dumps(summary, indent=2) + "\n")

    def save_model(self, policy: Policy) -> None:
        """`model/`, as `AutoModelForCausalLM.from_pretrained` loads it: adapters, if there are some, are merged into it, and
        `adapter/` holds them by themselves. The policy stays as it is."""
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
        if (self.path / name).exists():  # of a run that goes on
            os.replace(self.path / name, before)
        os.replace(unfinished, self.path / name)
        shutil.rmtree(before, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        write_whole(self.path / name, text)


def _rounded(value: float) -> float:
    """Nine digits: all that a float32 holds."""
    return float(f"{value:.9g}")
