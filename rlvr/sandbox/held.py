"""The sandbox that a judging process keeps from one rollout to the next."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence

from rlvr.sandbox.client import Sandbox

_held: dict[tuple[int, tuple[str, ...]], Sandbox] = {}


def held(tools: Sequence[str] = ()) -> Sandbox:
    """This process's own; a fork of it makes another. Errors: `SandboxError`."""
    key = (os.getpid(), tuple(tools))
    if key not in _held:
        _held[key] = Sandbox(tools=tools)
    return _held[key]


@atexit.register
def _close() -> None:
    for (owner, _), sandbox in _held.items():
        if owner == os.getpid():
            sandbox.close()
