"""`rlvr rescore run=RUN`: score every stored rollout of a run again; is every verdict reproduced?

With different rules, `rules=PACK` or overrides of RUN/config.yaml (`rules.format.weight=0.05`, `algo.scaling=none`): what would
the verdicts, rewards, advantages and the order within groups have been? The new rollout log is RUN/rescored/NAME, with
summary.json. NAME lists the changes unless given (`name=NAME`); nothing is overwritten.
With overrides of only `verify` and `rules_from`, the rules are those of each step, from the rollout log.
`show=20`: how many differences, or rollouts that flip, are listed.
Exit status: 0; 1 when a stored verdict, reward or advantage is not reproduced, or when a rollout could not be scored
by different rules (`error`); 2 when the arguments are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from rlvr.analysis.rescore.request import Request
from rlvr.analysis.rescore.rescore import reproduce, rescore
from rlvr.errors import ConfigError, RunStopped
from rlvr.runs.rollout_log import RolloutLog


def run(arguments: Sequence[str]) -> int:
    """Returns the exit status. Errors: `ConfigError`, `RunStopped`."""
    console = Console(highlight=False)
    request = Request.read(arguments)
    log, config = RolloutLog.of(request.run), request.config()
    if not log.files():
        raise ConfigError(f"run={request.run}: holds no rollouts ({log.folder}/*.parquet)")
    try:
        return (rescore if request.changes else reproduce)(request, config, log, console)
    except OSError as error:
        raise RunStopped(str(error)) from error
