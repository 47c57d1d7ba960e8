"""The scoring backend that a configuration selects."""

from __future__ import annotations

from rlvr.config.schema import Config
from rlvr.rules.pack import RulePack
from rlvr.scoring.backend import Backend
from rlvr.scoring.local.supervisor import shared


def make_backend(config: Config, pack: RulePack) -> Backend:
    """The backend for the slow rules of a pack; the caller closes it.

    Errors: `ConfigError` if Redis does not answer, or if the pack runs programs of the model and this machine cannot isolate
    them (with remote workers, theirs have to).
    """
    verify = config.verify
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
    supervisor = shared(
        workers=verify.workers,
        deadline_s=verify.deadline_s,
        memory_mb=verify.memory_mb,
        allow_weak_isolation=verify.allow_weak_isolation,
    )
    if pack.isolated:
        supervisor.require_isolation()
    return supervisor
