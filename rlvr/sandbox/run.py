"""A program that runs to its end, seen from outside: what it writes is drained while it runs, up to the limit."""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import time
from typing import Any

from rlvr.sandbox.base import LIMIT_ENDINGS, Ending, Job, Limits, Result, SandboxError
from rlvr.sandbox.fork_server import ForkServer, as_ours
from rlvr.sandbox.inside import wire
from rlvr.sandbox.transport import check_begun, memory_file, send

_PATIENCE_S = 30.0
"""Behind ten times the wall time, which is when the fork server kills a program however busy the machine is."""


def run_job(server: ForkServer, job: Job) -> Result:
    """Run a program to its end in a new world. Errors: `SandboxError`."""
    with as_ours(), contextlib.ExitStack() as stack:
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
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a world that died at once; its end says why
            send(channel, marshal.dumps(program))
        return wait_for_exit(server, job.limits, channel=channel.fileno(), out=out.fileno(), err=err.fileno())


def wait_for_exit(server: ForkServer, limits: Limits, *, channel: int, out: int, err: int) -> Result:
    """How the open world's program ended, and what it wrote. Errors: `SandboxError`."""
    room = {out: limits.output_kb << 10, err: limits.output_kb << 10, channel: 2 * wire.MAX_FILE}
    written = {descriptor: bytearray() for descriptor in room}
    poll = select.poll()
    for descriptor in (*room, server.control.fileno()):
        poll.register(descriptor, select.POLLIN)
    ended: dict[str, Any] | None = None
    until = time.monotonic() + 10 * limits.wall_s + _PATIENCE_S
    while ended is None:
        for descriptor, _ in poll.poll(1000):
            if descriptor == server.control.fileno():
                ended = server.answer()
            elif not _drain(descriptor, written[descriptor], room[descriptor]):
                poll.unregister(descriptor)
                if len(written[descriptor]) > room[descriptor]:
                    server.tell({"do": "kill", "why": "output_limit"})
        if time.monotonic() > until:
            server.fail("the fork server does not keep its deadline")
    # All that could write is dead, so what is still in the pipes is all there will be.
    os.set_blocking(channel, False)
    for descriptor, buffer in written.items():
        while _drain(descriptor, buffer, room[descriptor]):
            pass
    if any(len(buffer) > room[descriptor] for descriptor, buffer in written.items()):
        ended["why"] = ended["why"] or "output_limit"
    frames = _frames(bytes(written[channel]))
    check_begun(frames[0] if frames else b"")
    note = _note(frames)
    ending, detail = ending_of(ended, limits, note, tier=server.tier)
    names = [name for name in note.get("files", ()) if isinstance(name, str)]
    return Result(
        ending=ending,
        detail=detail,
        stdout=bytes(written[out][: room[out]]),
        stderr=bytes(written[err][: room[err]]),
        wall_s=ended["wall_s"],
        cpu_s=ended["cpu_s"],
        peak_mb=ended["peak_mb"],
        files=dict(zip(names, frames[2:], strict=False)) if ending == "ok" else {},
    )


def ending_of(ended: dict[str, Any], limits: Limits, note: dict[str, Any], *, tier: str) -> tuple[Ending, str]:
    """What the server saw; `note` is the program's own word, which may only say why it did not end well.

    Errors: `SandboxError` where somebody else killed it.
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
    if note.get("ending") in LIMIT_ENDINGS:
        return note["ending"], f"raised {str(note.get('raised'))[:100]}"
    if status == -signal.SIGKILL and tier == "namespaces":
        # Nobody inside can send this signal to the first process there, and we did not.
        raise SandboxError("a program was killed by another than the sandbox")
    if status not in (0, 1) and ended["peak_mb"] > 0.8 * limits.memory_mb:
        return "memory", f"ended with status {status} at {ended['peak_mb']:.0f} MB"
    if status < 0:
        return "crash", f"died of signal {-status} ({signal.strsignal(-status)})"
    raised = note.get("raised")
    return "exit", f"raised {raised[:100]}" if isinstance(raised, str) else f"exit status {status}"


def _note(frames: list[bytes]) -> dict[str, Any]:
    note: Any = {}
    if len(frames) > 1 and len(frames[1]) < 10_000:
        with contextlib.suppress(wire.NotPlain):
            note = wire.loads(frames[1])
    return note if isinstance(note, dict) else {}


def _drain(descriptor: int, buffer: bytearray, room: int) -> bool:
    """Whether there may be more to read, and room for it."""
    try:
        part = os.read(descriptor, min(room + 1 - len(buffer), 1 << 20))
    except OSError:
        return False
    buffer += part
    return bool(part) and len(buffer) <= room


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
