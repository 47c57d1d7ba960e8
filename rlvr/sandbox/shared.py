"""Per-process cached sandboxes."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence

from rlvr.sandbox.probe import tier_to_use
from rlvr.sandbox.sandbox import Sandbox

_sandboxes: dict[tuple[int, tuple[str, ...]], Sandbox] = {}


def shared_sandbox(tools: Sequence[str] = ()) -> Sandbox:
    """The cached sandbox of this process with these tools; a fork of the process starts its own. Errors: `SandboxError`."""
    key = (os.getpid(), tuple(tools))
    if key not in _sandboxes:
        _sandboxes[key] = Sandbox(tier=tier_to_use(), tools=tools)
    return _sandboxes[key]


@atexit.register
def _close_all() -> None:
    for (owner, _), sandbox in _sandboxes.items():
        if owner == os.getpid():
            sandbox.close()
