"""Run a program to its end: read what it writes while it runs, up to the limit, and classify how it ended."""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import time
from typing import Any

from rlvr.sandbox.base import LIMIT_ENDINGS, Ending, Job, Limits, Result, SandboxError
from rlvr.sandbox.fork_server import ForkServer, check_begun, memory_file, os_errors_are_ours, send
from rlvr.sandbox.inside import wire

_GRACE_S = 30.0
"""On top of ten times the wall time, when the fork server kills a program however busy the machine is."""


def run_job(server: ForkServer, job: Job) -> Result:
    """Run a program to its end in a new sandboxed process. Errors: `SandboxError`."""
    with os_errors_are_ours(), contextlib.ExitStack() as stack:
        out, their_out = _pipe(stack)
        err, their_err = _pipe(stack)
        given = {"stdout": their_out, "stderr": their_err}
        if job.stdin:
            given["stdin"] = stack.enter_context(memory_file(job.stdin))
        channel = stack.enter_context(
            server.open(
                "main" if job.source is not None else "command",
                job.limits,
                {name: file.fileno() for name, file in given.items()},
                collect=job.collect,
                limit_address_space=job.limit_address_space,
            )
        )
        for file in given.values():
            file.close()
        program = {"source": job.source, "argv": list(job.argv), "files": dict(job.files)}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died at once; its ending says why
            send(channel, marshal.dumps(program))
        return _wait_for_exit(server, job.limits, channel=channel.fileno(), out=out.fileno(), err=err.fileno())


def _wait_for_exit(server: ForkServer, limits: Limits, *, channel: int, out: int, err: int) -> Result:
    """Read what the open process writes until it ends, and say how. Errors: `SandboxError`."""
    allowed = {out: limits.output_kb << 10, err: limits.output_kb << 10, channel: 2 * wire.MAX_FILE}
    written = {descriptor: bytearray() for descriptor in allowed}
    poll = select.poll()
    for descriptor in (*allowed, server.control.fileno()):
        poll.register(descriptor, select.POLLIN)
    ended: dict[str, Any] | None = None
    until = time.monotonic() + 10 * limits.wall_s + _GRACE_S
    while ended is None:
        for descriptor, _ in poll.poll(1000):
            if descriptor == server.control.fileno():
                ended = server.receive()
            elif not _drain(descriptor, written[descriptor], allowed[descriptor]):
                poll.unregister(descriptor)
                if len(written[descriptor]) > allowed[descriptor]:
                    server.send({"do": "kill", "why": "output_limit"})
        if time.monotonic() > until:
            server.fail("the fork server missed its deadline")
    # Everything that could write is dead: what is still in the pipes is the rest.
    os.set_blocking(channel, False)
    for descriptor, buffer in written.items():
        while _drain(descriptor, buffer, allowed[descriptor]):
            pass
    if any(len(buffer) > allowed[descriptor] for descriptor, buffer in written.items()):
        ended["why"] = ended["why"] or "output_limit"
    frames = _frames(bytes(written[channel]))
    check_begun(frames[0] if frames else b"")
    report = _report(frames)
    ending, detail = classify_ending(ended, limits, report, tier=server.tier)
    names = [name for name in report.get("files", ()) if isinstance(name, str)]
    return Result(
        ending=ending,
        detail=detail,
        stdout=bytes(written[out][: allowed[out]]),
        stderr=bytes(written[err][: allowed[err]]),
        wall_s=ended["wall_s"],
        cpu_s=ended["cpu_s"],
        peak_mb=ended["peak_mb"],
        files=dict(zip(names, frames[2:], strict=False)) if ending == "ok" else {},
    )


def classify_ending(ended: dict[str, Any], limits: Limits, report: dict[str, Any], *, tier: str) -> tuple[Ending, str]:
    """The ending and its detail, from what the fork server saw. `report` is the program's own claim, and can only give the
    reason for a bad ending.

    Errors: `SandboxError` where somebody outside killed it.
    """
    status, why = ended["status"], ended["why"]
    if why in LIMIT_ENDINGS:
        return why, f"over the limit: {why}"
    if status == 0:
        return "ok", ""
    if status in (-signal.SIGXCPU, -signal.SIGKILL) and ended["cpu_s"] >= limits.cpu_s:
        return "timeout", f"{ended['cpu_s']:.2f} s of processor time"
    if status == -signal.SIGXFSZ:
        return "file_size_limit", "a file larger than allowed"
    if report.get("ending") in LIMIT_ENDINGS:
        return report["ending"], f"raised {str(report.get('raised'))[:100]}"
    if status == -signal.SIGKILL and tier == "namespaces":
        # No process inside can send this signal to the first one there, and we did not.
        raise SandboxError("a program was killed from outside the sandbox")
    if status not in (0, 1) and ended["peak_mb"] > 0.8 * limits.memory_mb:
        return "memory", f"ended with status {status} at {ended['peak_mb']:.0f} MB"
    if status < 0:
        return "crash", f"died of signal {-status} ({signal.strsignal(-status)})"
    raised = report.get("raised")
    return "exit", f"raised {raised[:100]}" if isinstance(raised, str) else f"exit status {status}"


def _report(frames: list[bytes]) -> dict[str, Any]:
    """What the program says about how it ended; empty where it says nothing that can be read."""
    report: Any = {}
    if len(frames) > 1 and len(frames[1]) < 10_000:
        with contextlib.suppress(wire.NotPlain):
            report = wire.loads(frames[1])
    return report if isinstance(report, dict) else {}


def _drain(descriptor: int, buffer: bytearray, allowed: int) -> bool:
    """Read once into `buffer`; whether there may be more to read, and it is still within what is allowed."""
    try:
        part = os.read(descriptor, min(allowed + 1 - len(buffer), 1 << 20))
    except OSError:
        return False
    buffer += part
    return bool(part) and len(buffer) <= allowed


def _frames(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at + wire.HEADER.size <= len(data):
        start = at + wire.HEADER.size
        at = start + wire.HEADER.unpack_from(data, at)[0]
        found.append(data[start:at])
    return found


def _pipe(stack: contextlib.ExitStack) -> tuple[Any, Any]:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    return stack.enter_context(open(ours, "rb", buffering=0)), stack.enter_context(open(theirs, "wb", buffering=0))
