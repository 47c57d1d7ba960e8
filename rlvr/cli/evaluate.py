"""`rlvr evaluate model=... dataset=... rules=...`: measure a model on held-out problems.

    rlvr evaluate model=qwen0.5b dataset=math500 rules=math eval.problems=500
    rlvr evaluate model.path=RUN/model eval.samples=16 eval.ks=[1,8,16]      pass@k and maj@k, in addition to greedy accuracy
    rlvr evaluate rules=gsm8k eval.rules=math                                accuracy by different rules
    rlvr evaluate -m model.path=RUN/model,OTHER/model                        one after another

Takes the keys of `rlvr train` (`rlvr train --help`). `hydra.run.dir=FOLDER` is where the results go: config.yaml,
metrics.jsonl, rollouts/ (step 0, split eval; rollout 0 of a problem is the greedy one) and summary.json, as for a run.
Exit status: 0; 1 when scoring failed; 2 when the arguments are wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from rlvr.cli.exit_status import failures_in_one_line
from rlvr.cli.hydra_app import run_hydra
from rlvr.config.compose import check_packs, typed, yaml_of
from rlvr.config.overrides import overrides_in
from rlvr.config.schema import EvalConfig
from rlvr.errors import ConfigError
from rlvr.runs.plan import plan


def help_text() -> str:
    """The docstring, and the keys of `eval`."""
    keys = [f"  eval.{field.name:<16} {field.metadata['meaning']}" for field in dataclasses.fields(EvalConfig)]
    return "\n".join([(__doc__ or "").rstrip(), "", "Keys of eval:", *keys])


def run(arguments: Sequence[str]) -> int:
    """Returns the exit status. Errors: `ConfigError`, `RunStopped`."""
    arguments = list(arguments)
    overrides = overrides_in(arguments)
    if not any(argument.startswith("name=") for argument in overrides):
        at = arguments.index(overrides[0]) if overrides else len(arguments)
        arguments.insert(at, "name=evaluate")  # Hydra's overrides must be adjacent
    return run_hydra(_evaluate, arguments)


def _evaluate(config: DictConfig) -> float | None:
    """Compose, check, evaluate; returns the accuracy (the reward where no rule scores the answer) for sweepers."""
    job = HydraConfig.get()
    overrides = [*job.overrides.hydra, *job.overrides.task]
    folder, found = Path(job.runtime.output_dir), None
    with failures_in_one_line(overrides, job=folder if job.mode is RunMode.MULTIRUN else None):
        check_packs(GlobalHydra.instance().config_loader(), str(job.job.config_name), overrides)
        checked = plan(typed(config))
        if not checked.config.eval.problems:
            raise ConfigError("eval.problems=0: must be at least 1")

        # Imports torch and transformers, so only after the configuration has been checked.
        from rlvr.runs.evaluate import run_evaluation

        repeat = yaml_of(config).replace("rlvr train", "rlvr evaluate", 1)
        found = run_evaluation(checked, folder=folder, config_yaml=repeat)
    return None if found is None else found.accuracy if found.accuracy is not None else found.reward
