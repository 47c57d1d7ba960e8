"""The devices and precision that a run computes with."""

from __future__ import annotations

import os

from accelerate import Accelerator
from accelerate.utils import set_seed

from rlvr.errors import ConfigError


def start_process(*, mixed_precision: str, cpu: bool, seed: int) -> Accelerator:
    """Accelerate for this process, and its global random generators at `seed`.

    Errors: `ConfigError` for a precision that the machine lacks, and for processes that would not form one group.
    """
    try:
        accelerator = Accelerator(mixed_precision=mixed_precision, cpu=cpu)
    except ValueError as error:
        raise ConfigError(f"cluster.mixed_precision={mixed_precision}: {str(error).splitlines()[0]}") from error
    if int(os.environ.get("WORLD_SIZE") or 1) > accelerator.num_processes:  # each would train alone, into one folder
        raise ConfigError(f"cluster.cpu={cpu}: several processes without GPUs need cluster.cpu=true")
    set_seed(seed)
    return accelerator
