"""Frames, pipes and files in memory between the judge and a sandboxed program."""

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
    """What a world says before the program's first line. Errors: `SandboxError`: no later word of it can have that effect."""
    if frame != wire.dumps({"begun": True}):
        raise SandboxError(f"no world could be made: {frame[:500].decode(errors='replace') or 'it died at once'}")


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
