"""The judge's side of the sandbox: starts a fork server and opens worlds on it.

A `Sandbox` is used by one thread at a time and holds one world at a time; whoever wants more makes more.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import json
import marshal
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from rlvr.sandbox import jail
from rlvr.sandbox.base import Job, Limits, Result, SandboxError
from rlvr.sandbox.inside import wire
from rlvr.sandbox.running import attend, memory_file, readable, send
from rlvr.sandbox.world import World

START_S = 30.0
"""For a fork server to be ready, or to say how a world ended, on a machine that is busy."""


class Sandbox:
    """A fork server in its jail. Every method may raise `SandboxError`; the next one then starts a new server by itself."""

    def __init__(self, *, tier: jail.Tier | None = None, tools: Sequence[str] = ()) -> None:
        """`tier`: how to isolate; None: as strongly as this machine can. `tools`: folders that programs may read as well."""
        self.tier: jail.Tier = jail.tier_to_use() if tier is None else tier
        self._tools = tuple(tools)
        self._owner = os.getpid()
        self._start()

    def _start(self) -> None:
        with _as_ours():
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

    def run(self, job: Job) -> Result:
        """Run a program to its end."""
        with _as_ours(), contextlib.ExitStack() as stack:
            out, their_out = _pipe(stack)
            err, their_err = _pipe(stack)
            given = {"stdout": their_out, "stderr": their_err}
            if job.stdin:
                given["stdin"] = stack.enter_context(memory_file(job.stdin))
            channel = stack.enter_context(
                self._open(
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
            return attend(self, job.limits, channel=channel.fileno(), out=out.fileno(), err=err.fileno())

    def load(self, source: str, *, limits: Limits, objects: bool = False) -> World:
        """A world in which the candidate's module is loaded and waits for calls; see `World`.

        `limits.cpu_s` is for all calls, `limits.wall_s` for each. `objects`: values that are no plain data stay there, and
        references to them come back.
        """
        whole = dataclasses.replace(limits, wall_s=10 * limits.cpu_s)
        channel = self._open("serve", whole, {})
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send(channel, marshal.dumps({"source": source, "files": {}, "objects": objects}))
        return World(self, channel, limits)

    def _open(
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
        with _as_ours():
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

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def _as_ours() -> Iterator[None]:
    """What the system refuses us, descriptors for instance, must not be taken for an error of the tests."""
    try:
        yield
    except OSError as error:
        raise SandboxError(f"no world could be made: {error}") from error


def _pipe(stack: contextlib.ExitStack) -> tuple[Any, Any]:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    return stack.enter_context(open(ours, "rb", buffering=0)), stack.enter_context(open(theirs, "wb", buffering=0))
