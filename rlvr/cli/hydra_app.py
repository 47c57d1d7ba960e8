"""Runs a command that Hydra composes: `rlvr train` and `rlvr evaluate`, single runs and sweeps."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlvr.cli.sweep import check_sweep
from rlvr.config.compose import CONF
from rlvr.config.overrides import FLAGS_WITH_VALUE, for_hydra, overrides_in
from rlvr.errors import ConfigError, RunStopped, describe


def run_hydra(task: Callable[[DictConfig], Any], arguments: Sequence[str]) -> int:
    """Compose the configuration from `arguments` and call `task` with it, in a sweep once a job; returns the exit status.

    Errors: those of Hydra and of `task`; `ConfigError` for unknown flags; `RunStopped` where a sweep or its folder fails.
    """
    arguments = _checked_flags(for_hydra(arguments))
    overrides, sweeps = overrides_in(arguments), bool({"--multirun", "-m"} & set(arguments))
    if sweeps and not FLAGS_WITH_VALUE & {argument.partition("=")[0] for argument in arguments}:
        check_sweep(overrides)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises its errors instead of printing them at length
    before, started = sys.argv, list[bool]()

    @wraps(task)
    def noted(config: DictConfig) -> Any:
        started.append(True)
        return task(config)

    sys.argv = [before[0], *arguments]  # Hydra reads its arguments there
    try:
        hydra.main(version_base="1.3", config_path=str(CONF.resolve()), config_name="config")(noted)()
    except (ConfigError, RunStopped, HydraException, OmegaConfBaseException, YAMLError):
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
