"""`rlvr train`: train a language model with GRPO against a rule pack. `rlvr train --help` lists every key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlvr.cli.hydra_app import Job, run_hydra
from rlvr.cli.train_help import help_text
from rlvr.errors import RunStopped
from rlvr.runs.resume import Resume

if TYPE_CHECKING:
    from rlvr.evaluation.metrics import Evaluation

__all__ = ["help_text", "run"]


def run(arguments: Sequence[str]) -> int:
    """Returns the exit status. Errors: `ConfigError`, `RunStopped`, `KeyboardInterrupt`."""
    resume = Resume.of(arguments)

    def train(job: Job) -> Evaluation | None:
        """The evaluation of the trained model."""
        # These import torch and transformers, so only after the configuration has been checked.
        from rlvr.analysis.report import write_run_report
        from rlvr.runs.run import run as run_plan

        result = run_plan(
            job.plan, folder=job.folder, config_yaml=job.config_yaml, resume=resume, sweep=job.sweep, report=write_run_report
        )
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        if result.stopped is not None:
            raise RunStopped(result.stopped)
        return result.after

    return run_hydra(train, arguments if resume is None else resume.arguments(arguments))
