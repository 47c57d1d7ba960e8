"""A fork server in its jail: starts it, asks it for worlds, and hears how they ended."""

from __future__ import annotations

import array
import contextlib
import dataclasses
import json
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from rlvr.sandbox import jail
from rlvr.sandbox.base import Limits, SandboxError
from rlvr.sandbox.inside import wire
from rlvr.sandbox.transport import readable

START_S = 30.0
"""For a fork server to be ready, or to say how a world ended, on a machine that is busy."""


class ForkServer:
    """A fork server in its jail. Every method may raise `SandboxError`; the next `open` then starts a new server."""

    def __init__(self, *, tier: jail.Tier, tools: Sequence[str] = ()) -> None:
        """tier: how to isolate. tools: folders that programs may read as well."""
        self.tier: jail.Tier = tier
        self._tools = tuple(tools)
        self._owner = os.getpid()
        self._start()

    def _start(self) -> None:
        with as_ours():
            self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = jail.start(self.tier, theirs, self._tools)
        assert self._process.stderr
        try:
            self.answer()
        except SandboxError as error:
            said = self._process.stderr.read(4000).decode(errors="replace").strip().splitlines()
            raise SandboxError(f"{error}{': ' + said[-1][:300] if said else ''}") from None
        finally:
            self._process.stderr.close()  # a server has nothing more to say there

    def open(
        self,
        kind: str,
        limits: Limits,
        descriptors: dict[str, int],
        *,
        collect: Sequence[str] = (),
        limit_address_space: bool = True,
    ) -> socket.socket:
        if self._owner != os.getpid():
            raise SandboxError("this sandbox belongs to the process that this one was forked from")
        if self._process.returncode is not None:
            self._start()
        with as_ours():
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
                self.tell(order, tuple(given.values()))
            except SandboxError:
                ours.close()
                raise
        return ours

    def tell(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Say something to the fork server."""
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self.control.sendmsg([wire.dumps(message)], extra)
        except OSError as error:
            self.fail(f"the fork server is gone: {error}")

    def answer(self) -> dict[str, Any]:
        """What it says next."""
        spoken = readable(self.control, START_S)
        data = b""
        if spoken:
            with contextlib.suppress(OSError):
                data = self.control.recv(65536)
        if not data:
            self.fail("the fork server died" if spoken else f"the fork server says nothing for {START_S:g} s")
        answer = json.loads(data)
        if "failed" in answer:
            raise SandboxError(answer["failed"])
        return answer

    def kill(self, why: str) -> dict[str, Any]:
        """End the open world; how it ended."""
        self.tell({"do": "kill", "why": why})
        return self.answer()

    def fail(self, why: str) -> NoReturn:
        """Errors: `SandboxError`, always."""
        self.close()
        raise SandboxError(why)

    def close(self) -> None:
        """End the server and everything in it."""
        self.control.close()  # it ends by itself when we hang up; the signal is for one that cannot
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def as_ours() -> Iterator[None]:
    """What the system refuses us, descriptors for instance, must not be taken for an error of the tests."""
    try:
        yield
    except OSError as error:
        raise SandboxError(f"no world could be made: {error}") from error
