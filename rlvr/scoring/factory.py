"""Makes the backend that a configuration names."""

from __future__ import annotations

from rlvr.config.schema import Config
from rlvr.config.validate import check_verify
from rlvr.rules.pack import RulePack
from rlvr.scoring.backend import Backend
from rlvr.scoring.local.supervisor import shared


def make_backend(config: Config, pack: RulePack) -> Backend:
    """Where the slow rules of the pack are judged; for whoever is about to judge, who closes it.

    Errors: `ConfigError` where judging cannot begin: no Redis that answers, or a pack that runs programs of the model on a
    machine that cannot isolate them (with workers elsewhere, theirs have to).
    """
    verify = config.verify
    check_verify(verify)
    if verify.redis_url:
        from rlvr.scoring.remote.backend import RedisBackend  # brings Celery

        return RedisBackend(
            url=verify.redis_url,
            rules_from=config.rules_from,
            deadline_s=verify.deadline_s,
            memory_mb=verify.memory_mb,
            patience_s=verify.redis_patience_s,
            in_flight=verify.redis_in_flight,
            redeliver_s=verify.redis_redeliver_s,
        )
    made = shared(
        workers=verify.workers,
        deadline_s=verify.deadline_s,
        memory_mb=verify.memory_mb,
        allow_weak_isolation=verify.allow_weak_isolation,
    )
    if pack.isolated:
        made.require_isolation()
    return made
