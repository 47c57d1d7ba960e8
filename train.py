"""Train a language model against a rule pack: `python train.py`; `python train.py --help` lists every key."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rlvr.build import plan
from rlvr.cli import command, failures_in_one_line
from rlvr.compose import check_packs, typed, yaml_of
from rlvr.types import RunStopped


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """Compose, build, run; returns the held-out accuracy (or reward, where no rule judges the answer) for sweepers."""
    job = HydraConfig.get()
    overrides = [*job.overrides.hydra, *job.overrides.task]
    with failures_in_one_line(overrides):
        check_packs(GlobalHydra.instance().config_loader(), str(job.job.config_name), overrides)
        checked = plan(typed(config))

        from rlvr.run import run  # imports torch and transformers: after the configuration is known to be sound

        outcome = run(checked, folder=Path(job.runtime.output_dir), config_yaml=yaml_of(config))
        if outcome.stopped not in (None, "interrupted"):
            raise RunStopped(outcome.stopped)
    if outcome.stopped == "interrupted":
        raise KeyboardInterrupt
    after = outcome.after
    return None if after is None else after.accuracy if after.accuracy is not None else after.reward


if __name__ == "__main__":
    sys.exit(command(main))
