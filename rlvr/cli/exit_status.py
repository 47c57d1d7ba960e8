"""How a command ends: one line for errors that a user can mend, and the exit status."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlvr.config.compose import error_line
from rlvr.config.overrides import for_hydra, overrides_in
from rlvr.errors import JOB_ERROR, ConfigError, RunStopped, describe

USER_ERRORS = (ConfigError, HydraException, OmegaConfBaseException, YAMLError)
"""What a user can mend: exit status 2."""


def exit_status(run: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """What `run` returns, or 1: it had to stop, 2: the arguments or the configuration are wrong, 130: it was interrupted.

    Any other exception is a defect and keeps its traceback.
    """
    try:
        return run(arguments)
    except USER_ERRORS as error:
        print(f"error: {error_line(error, overrides_in(for_hydra(arguments)))}", file=sys.stderr)
        return 2
    except RunStopped as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except SystemExit as end:  # by `failures_in_one_line`, and by Hydra
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)


@contextmanager
def failures_in_one_line(overrides: Sequence[str], *, job: Path | None = None) -> Iterator[None]:
    """For the body of a Hydra main function: exits with 2 for wrong input and 1 for a run that had to stop; no traceback.

    job: the folder of a sweep's job. A failure of any kind is written into error.txt there and not raised, so that the other
    jobs run; `FailedJobs` counts it.
    """
    if job is not None:
        (job / JOB_ERROR).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        expected = isinstance(error, (*USER_ERRORS, RunStopped))
        if job is None and not expected:
            raise
        line = error_line(error, overrides) if expected else describe(error)
        # Hydra would print more lines for any exception but SystemExit.
        print(f"error: {line}" if job is None else f"error: job {job.name}: {line}", file=sys.stderr)
        if job is None:
            raise SystemExit(1 if isinstance(error, RunStopped) else 2) from error
        (job / JOB_ERROR).write_text(f"{line}\n" if expected else "".join(traceback.format_exception(error)), encoding="utf-8")
