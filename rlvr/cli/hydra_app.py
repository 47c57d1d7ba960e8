"""Runs a command that Hydra composes: `rlvr train` and `rlvr evaluate`, single runs and sweeps."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from rlvr.cli.sweep import check_sweep
from rlvr.config.compose import CONF
from rlvr.config.overrides import as_hydra_reads
from rlvr.errors import ConfigError, RunStopped, describe

_FLAGS_WITH_VALUE = {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p"}


def run_hydra(task: Callable[[DictConfig], Any], arguments: Sequence[str]) -> int:
    """Compose the configuration from `arguments` and call `task` with it, in a sweep once a job; returns the exit status.

    Errors: those of Hydra and of `task`, and `RunStopped` where a sweep cannot go on.
    """
    arguments = as_hydra_reads(arguments)
    overrides, sweeps = overrides_in(arguments), bool({"--multirun", "-m"} & set(arguments))
    if sweeps and not _FLAGS_WITH_VALUE & {argument.partition("=")[0] for argument in arguments}:
        check_sweep(overrides)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises its errors instead of printing them at length
    before = sys.argv
    sys.argv = [before[0], *arguments]  # where Hydra reads them
    try:
        hydra.main(version_base="1.3", config_path=str(CONF.resolve()), config_name="config")(task)()
    except (ConfigError, RunStopped, HydraException, OmegaConfBaseException):
        raise
    except Exception as error:  # what sweepers and launchers raise; jobs keep theirs to themselves
        if not sweeps:
            raise
        raise RunStopped(f"the sweep cannot go on: {describe(error)}") from error
    finally:
        sys.argv = before
    return 0


def overrides_in(arguments: Sequence[str]) -> list[str]:
    """The arguments that are overrides, not flags or their values."""
    follows_flag = [False, *(argument in _FLAGS_WITH_VALUE for argument in arguments)]
    return [a for a, value in zip(arguments, follows_flag, strict=False) if "=" in a and not a.startswith("-") and not value]
