"""Frames and memory files between the judging process and a sandboxed process."""

from __future__ import annotations

import fcntl
import os
import select
import socket
from typing import IO

from rlvr.sandbox.base import SandboxError
from rlvr.sandbox.inside import wire

_SEALS, _ADD_SEALS = 0b1111, 1033


def check_begun(frame: bytes) -> None:
    """Check the frame sent before the program's first line. Errors: `SandboxError`; no later frame can raise it."""
    if frame != wire.dumps({"begun": True}):
        raise SandboxError(
            f"no sandboxed process could be started: {frame[:500].decode(errors='replace') or 'it died at once'}"
        )


def readable(channel: socket.socket, seconds: float) -> bool:
    """Whether there is something to read within so many seconds."""
    poll = select.poll()  # `select.select` knows no descriptor above 1023
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def send(channel: socket.socket, frame: bytes) -> None:
    """Send a whole frame."""
    channel.sendall(wire.HEADER.pack(len(frame)) + frame)


def memory_file(content: bytes) -> IO[bytes]:
    """A sealed file in memory, positioned at its beginning: nobody can change it."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    file = open(descriptor, "w+b", buffering=0)  # noqa: SIM115  the caller closes it
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
    file.seek(0)
    fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS)
    return file
