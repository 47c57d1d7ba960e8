"""The sandbox that a judging process keeps from one rollout to the next."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence

from rlvr.sandbox.probe import tier_to_use
from rlvr.sandbox.sandbox import Sandbox

_held: dict[tuple[int, tuple[str, ...]], Sandbox] = {}


def shared_sandbox(tools: Sequence[str] = ()) -> Sandbox:
    """This process's own; a fork of it makes another. Errors: `SandboxError`."""
    key = (os.getpid(), tuple(tools))
    if key not in _held:
        _held[key] = Sandbox(tier=tier_to_use(), tools=tools)
    return _held[key]


@atexit.register
def _close() -> None:
    for (owner, _), sandbox in _held.items():
        if owner == os.getpid():
            sandbox.close()
