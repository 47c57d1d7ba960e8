"""`rlvr worker verify.redis_url=redis://HOST:6379/0`: score for runs that have `verify=redis` and this address.

Options of this machine: `verify.workers=N` (processes; default: one a processor core), `verify.allow_weak_isolation=true`, and
`rules_from=[mypackage]` (verifiers come only from `rlvr` and these packages, whatever a run asks for). Deadlines and memory
limits come with each request. SIGTERM or Ctrl-C ends the worker after the batches in progress, a second one at once.
`rlvr worker --check` says which isolation this machine offers for programs that a model wrote.
Exit status: 0; 1 when there is no isolation; 2 when the arguments are wrong or Redis does not answer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rlvr.config.compose import compose
from rlvr.config.redact import without_password
from rlvr.config.schema import Config
from rlvr.errors import ConfigError


def serve(config: Config) -> None:
    """Score until told to stop. Errors: `ConfigError`."""
    from rlvr.scoring.remote.broker import TASK, application
    from rlvr.scoring.remote.server import BatchScorer

    verify = config.verify
    if not verify.redis_url:
        raise ConfigError("verify.redis_url: must be set, as verify.redis_url=redis://HOST:6379/0")
    scorer = BatchScorer(
        verify.redis_url,
        workers=verify.workers,
        prefixes=("rlvr.", *config.rules_from),
        allow_weak_isolation=verify.allow_weak_isolation,
    )
    app = application(verify.redis_url, redeliver_s=verify.redis_redeliver_s)
    app.task(scorer.score, name=TASK)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    print(f"scoring with {scorer.workers} processes for {without_password(verify.redis_url)}", flush=True)
    # Long tasks come in batches of one: a batch for each process, and one being fetched.
    options = {"pool": "threads", "concurrency": scorer.workers + 1, "loglevel": "WARNING", "quiet": True}
    without = dict.fromkeys(("without_gossip", "without_mingle", "without_heartbeat"), True)
    try:
        app.Worker(**options, **without).start()
    finally:
        scorer.close()


def run(arguments: Sequence[str]) -> int:
    """Returns the exit status. Errors: `ConfigError`."""
    if "--check" in arguments:
        from rlvr.sandbox.probe import probe

        isolation = probe()
        print(isolation)
        return 1 if isolation.tier == "none" else 0
    serve(compose(["verify=redis", *arguments]))
    return 0
