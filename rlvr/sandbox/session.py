"""A candidate's module in its world, called from outside one call at a time."""

from __future__ import annotations

import contextlib
import marshal
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from rlvr.sandbox.base import LIMIT_ENDINGS, Ending, Limits
from rlvr.sandbox.fork_server import ForkServer
from rlvr.sandbox.inside import wire
from rlvr.sandbox.run import ending_of
from rlvr.sandbox.transport import check_begun, readable, send


class SessionEnded(BaseException):
    """The world is gone: a limit, a crash, or the candidate ended itself. No `Exception`: no test may take it for its own."""

    def __init__(self, ending: Ending, detail: str) -> None:
        super().__init__(f"{ending}: {detail}")
        self.ending, self.detail = ending, detail


class Raised(Exception):
    """The candidate's code raised."""

    def __init__(self, names: Sequence[str], kind: str, text: str, ending: str | None) -> None:
        super().__init__(f"{kind}: {text}")
        self.names = tuple(names)
        """Its built-in classes, the most special first."""
        self.kind, self.text = kind, text
        self.ending = ending
        """The limit that it speaks of, if any: `memory`, `process_limit`, ..."""


class CandidateSession:
    """Made by `Sandbox.load`; the first thing to ask is `loaded`. Used by one thread; closed by its user."""

    def __init__(self, server: ForkServer, channel: socket.socket, limits: Limits) -> None:
        self._server, self._channel, self._limits = server, channel, limits
        self._buffer = bytearray()
        self._open = True
        self.waited = 0.0
        """Seconds that its program waited for a processor, as far as that was asked: in calls that took long."""
        self._begun = False

    def loaded(self) -> None:
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
        """The value of a call (`what="call"`), or an attribute (`get`, `set`), of the module (`target=None`) or of one of its
        objects; or whether its first argument is an instance of it (`isinstance`). And with `back` the
        arguments as they are afterwards. Errors: `Raised`, `SessionEnded`, `SandboxError`; `wire.NotPlain` for arguments that are
        no plain data."""
        if not self._open:
            raise SessionEnded("exit", "the world it belongs to is gone")
        number = secrets.randbits(31)  # so that no reply can have been written before the question
        order = (number, what, target, name, wire.encode(list(arguments)), wire.encode(dict(keywords or {})), back)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is dead, and the reply says so
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
            self._end("exit", f"what it wrote cannot be read: {error}")
        if not isinstance(reply, dict) or reply.get("to") != number:
            self._end("exit", "what it wrote is no reply")
        if "raised" in reply:
            names = [str(name)[:100] for name in reply["raised"]] if isinstance(reply["raised"], list) else []
            ending = reply.get("ending")
            known = ending if isinstance(ending, str) and ending in LIMIT_ENDINGS else None
            raise Raised(names, str(reply.get("class"))[:100], str(reply.get("text"))[:500], known)
        return reply

    def _reply(self) -> bytes:
        """The next frame, within the time that a call may take."""
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
                    self._end("output_limit", "a reply of more than 4 MB")
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
                allowed += self._waiting()
                if time.monotonic() - start >= min(allowed, 10 * self._limits.wall_s):
                    self._end("timeout", f"{self._limits.wall_s:g} s")

    def _waiting(self) -> float:
        """Seconds that the program has waited for a processor since this was asked last: they are not the program's fault."""
        self._server.tell({"do": "usage"})
        answer = self._server.answer()
        if "waited" not in answer:
            self._over(answer)
        waited, self.waited = answer["waited"] - self.waited, answer["waited"]
        return max(0.0, waited)

    def _died(self, *, first: bool) -> NoReturn:
        """The world hung up: it has died, or closed its channel and must."""
        if first and not self._buffer:
            self.close()
            check_begun(b"")
        self._leave()
        spoken = readable(self._server.control, 0.05)
        self._over(self._server.answer() if spoken else self._server.kill("hung up"))

    def _end(self, ending: Ending, detail: str) -> NoReturn:
        self._leave()
        self._server.kill(ending)
        raise SessionEnded(ending, detail)

    def _over(self, ended: dict[str, Any]) -> NoReturn:
        self._leave()
        if ended["why"] == "hung up":
            raise SessionEnded("exit", "closed its channel")
        ending, detail = ending_of(ended, self._limits, {}, tier=self._server.tier)
        raise SessionEnded("exit" if ending == "ok" else ending, detail or "ended itself with status 0")

    def _leave(self) -> None:
        self._open = False
        self._channel.close()

    def close(self) -> None:
        """End it, with all that runs in it. Errors: `SandboxError`."""
        if self._open:
            self._leave()
            self._server.kill("closed")

    def __enter__(self) -> CandidateSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
