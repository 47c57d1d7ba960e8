"""Messages of remote scoring: JSON, never a pickle, so that whoever can write to the queue can run no code.

A batch is `{"deadline_s", "memory_mb", "verifiers", "problems", "tasks"}`: verifiers and problems as JSON texts, each once, and
tasks as `[id, index of the verifier, index of the problem, response]`. A result is `{"seconds", "verdicts"}`, by task id.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rlvr.config.bounds import check_fields
from rlvr.config.instantiate import construct
from rlvr.rules.options import verifier_node
from rlvr.scoring.local.worker import read_verdict
from rlvr.scoring.local.worker_main import plain as plain_verdict
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

MAX_BATCH = 256 << 20
"""Most bytes of an unpacked batch; a forged one of a few kilobytes could unpack to far more."""
_PROBLEM = {"id": str, "prompt": str, "truth": dict, "metadata": dict, "prefill": str}
"""Fields of a problem, and what they are in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One verdict to compute."""

    id: str
    verifier: str
    """`verifier_text`."""
    problem: str
    """`problem_text`."""
    response: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tasks sent together, with the limits of the client, so that verdicts do not depend on the worker."""

    deadline_s: float
    memory_mb: int
    tasks: tuple[Task, ...]

    def __post_init__(self) -> None:
        check_fields(self, "deadline_s", above=0)  # anybody may write into the queue
        check_fields(self, "memory_mb", at_least=1)


def verifier_text(verifier: Verifier, prefixes: Sequence[str]) -> str:
    """JSON from which `read_verifier` makes an equal verifier. Errors: `ValueError` if it would differ."""
    if not dataclasses.is_dataclass(verifier):
        raise ValueError(f"{type(verifier).__name__} is no dataclass")
    node = verifier_node(verifier)
    text = json.dumps(node, ensure_ascii=False)
    again = read_verifier(text, tuple(prefixes))
    if type(again) is not type(verifier) or repr(verifier_node(again)) != repr(node):
        raise ValueError(f"{node['_target_']} does not survive JSON: {node} comes back as {verifier_node(again)}")
    return text


@lru_cache(maxsize=256)
def read_verifier(text: str, prefixes: tuple[str, ...]) -> Verifier:
    """The inverse of `verifier_text`. Errors: `ValueError` if it is no verifier, or not from modules under `prefixes`."""
    node = json.loads(text)
    if not isinstance(node, dict):
        raise ValueError("a verifier is an object")
    return construct(node, Verifier, key="verifier", prefixes=prefixes)


def problem_text(problem: Problem) -> str:
    """JSON from which `read_problem` makes an equal problem. Errors: `ValueError` if it would differ."""
    fields = {name: getattr(problem, name) for name in _PROBLEM}
    _check_plain(fields, "problem")
    return json.dumps(fields, ensure_ascii=False)


def _check_plain(value: Any, name: str) -> None:
    """Errors: `ValueError` naming what JSON would change."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(f"{name} does not survive JSON: the key {key!r} is a {type(key).__name__}")
            _check_plain(item, f"{name}.{key}")
    elif isinstance(value, tuple):  # lists of a problem are frozen
        for number, item in enumerate(value):
            _check_plain(item, f"{name}[{number}]")
    elif value is not None and type(value) not in (str, int, float, bool):
        raise ValueError(f"{name} does not survive JSON: it is a {type(value).__name__}")


def read_problem(text: str) -> Problem:
    """The inverse of `problem_text`. Errors: `ValueError` if it is no problem."""
    fields = json.loads(text)
    if not isinstance(fields, dict) or fields.keys() != _PROBLEM.keys():
        raise ValueError(f"a problem has {', '.join(_PROBLEM)}")
    for name, kind in _PROBLEM.items():
        if not isinstance(fields[name], kind):
            raise ValueError(f"problem.{name} is a {type(fields[name]).__name__}")
    return Problem(**fields)


def pack(batch: Batch) -> str:
    """The batch as ASCII text, which every serializer leaves unchanged."""
    verifiers: dict[str, int] = {}
    problems: dict[str, int] = {}
    tasks = [
        [
            task.id,
            verifiers.setdefault(task.verifier, len(verifiers)),
            problems.setdefault(task.problem, len(problems)),
            task.response,
        ]
        for task in batch.tasks
    ]
    limits = {"deadline_s": batch.deadline_s, "memory_mb": batch.memory_mb}
    data = _encoded({**limits, "verifiers": list(verifiers), "problems": list(problems), "tasks": tasks})
    return base64.b64encode(zlib.compress(data, 1)).decode()


def unpack(payload: str) -> Batch:
    """The inverse of `pack`. Errors: `ValueError` if it is no batch."""
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(payload, validate=True), MAX_BATCH)
        if unpacker.unconsumed_tail:
            raise ValueError(f"a batch of more than {MAX_BATCH} bytes")
        plain = _decoded(data)
        tasks = [
            Task(
                id=_text(each),
                verifier=_text(plain["verifiers"][v]),
                problem=_text(plain["problems"][p]),
                response=_text(response),
            )
            for each, v, p, response in plain["tasks"]
        ]
        return Batch(deadline_s=float(plain["deadline_s"]), memory_mb=int(plain["memory_mb"]), tasks=tuple(tasks))
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError, zlib.error) as error:
        raise ValueError(f"no batch: {type(error).__name__}: {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__} where a text should be")
    return value


def pack_result(verdicts: Mapping[str, Verdict], seconds: float) -> bytes:
    """verdicts: by task id. seconds: how long the batch took."""
    return _encoded({"seconds": seconds, "verdicts": {task: plain_verdict(verdict) for task, verdict in verdicts.items()}})


def unpack_result(data: bytes, tasks: Sequence[str]) -> tuple[dict[str, Verdict], float]:
    """A verdict for each of `tasks`, `error` if the result holds none, and the seconds."""
    try:
        plain = _decoded(data)
        seconds, found = float(plain["seconds"]), plain["verdicts"]
        if not isinstance(found, dict) or not 0 <= seconds < float("inf"):
            raise ValueError("verdicts by task id, and seconds, should be there")
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
        why = f"a result that cannot be read: {type(error).__name__}: {error}"
        return dict.fromkeys(tasks, Verdict.error("bad_result", why[:500])), 0.0
    return {task: _verdict(found, task) for task in tasks}, seconds


def _verdict(found: dict[str, Any], task: str) -> Verdict:
    try:
        return read_verdict(found[task])
    except (ValueError, TypeError, KeyError) as error:
        return Verdict.error("bad_result", f"a result that cannot be read: {type(error).__name__}: {error}"[:500])


def _encoded(value: Any) -> bytes:
    # A completion may hold lone surrogates; as \u escapes two of them would come back as one character.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _decoded(data: bytes) -> Any:
    return json.loads(data.decode("utf-8", "surrogatepass"))
