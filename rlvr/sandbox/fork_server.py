"""Client of a fork server: starts it in its jail, asks it for sandboxed processes, and receives how they ended.

Also how to send these processes what they need: frames, and files in memory.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import fcntl
import json
import os
import select
import signal
import socket
from collections.abc import Iterator, Sequence
from typing import IO, Any, NoReturn

from rlvr.sandbox import jail
from rlvr.sandbox.base import Limits, SandboxError
from rlvr.sandbox.inside import wire

START_S = 30.0
"""Seconds for a fork server to be ready, or to report how a process ended, on a busy machine."""
_SEALS, _ADD_SEALS = 0b1111, 1033


class ForkServer:
    """A fork server in its jail, with one open process at a time. Every method may raise `SandboxError`; the next `open` then
    starts a new server."""

    def __init__(self, *, tier: jail.Tier, tools: Sequence[str] = ()) -> None:
        """tier: how to isolate. tools: further folders that programs may read."""
        self.tier: jail.Tier = tier
        self._tools = tuple(tools)
        self._owner = os.getpid()
        self._start()

    def _start(self) -> None:
        with os_errors_are_ours():
            self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = jail.start(self.tier, theirs, self._tools)
        assert self._process.stderr
        try:
            self.receive()
        except SandboxError as error:
            said = self._process.stderr.read(4000).decode(errors="replace").strip().splitlines()
            raise SandboxError(f"{error}{': ' + said[-1][:300] if said else ''}") from None
        finally:
            self._process.stderr.close()  # a server that has started writes nothing more there

    def open(
        self,
        kind: str,
        limits: Limits,
        descriptors: dict[str, int],
        *,
        collect: Sequence[str] = (),
        limit_address_space: bool = True,
    ) -> socket.socket:
        """Start a sandboxed process and return its channel. `kind`: `main`, `command` or `serve`. `descriptors`: its standard
        files by name."""
        if self._owner != os.getpid():
            raise SandboxError("this sandbox belongs to the process that this one was forked from")
        if self._process.returncode is not None:
            self._start()
        with os_errors_are_ours():
            ours, theirs = socket.socketpair()
        with theirs:
            given = {"channel": theirs.fileno(), **descriptors}
            order = {
                "do": "open",
                "kind": kind,
                "limits": dataclasses.asdict(limits),
                "fds": list(given),
                "collect": list(collect),
                "limit_address_space": limit_address_space,
            }
            try:
                self.send(order, tuple(given.values()))
            except SandboxError:
                ours.close()
                raise
        return ours

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a message, and open files with it."""
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self.control.sendmsg([wire.dumps(message)], extra)
        except OSError as error:
            self.fail(f"the fork server is gone: {error}")

    def receive(self) -> dict[str, Any]:
        """Its next message."""
        ready = readable(self.control, START_S)
        data = b""
        if ready:
            with contextlib.suppress(OSError):
                data = self.control.recv(65536)
        if not data:
            self.fail("the fork server died" if ready else f"the fork server has not answered for {START_S:g} s")
        message = json.loads(data)
        if "failed" in message:
            raise SandboxError(message["failed"])
        return message

    def kill(self, why: str) -> dict[str, Any]:
        """Kill the open process and return how it ended."""
        self.send({"do": "kill", "why": why})
        return self.receive()

    def fail(self, why: str) -> NoReturn:
        """Close, and raise `SandboxError`."""
        self.close()
        raise SandboxError(why)

    def close(self) -> None:
        """End the server and everything in it."""
        self.control.close()  # it exits by itself when we hang up; the signal is for one that cannot
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def os_errors_are_ours() -> Iterator[None]:
    """Raise `OSError` (no descriptors left, say) as `SandboxError`: it must not be taken for an error of the tests."""
    try:
        yield
    except OSError as error:
        raise SandboxError(f"no sandboxed process could be started: {error}") from error


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
