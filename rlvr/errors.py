"""Errors that users see, and how they are put in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """What the user asked for cannot be: one line that names the key, the value and what is allowed."""


class RunStopped(RuntimeError):
    """A run cannot go on, through no fault of its configuration; what was done is kept."""


def describe(error: BaseException) -> str:
    """Type and message of an exception, cut; whatever its message is made of."""
    try:
        return f"{type(error).__name__}: {error}"[:2000]
    except Exception:  # noqa: BLE001  __str__ of an exception may itself fail
        return type(error).__name__


def nearest(name: str, allowed: Iterable[str]) -> str:
    """How an error line goes on: the nearest name if one is near, and all that is allowed."""
    allowed = list(allowed)
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    return (f"; did you mean {close[0]}?" if close else "") + (f" (allowed: {', '.join(allowed)})" if allowed else "")
