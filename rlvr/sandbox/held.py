"""The sandbox that a judging process keeps from one rollout to the next."""

from __future__ import annotations

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
