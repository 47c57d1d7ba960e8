"""What a run leaves on disk. Files appear whole or not at all; metrics.jsonl grows by whole lines."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.config import ConfigError
from rlvr.policy import Policy


@dataclass(frozen=True, slots=True)
class RunFolder:
    """`config.yaml`, `rules.yaml`, `metrics.jsonl`, `summary.json`, `curves.png`, `model/` of one run."""

    path: Path

    @staticmethod
    def check_free(path: Path) -> None:
        """Errors: `ConfigError` when the folder holds a run already; nothing of it is overwritten."""
        if (path / "metrics.jsonl").exists():
            raise ConfigError(f"hydra.run.dir={path}: holds a run already; choose another folder")

    @classmethod
    def create(cls, path: Path, config_yaml: str) -> RunFolder:
        """The folder of a new run; `check_free` has been asked."""
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path)
        folder._write("config.yaml", config_yaml)
        (path / "metrics.jsonl").touch()
        return folder

    def write_rules(self, text: str) -> None:
        """rules.yaml: the rules that the next step uses (`rlvr.rules.live`)."""
        self._write("rules.yaml", text)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line; one write, so that a reader or a kill never sees half of it."""
        line = json.dumps({"step": step, **{name: _rounded(value) for name, value in metrics.items()}})
        with (self.path / "metrics.jsonl").open("a") as lines:
            lines.write(line + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        with (self.path / "metrics.jsonl").open() as lines:
            return [json.loads(line) for line in lines]

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self._write("summary.json", json.dumps(summary, indent=2) + "\n")

    def save_model(self, policy: Policy) -> None:
        """`model/`, as `AutoModelForCausalLM.from_pretrained` loads it."""
        unfinished = self.path / ".model.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        policy.model.save_pretrained(unfinished)
        policy.tokenizer.save_pretrained(unfinished)
        os.replace(unfinished, self.path / "model")

    def _write(self, name: str, text: str) -> None:
        unfinished = self.path / f".{name}.unfinished"
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, self.path / name)


def _rounded(value: float) -> float:
    """Nine digits: all that a float32 holds."""
    return float(f"{value:.9g}")
