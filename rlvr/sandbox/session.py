"""A candidate's module in a sandboxed process, called one call at a time."""

from __future__ import annotations

import contextlib
import marshal
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from rlvr.sandbox.base import LIMIT_ENDINGS, Ending, Limits
from rlvr.sandbox.fork_server import ForkServer, check_begun, readable, send
from rlvr.sandbox.inside import wire
from rlvr.sandbox.run import classify_ending


class SessionEnded(BaseException):
    """The process is gone: a limit, a crash, or the candidate exited. Not an `Exception`: no test must catch it."""

    def __init__(self, ending: Ending, detail: str) -> None:
        super().__init__(f"{ending}: {detail}")
        self.ending = ending
        self.detail = detail


class Raised(Exception):
    """The candidate's code raised."""

    def __init__(self, names: Sequence[str], kind: str, text: str, ending: str | None) -> None:
        super().__init__(f"{kind}: {text}")
        self.names = tuple(names)
        """Names of its built-in classes, the most specific first."""
        self.kind = kind
        self.text = text
        self.ending = ending
        """The limit that the exception reports, if any: `memory`, `process_limit`, ..."""


class CandidateSession:
    """Made by `Sandbox.load`; call `wait_until_loaded` first. For one thread; its user closes it."""

    def __init__(self, server: ForkServer, channel: socket.socket, limits: Limits) -> None:
        self._server = server
        self._channel = channel
        self._limits = limits
        self._buffer = bytearray()
        self._open = True
        self.waited = 0.0
        """Seconds that the program waited for a processor, as last asked: in calls that took long."""
        self._begun = False

    def wait_until_loaded(self) -> None:
        """Wait for the module's own lines to run. Errors: `Raised`, `SessionEnded`, `SandboxError`."""
        self._checked(self._reply())

    def ask(
        self,
        what: str,
        target: int | None,
        name: str | None,
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
        *,
        back: bool = False,
    ) -> tuple[Any, list[Any] | None]:
        """Do `what` with `name` of the module (`target=None`) or of one of its objects: `call` it, `get` or `set` it, or ask
        whether the first argument is an instance of it (`isinstance`). Returns the value, and with `back` the arguments as they
        are afterwards. Errors: `Raised`, `SessionEnded`, `SandboxError`; `wire.NotPlain` for arguments that are not plain data.
        """
        if not self._open:
            raise SessionEnded("exit", "the process that it belongs to is gone")
        number = secrets.randbits(31)  # so that no reply can be written before its question
        order = (number, what, target, name, wire.encode(list(arguments)), wire.encode(dict(keywords or {})), back)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is dead; reading the reply finds that out
            send(self._channel, marshal.dumps(order))
        reply = self._checked(self._reply(), number)
        try:
            value = wire.decode(reply.get("value"))
            return value, wire.decode(reply["arguments"]) if back else None
        except (wire.NotPlain, KeyError, RecursionError, MemoryError) as error:
            return wire.Opaque(f"unreadable ({str(error)[:100]})"), None

    def _checked(self, frame: bytes, number: int | None = None) -> dict[str, Any]:
        try:
            reply = wire.loads(frame)
        except wire.NotPlain as error:
            self._kill("exit", f"what it wrote cannot be read: {error}")
        if not isinstance(reply, dict) or reply.get("to") != number:
            self._kill("exit", "what it wrote is no reply")
        if "raised" in reply:
            names = [str(name)[:100] for name in reply["raised"]] if isinstance(reply["raised"], list) else []
            ending = reply.get("ending")
            known = ending if isinstance(ending, str) and ending in LIMIT_ENDINGS else None
            raise Raised(names, str(reply.get("class"))[:100], str(reply.get("text"))[:500], known)
        return reply

    def _reply(self) -> bytes:
        """The next frame, within the time for a call."""
        start, allowed = time.monotonic(), self._limits.wall_s
        if not self._begun:
            check_begun(self._frame(start, allowed, first=True))
            self._begun = True
        return self._frame(start, allowed)

    def _frame(self, start: float, allowed: float, *, first: bool = False) -> bytes:
        while True:
            if len(self._buffer) >= wire.HEADER.size:
                end = wire.HEADER.size + wire.HEADER.unpack_from(self._buffer)[0]
                if end > wire.MAX_BYTES + wire.HEADER.size:
                    self._kill("output_limit", "a reply of more than 4 MB")
                if len(self._buffer) >= end:
                    frame = bytes(self._buffer[wire.HEADER.size : end])
                    del self._buffer[:end]
                    return frame
            left = start + allowed - time.monotonic()
            if left > 0 and readable(self._channel, left):
                part = b""
                with contextlib.suppress(ConnectionResetError):
                    part = self._channel.recv(1 << 16)
                if not part:
                    self._died(first=first)
                self._buffer += part
            else:
                allowed += self._newly_waited()
                if time.monotonic() - start >= min(allowed, 10 * self._limits.wall_s):
                    self._kill("timeout", f"{self._limits.wall_s:g} s")

    def _newly_waited(self) -> float:
        """Seconds that the program waited for a processor since the last call; they do not count against its limit."""
        self._server.send({"do": "usage"})
        usage = self._server.receive()
        if "waited" not in usage:
            self._raise_ended(usage)
        waited, self.waited = usage["waited"] - self.waited, usage["waited"]
        return max(0.0, waited)

    def _died(self, *, first: bool) -> NoReturn:
        """The process hung up: it has died, or has closed its channel and is killed."""
        if first and not self._buffer:
            self.close()
            check_begun(b"")
        self._hang_up()
        reported = readable(self._server.control, 0.05)
        self._raise_ended(self._server.receive() if reported else self._server.kill("hung up"))

    def _kill(self, ending: Ending, detail: str) -> NoReturn:
        self._hang_up()
        self._server.kill(ending)
        raise SessionEnded(ending, detail)

    def _raise_ended(self, ended: dict[str, Any]) -> NoReturn:
        self._hang_up()
        if ended["why"] == "hung up":
            raise SessionEnded("exit", "closed its channel")
        ending, detail = classify_ending(ended, self._limits, {}, tier=self._server.tier)
        raise SessionEnded("exit" if ending == "ok" else ending, detail or "exited with status 0")

    def _hang_up(self) -> None:
        self._open = False
        self._channel.close()

    def close(self) -> None:
        """Kill the process and all that it started. Errors: `SandboxError`."""
        if self._open:
            self._hang_up()
            self._server.kill("closed")

    def __enter__(self) -> CandidateSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
