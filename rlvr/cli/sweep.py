"""Sweeps (`-m`): all jobs are checked before the first, and a job that fails does not stop the others."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from rlvr.config.compose import compose
from rlvr.errors import JOB_ERROR
from rlvr.runs.plan import plan


class FailedJobs(Callback):
    """Ends a sweep with status 1 if any job failed, with any launcher and sweeper."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self._before = _errors(config)
        if str(config.hydra.sweeper.get("direction", "")).endswith("minimize"):
            print("warning: direction=minimize looks for the lowest accuracy; hydra/sweeper=best does not", file=sys.stderr)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        failed = [path for path, written in sorted(_errors(config).items()) if self._before.get(path) != written]
        if failed:
            jobs = "1 job" if len(failed) == 1 else f"{len(failed)} jobs"
            print(f"error: {jobs} of the sweep failed:", *failed, sep="\n  ", file=sys.stderr)
            raise SystemExit(1)  # Hydra turns any other exception of a callback into a warning


def _errors(config: DictConfig) -> dict[Path, int]:
    """error.txt of failed jobs, with the time of writing (nanoseconds)."""
    return {path: path.stat().st_mtime_ns for path in Path(config.hydra.sweep.dir).rglob(JOB_ERROR)}


def check_sweep(overrides: Sequence[str]) -> None:
    """Check the configuration of every job of a sweep before the first one starts. Errors: `ConfigError`."""
    choices: list[list[str]] = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.get_key_element()
        if key.startswith("hydra") and key != "hydra.searchpath":
            continue
        if override.is_discrete_sweep():
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        elif not override.is_sweep_override():
            choices.append([str(override.input_line)])
    for job in itertools.product(*choices):
        plan(compose(job), [override for override in job if override.startswith("hydra.searchpath=")])
