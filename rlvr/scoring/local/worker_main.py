"""The main of a worker process: tasks on standard input, verdicts on standard output, in frames of length and bytes.

A task is a pickle of its number, its limits and the pickled (verifier, response, problem), from the process that started this
one. Replies are JSON, never a pickle: `{"task", "cpu"}` when the verifier's clock starts, then `{"task", "cpu", "retire",
"verdict"}`; `cpu`: processor seconds of this process at that moment. `rlvr.scoring.local.worker` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import resource
import select
import signal
import struct
import sys
import threading
import time
from typing import Any

from rlvr.errors import describe
from rlvr.types import Verdict

HEADER = struct.Struct(">Q")
MAX_REPLY = 4 << 20
"""Most bytes of a reply."""
_CPU_MARGIN_S = 1
"""How much later the kernel's limit is than the deadline that the other end enforces."""
_PAGE = resource.getpagesize()


def main() -> None:
    """Score until the other end is gone."""
    requests, replies = _own_protocol()
    threading.Thread(target=_die_with_parent, args=(requests,), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    me, first_rss = os.getpid(), _memory()[1]
    while (frame := _read(requests)) is not None:
        number, deadline_s, memory_mb, payload = pickle.loads(frame)
        try:
            verdict, unclean = _judge(payload, number, replies, deadline_s, memory_mb)
        finally:
            if os.getpid() != me:  # the child of a verifier that forked: only the parent may answer
                os._exit(1)
        retire = unclean or _memory()[1] - first_rss > memory_mb << 20
        _answer(replies, {"task": number, "cpu": time.process_time(), "retire": retire}, verdict)


def _judge(payload: bytes, number: int, replies: int, deadline_s: float, memory_mb: int) -> tuple[Verdict, bool]:
    """The verdict, and whether the task left something behind that could affect the next one."""
    try:
        verifier, response, problem = pickle.loads(payload)
        verifier.prepare()
    except BaseException as error:  # noqa: BLE001  whatever an import raises, SystemExit too, is our failure
        return Verdict.error("crash", f"cannot be loaded in a worker process: {describe(error)}"), False
    n_threads, children = threading.active_count(), _children()
    too_large = Verdict.scored(0.0, "memory", detail=f"needs more than {memory_mb} MB")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    unlimited = (hard, hard)
    with contextlib.ExitStack() as limits:
        limits.callback(resource.setrlimit, resource.RLIMIT_AS, unlimited)
        limits.callback(_limit, resource.RLIMIT_CPU, None)
        _limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + deadline_s) + _CPU_MARGIN_S)
        _send(replies, _encoded({"task": number, "cpu": time.process_time()}))
        _limit(resource.RLIMIT_AS, _memory()[0] + (memory_mb << 20))
        try:
            verdict = verifier(response, problem)
            if not isinstance(verdict, Verdict):
                raise TypeError(f"{type(verifier).__name__} returned {type(verdict).__name__}, not a Verdict")
        except MemoryError:  # allocates nothing before the limit is lifted
            resource.setrlimit(resource.RLIMIT_AS, unlimited)
            return too_large, True
        except BaseException as error:  # noqa: BLE001  a verifier that raises, SystemExit too, is our failure
            verdict = Verdict.error("crash", describe(error))
    return verdict, threading.active_count() > n_threads or not _children() <= children


def _limit(which: int, value: int | None) -> None:
    """Set a soft limit; None raises it to the hard one."""
    hard = resource.getrlimit(which)[1]
    soft = hard if value is None else value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError, OverflowError):  # macOS has no limit of address space
        resource.setrlimit(which, (soft, hard))


def _memory() -> tuple[int, int]:
    """Bytes of this process, address space and resident; zeros without /proc."""
    try:
        with open("/proc/self/statm", "rb") as file:
            total, resident, *_ = file.read().split()
    except FileNotFoundError:
        return 0, 0
    return int(total) * _PAGE, int(resident) * _PAGE


def _children() -> set[bytes]:
    """Processes that this one has started and not waited for; outside Linux only whether there are any."""
    try:
        if sys.platform != "linux":
            os.waitpid(-1, os.WNOHANG)
            return {b"some"}
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # the usual case: there are none
    except ChildProcessError:
        return set()
    found: set[bytes] = set()
    for thread in threading.enumerate():
        try:
            file = os.open(f"/proc/self/task/{thread.native_id}/children", os.O_RDONLY)
        except FileNotFoundError:  # a thread that has just ended, or a kernel without this list
            found.add(b"some")
            continue
        while part := os.read(file, 1 << 16):
            found.update(part.split())
        os.close(file)
    return found


def plain(verdict: Verdict) -> dict[str, Any]:
    """For JSON; `rlvr.scoring.local.worker.read_verdict` is the inverse."""
    score = None if verdict.score is None else float(verdict.score)
    others = {name: getattr(verdict, name) for name in ("outcome", "reason", "answer", "detail", "span")}
    return {"score": score, **others}


def _own_protocol() -> tuple[int, int]:
    """File descriptors of the protocol, moved out of reach of a verifier that prints, reads or forks."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # started without a standard error
        os.dup2(null, 1)
    os.close(null)
    sys.stdout = sys.stderr
    os.register_at_fork(after_in_child=lambda: (os.close(requests), os.close(replies)))
    return requests, replies


def _die_with_parent(requests: int) -> None:
    """End this process and all that it has started when the other end hangs up, even in the middle of a task."""
    hangup = select.poll()
    hangup.register(requests, 0)
    hangup.poll()
    os.killpg(0, signal.SIGKILL)


def _read(requests: int) -> bytes | None:
    header = _read_exactly(requests, HEADER.size)
    return header and _read_exactly(requests, HEADER.unpack(header)[0])


def _read_exactly(requests: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(requests, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _answer(replies: int, message: dict[str, Any], verdict: Verdict) -> None:
    try:
        data = _encoded({**message, "verdict": plain(verdict)})
    except (TypeError, ValueError, RecursionError) as error:
        verdict = Verdict.error("crash", f"a verdict that cannot be sent: {describe(error)}")
        data = _encoded({**message, "verdict": plain(verdict)})
    _send(replies, data)


def _send(replies: int, data: bytes) -> None:
    view = memoryview(HEADER.pack(len(data)) + data)
    try:
        while view:
            view = view[os.write(replies, view) :]
    except BrokenPipeError:  # the other end is gone
        os._exit(1)


def _encoded(message: dict[str, Any]) -> bytes:
    # A completion may hold lone surrogates, which are not UTF-8; as \u escapes two of them would come back as one character.
    data = json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(data) > MAX_REPLY:
        raise ValueError(f"more than {MAX_REPLY} bytes")
    return data
