"""What the two ends of judging through Redis share: the Celery application, the names of keys, how to connect.

rlvr.score                 the queue: messages of the task `rlvr.score(batch, client, payload)`, `rlvr.scoring.remote.protocol` says of what
rlvr:client:<client>    whose batches are worth judging; renewed by the client, gone a minute after it
rlvr:done:<client>      list of batches whose result is there: the client waits at its end
rlvr:worker             there while some worker is
rlvr:alive:<batch>      there while a worker judges this batch
rlvr:result:<batch>     its verdicts, by the first who wrote them; empty once they were taken
"""

from __future__ import annotations

import math

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
PULSE_S = 1.0
"""Between signs of life, of workers, batches and clients."""
ALIVE_S = 5
"""Without one for so long, a worker is taken for dead, and what it judged is judged by another."""
CLIENT_S = 60
"""The same of clients."""
RESULT_S = 600
"""How long a result is kept: longer than any copy of its batch may come late."""
StoreFailed = (redis.RedisError, OSError)
SendFailed = (KombuError, *StoreFailed)
_SOCKET_S = 10.0
"""Longer than any command takes, those that wait for something included."""


def client_key(client: str) -> str:
    return f"rlvr:client:{client}"


def done_key(client: str) -> str:
    return f"rlvr:done:{client}"


def alive_key(batch: str) -> str:
    return f"rlvr:alive:{batch}"


def result_key(batch: str) -> str:
    return f"rlvr:result:{batch}"


def connect(url: str, *, patience_s: float = 0.0) -> redis.Redis:
    """A connection that works at this moment; commands are tried again for `patience_s` when Redis goes away.

    Errors: `ConfigError` naming verify.redis_url.
    """
    options = {"socket_timeout": _SOCKET_S, "socket_connect_timeout": _SOCKET_S, "socket_keepalive": True}
    retry = Retry(ConstantBackoff(PULSE_S), math.ceil(patience_s / PULSE_S))
    try:
        with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0), 0), **options) as probe:
            probe.ping()
        return redis.Redis.from_url(url, retry=retry, **options)
    except (redis.RedisError, OSError) as error:
        raise ConfigError(f"verify.redis_url={without_password(url)}: Redis does not answer: {error}") from error
    except (ValueError, TypeError) as error:  # TypeError: an option behind the `?` that does not exist
        raise ConfigError(f"verify.redis_url={without_password(url)}: must be redis://HOST:PORT/DATABASE ({error})") from error


def application(url: str, *, redeliver_s: float) -> Celery:
    """Celery as both ends use it: JSON and nothing else, nothing acknowledged before it is done, no remote control."""
    app = Celery("rlvr", broker=url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        task_ignore_result=True,  # results are `rlvr:result:<batch>`, where the first one stays
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
        broker_transport_options={
            "visibility_timeout": math.ceil(redeliver_s),
            "socket_timeout": _SOCKET_S,
            "socket_connect_timeout": _SOCKET_S,
            "socket_keepalive": True,
        },
    )
    return app
