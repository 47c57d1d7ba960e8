"""Which isolation this machine offers, found by running a program in each kind."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass

from rlvr.errors import ConfigError
from rlvr.sandbox.base import Job, SandboxError
from rlvr.sandbox.jail import Tier
from rlvr.sandbox.sandbox import Sandbox

ALLOW_WEAK = "RLVR_ALLOW_WEAK_ISOLATION"
"""Environment variable that passes verify.allow_weak_isolation to judging processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What a machine offers."""

    tier: Tier
    reasons: tuple[str, ...]
    """Why each stronger tier is not available, strongest first."""
    no_filter: bool
    """There is no seccomp filter for this processor architecture."""

    def __str__(self) -> str:
        texts = {
            "namespaces": "user, mount, PID, IPC and network namespaces in a bubblewrap jail",
            "landlock": "Landlock and seccomp",
            "none": "none: limits alone",
        }
        filtered = " (no seccomp filter for this processor)" if self.no_filter else ""
        return "; ".join([f"isolation: {self.tier}: {texts[self.tier]}{filtered}", *self.reasons])


_ATTEMPTS = 4
"""Per tier: a server that was killed, or a fork that failed, must not leave this process with a weaker tier."""


@functools.cache
def probe() -> Isolation:
    """The strongest isolation with which a program really runs here. Cached: once per process."""
    reasons: list[str] = []
    tiers: tuple[Tier, ...] = ("namespaces", "landlock")
    for tier in tiers:
        failure = ""
        for _ in range(_ATTEMPTS):
            try:
                with Sandbox(tier=tier) as sandbox:
                    result = sandbox.run(Job(source="print(6 * 7)"))
                if result.stdout == b"42\n":
                    unfiltered = platform.machine() not in ("x86_64", "aarch64")
                    return Isolation(tier=tier, reasons=tuple(reasons), no_filter=unfiltered)
                failure = f"a program ended with {result.ending}: {result.detail}"
            except SandboxError as error:
                failure = str(error)
        reasons.append(f"no {tier}: {failure}")
    return Isolation(tier="none", reasons=tuple(reasons), no_filter=True)


def require(allow_weak: bool) -> None:
    """Errors: `ConfigError` where this machine cannot isolate programs and the user has not allowed weak isolation."""
    found = probe()
    if found.tier == "none" and not allow_weak:
        raise ConfigError(
            f"verify.allow_weak_isolation=false: this machine cannot isolate programs ({'; '.join(found.reasons)}); "
            "verify.allow_weak_isolation=true runs them with limits alone"
        )


def tier_to_use() -> Tier:
    """The tier for this judging process. Errors: `SandboxError` where it is `none` and that is not allowed."""
    found = probe()
    if found.tier == "none" and os.environ.get(ALLOW_WEAK) != "1":
        raise SandboxError(str(found))
    return found.tier
