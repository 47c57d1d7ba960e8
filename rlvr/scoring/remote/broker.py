"""What both ends of scoring through Redis share: the Celery application, the names of keys, the connection.

rlvr.score              the queue: messages of the task `rlvr.score(batch, client, payload)`; payload: see
                        `rlvr.scoring.remote.protocol`
rlvr:client:<client>    heartbeat of a client; expires a minute after it, and then its batches are not scored
rlvr:done:<client>      list of its batches that have a result, on which the client waits
rlvr:worker             heartbeat of the workers
rlvr:alive:<batch>      heartbeat of a batch that a worker scores
rlvr:result:<batch>     its verdicts, the first ones written; empty once the client has taken them
"""

from __future__ import annotations

import math
from typing import Any

from rlvr.config.redact import without_password
from rlvr.errors import ConfigError

try:
    import redis
    from celery import Celery
    from kombu.exceptions import KombuError
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry
except ModuleNotFoundError as error:
    raise ConfigError(
        f"verify.redis_url: {error}; pip install 'rlvr[redis]' (in a checkout: pip install -e '.[redis]')"
    ) from error

TASK = QUEUE = "rlvr.score"
WORKER = "rlvr:worker"
HEARTBEAT_S = 1.0
"""Seconds between heartbeats of workers, batches and clients."""
ALIVE_S = 5
"""Seconds without a heartbeat after which a worker counts as dead, and its batches go to another."""
CLIENT_S = 60
"""The same for clients."""
RESULT_S = 600
"""Seconds for which a result is kept: longer than any copy of its batch can be late."""
StoreFailed = (redis.RedisError, OSError)
SendFailed = (KombuError, *StoreFailed)
_SOCKET: dict[str, Any] = {"socket_timeout": 10.0, "socket_connect_timeout": 10.0, "socket_keepalive": True}
"""Seconds: longer than any command takes, blocking ones included."""


def client_key(client: str) -> str:
    return f"rlvr:client:{client}"


def done_key(client: str) -> str:
    return f"rlvr:done:{client}"


def alive_key(batch: str) -> str:
    return f"rlvr:alive:{batch}"


def result_key(batch: str) -> str:
    return f"rlvr:result:{batch}"


def connect(url: str, *, patience_s: float = 0.0) -> redis.Redis:
    """A connection that has been tried; commands are repeated for `patience_s` if Redis goes away.

    Errors: `ConfigError` naming verify.redis_url.
    """
    retry = Retry(ConstantBackoff(HEARTBEAT_S), math.ceil(patience_s / HEARTBEAT_S))
    try:
        with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0), 0), **_SOCKET) as probe:
            probe.ping()
        return redis.Redis.from_url(url, retry=retry, **_SOCKET)
    except StoreFailed as error:
        raise ConfigError(f"verify.redis_url={without_password(url)}: Redis does not answer: {error}") from error
    except (ValueError, TypeError) as error:  # TypeError: an unknown option after the `?`
        raise ConfigError(f"verify.redis_url={without_password(url)}: must be redis://HOST:PORT/DATABASE ({error})") from error


def application(url: str, *, redeliver_s: float) -> Celery:
    """The Celery application of both ends: JSON only, tasks acknowledged when done, no remote control."""
    app = Celery("rlvr", broker=url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        task_ignore_result=True,  # results are in `rlvr:result:<batch>`, where the first one stays
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"visibility_timeout": math.ceil(redeliver_s), **_SOCKET},
    )
    return app
