"""`Sandbox`: runs programs of the model. For one thread and one program at a time; make several to run several at once."""

from __future__ import annotations

import contextlib
import dataclasses
import marshal
from collections.abc import Sequence

from rlvr.sandbox.base import Job, Limits, Result
from rlvr.sandbox.fork_server import ForkServer, send
from rlvr.sandbox.jail import Tier
from rlvr.sandbox.run import run_job
from rlvr.sandbox.session import CandidateSession


class Sandbox:
    """Runs each program in a fresh isolated process. Every method may raise `SandboxError`; the next call starts a new fork
    server."""

    def __init__(self, *, tier: Tier, tools: Sequence[str] = ()) -> None:
        """tier: how to isolate (`rlvr.sandbox.probe.tier_to_use`). tools: further folders that programs may read."""
        self._server = ForkServer(tier=tier, tools=tools)

    @property
    def tier(self) -> Tier:
        return self._server.tier

    def run(self, job: Job) -> Result:
        """Run a program to its end."""
        return run_job(self._server, job)

    def load(self, source: str, *, limits: Limits, objects: bool = False) -> CandidateSession:
        """Load the candidate's module in a process that then waits for calls.

        `limits.cpu_s` bounds all calls together, `limits.wall_s` each one. `objects`: values that are no plain data stay there,
        and references to them are returned.
        """
        whole = dataclasses.replace(limits, wall_s=10 * limits.cpu_s)
        channel = self._server.open("serve", whole, {})
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send(channel, marshal.dumps({"source": source, "files": {}, "objects": objects}))
        return CandidateSession(self._server, channel, limits)

    def close(self) -> None:
        """End the server and everything in it."""
        self._server.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
