"""`rlvr train`: train a language model with GRPO against a rule pack. `rlvr train --help` lists every key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from rlvr.cli.exit_status import failures_in_one_line
from rlvr.cli.hydra_app import run_hydra
from rlvr.cli.train_help import help_text
from rlvr.config.compose import check_packs, typed, yaml_of
from rlvr.errors import RunStopped
from rlvr.runs.plan import plan
from rlvr.runs.resume import Resume

__all__ = ["help_text", "run"]


def run(arguments: Sequence[str]) -> int:
    """Returns the exit status. Errors: `ConfigError`, `RunStopped`, `KeyboardInterrupt`."""
    resume = Resume.of(arguments)

    def task(config: DictConfig) -> float | None:
        return _train(config, resume)

    return run_hydra(task, arguments if resume is None else resume.arguments(arguments))


def _train(config: DictConfig, resume: Resume | None) -> float | None:
    """Compose, build, run; returns the held-out accuracy (the reward where no rule scores the answer) for sweepers."""
    job = HydraConfig.get()
    overrides = [*job.overrides.hydra, *job.overrides.task]
    folder = Path(job.runtime.output_dir)
    sweep = Path(job.sweep.dir) if job.mode == RunMode.MULTIRUN else None
    with failures_in_one_line(overrides, job=folder if sweep else None):
        if resume is None:
            check_packs(GlobalHydra.instance().config_loader(), str(job.job.config_name), overrides)
        checked = plan(typed(config))

        # These import torch and transformers, so only after the configuration has been checked.
        from rlvr.analysis.report.run_report import write_run_report
        from rlvr.runs.run import run as run_plan

        result = run_plan(
            checked, folder=folder, config_yaml=yaml_of(config), resume=resume, sweep=sweep, report=write_run_report
        )
        if result.stopped not in (None, "interrupted"):
            raise RunStopped(result.stopped)
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        after = result.after
        return None if after is None else after.accuracy if after.accuracy is not None else after.reward
    return None  # a job of a sweep that failed
