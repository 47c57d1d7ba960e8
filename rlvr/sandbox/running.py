"""A program that runs to its end, seen from outside: what it writes is drained while it runs, up to the limit."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import time
from typing import IO, TYPE_CHECKING, Any

from rlvr.sandbox.base import LIMIT_ENDINGS, Ending, Limits, Result, SandboxError
from rlvr.sandbox.inside import wire

if TYPE_CHECKING:
    from rlvr.sandbox.client import Sandbox

_PATIENCE_S = 30.0
"""Behind ten times the wall time, which is when the fork server kills a program however busy the machine is."""
_SEALS, _ADD_SEALS = 0b1111, 1033


def attend(sandbox: Sandbox, limits: Limits, *, channel: int, out: int, err: int) -> Result:
    """How the open world's program ended, and what it wrote. Errors: `SandboxError`."""
    room = {out: limits.output_kb << 10, err: limits.output_kb << 10, channel: 2 * wire.MAX_FILE}
    written = {descriptor: bytearray() for descriptor in room}
    poll = select.poll()
    for descriptor in (*room, sandbox.control.fileno()):
        poll.register(descriptor, select.POLLIN)
    ended: dict[str, Any] | None = None
    until = time.monotonic() + 10 * limits.wall_s + _PATIENCE_S
    while ended is None:
        for descriptor, _ in poll.poll(1000):
            if descriptor == sandbox.control.fileno():
                ended = sandbox.answer()
            elif not _drain(descriptor, written[descriptor], room[descriptor]):
                poll.unregister(descriptor)
                if len(written[descriptor]) > room[descriptor]:
                    sandbox.tell({"do": "kill", "why": "output_limit"})
        if time.monotonic() > until:
            sandbox.fail("the fork server does not keep its deadline")
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
    ending, detail = ending_of(ended, limits, note, tier=sandbox.tier)
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


def check_begun(frame: bytes) -> None:
    """What a world says before the program's first line. Errors: `SandboxError`: no later word of it can have that effect."""
    if frame != wire.dumps({"begun": True}):
        raise SandboxError(f"no world could be made: {frame[:500].decode(errors='replace') or 'it died at once'}")


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


def readable(channel: socket.socket, seconds: float) -> bool:
    """Whether there is something to read, within so long; `select.select` would know no descriptor above 1023."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def send(channel: socket.socket, frame: bytes) -> None:
    """A frame, whole."""
    channel.sendall(wire.HEADER.pack(len(frame)) + frame)


def memory_file(content: bytes) -> IO[bytes]:
    """A file in memory that nobody can change any more, at its beginning."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    file = open(descriptor, "w+b", buffering=0)  # noqa: SIM115  the caller closes it
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
    file.seek(0)
    fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS)
    return file
