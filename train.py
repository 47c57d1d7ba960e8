"""Train a language model against a rule pack: `python train.py`; `python train.py --help` lists every key."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from rlvr.build import plan
from rlvr.cli import command, failures_in_one_line
from rlvr.compose import check_packs, typed, yaml_of
from rlvr.resume import Resume
from rlvr.types import RunStopped

ASKED = tuple(sys.argv[1:])
"""The command line as it was given; Hydra gets another one where a run is to go on."""


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """Compose, build, run; returns the held-out accuracy (or reward, where no rule judges the answer) for sweepers."""
    job = HydraConfig.get()
    overrides = [*job.overrides.hydra, *job.overrides.task]
    folder = Path(job.runtime.output_dir)
    sweep = Path(job.sweep.dir) if job.mode == RunMode.MULTIRUN else None
    with failures_in_one_line(overrides, job=folder if sweep else None):
        resume = Resume.of(ASKED)
        if resume is None:
            check_packs(GlobalHydra.instance().config_loader(), str(job.job.config_name), overrides)
        checked = plan(typed(config))

        from rlvr.run import run  # imports torch and transformers: after the configuration is known to be sound

        outcome = run(checked, folder=folder, config_yaml=yaml_of(config), resume=resume, sweep=sweep)
        if outcome.stopped not in (None, "interrupted"):
            raise RunStopped(outcome.stopped)
        if outcome.stopped == "interrupted":
            raise KeyboardInterrupt
        after = outcome.after
        return None if after is None else after.accuracy if after.accuracy is not None else after.reward
    return None  # a job of a sweep that failed


if __name__ == "__main__":
    with failures_in_one_line(ASKED):
        asked = Resume.of(ASKED)
    if asked is not None:
        sys.argv[1:] = asked.arguments(ASKED)
    sys.exit(command(main))
