"""`rlvr report DIR`: write DIR/report.html for the run, or the runs of the sweep, in DIR.

Exit status: 0; 1 when the page cannot be written; 2 when there is no run in DIR.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlvr.analysis.report import write_report
from rlvr.errors import ConfigError, RunStopped

USAGE = "usage: rlvr report DIR    (a run folder, or a folder of runs such as a sweep's)"


def run(arguments: Sequence[str]) -> int:
    """Returns the exit status. Errors: `ConfigError`, `RunStopped`."""
    if len(arguments) != 1:
        raise ConfigError(f"one DIR is needed; {USAGE}")
    try:
        print(write_report(Path(arguments[0])))
    except OSError as error:
        raise RunStopped(str(error)) from error
    return 0
