"""`python -m rlvr.report DIR`: write DIR/report.html for the run, or the runs of the sweep, in DIR.

Exit status: 0; 1 when the page cannot be written; 2 when there is no run in DIR.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rlvr.config import ConfigError
from rlvr.report.page import write_report

USAGE = "usage: python -m rlvr.report DIR    (a run folder, or a folder of runs such as a sweep's)"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    if len(arguments) != 1:
        print(f"error: {USAGE}", file=sys.stderr)
        return 2
    try:
        print(write_report(Path(arguments[0])))
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
