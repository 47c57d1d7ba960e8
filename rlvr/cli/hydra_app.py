"""Runs a command that Hydra composes: `rlvr train` and `rlvr evaluate`, single runs and sweeps."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from rlvr.cli.exit_status import USER_ERRORS, failures_in_one_line
from rlvr.cli.sweep import check_sweep
from rlvr.config.compose import CONF, check_packs, typed, yaml_of
from rlvr.config.overrides import FLAGS_WITH_VALUE, for_hydra, overrides_in
from rlvr.errors import ConfigError, RunStopped, describe
from rlvr.runs.plan import Plan, plan

if TYPE_CHECKING:
    from rlvr.evaluation.metrics import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A single run, or a run of a sweep, with its configuration checked."""

    plan: Plan
    config_yaml: str
    """What repeats it."""
    folder: Path
    sweep: Path | None
    """Folder of the sweep."""


def run_hydra(task: Callable[[Job], Evaluation | None], arguments: Sequence[str]) -> int:
    """Compose the configuration from `arguments` and call `task` with it, in a sweep once a job; returns the exit status.

    Sweepers get the accuracy that `task` returns, or the reward where no rule scores the answer.
    Errors: those of Hydra and of `task`; `ConfigError` for unknown flags; `RunStopped` where a sweep or its folder fails.
    """
    arguments = _checked_flags(for_hydra(arguments))
    overrides, sweeps = overrides_in(arguments), bool({"--multirun", "-m"} & set(arguments))
    if sweeps and not FLAGS_WITH_VALUE & {argument.partition("=")[0] for argument in arguments}:
        check_sweep(overrides)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises its errors instead of printing them at length
    before, started = sys.argv, list[bool]()

    @wraps(task)
    def run(config: DictConfig) -> float | None:
        started.append(True)
        return _run(task, config)

    sys.argv = [before[0], *arguments]  # Hydra reads its arguments there
    try:
        hydra.main(version_base="1.3", config_path=str(CONF.resolve()), config_name="config")(run)()
    except (*USER_ERRORS, RunStopped):
        raise
    except Exception as error:  # of sweepers and launchers: in a sweep a job's own exception does not get here
        if sweeps:
            raise RunStopped(f"the sweep cannot go on: {describe(error)}") from error
        if isinstance(error, OSError) and not started:  # the run folder
            raise RunStopped(str(error)) from error
        raise
    finally:
        sys.argv = before
    return 0


def _run(task: Callable[[Job], Evaluation | None], config: DictConfig) -> float | None:
    hydra_config = HydraConfig.get()
    overrides = [*hydra_config.overrides.hydra, *hydra_config.overrides.task]
    folder = Path(hydra_config.runtime.output_dir)
    sweep = Path(hydra_config.sweep.dir) if hydra_config.mode == RunMode.MULTIRUN else None
    found = None
    with failures_in_one_line(overrides, job=folder if sweep else None):
        check_packs(GlobalHydra.instance().config_loader(), str(hydra_config.job.config_name), overrides)
        checked = plan(typed(config))
        found = task(Job(plan=checked, config_yaml=yaml_of(config), folder=folder, sweep=sweep))
    return None if found is None else found.accuracy if found.accuracy is not None else found.reward


def _checked_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments; a relative --config-path is repeated as an absolute one, since Hydra would look beside this module.

    Errors: `ConfigError` for a flag that Hydra does not know; Hydra would print its usage.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ConfigError(message)

    parser.error = refuse
    path = parser.parse_args(list(arguments)).config_path
    if not path or "://" in path:
        return list(arguments)
    if not os.path.isdir(path):
        raise ConfigError(f"--config-path {path}: no such folder")
    return [*arguments, "--config-path", os.path.abspath(path)]
