"""Errors that users see, and pieces of their one-line messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

JOB_ERROR = "error.txt"
"""File in the folder of a sweep's job that says why it failed."""


class ConfigError(ValueError):
    """The user asked for something impossible: one line that names the key, the value and what is allowed."""


class RunStopped(RuntimeError):
    """A run cannot go on, for a reason outside its configuration; what it has done is kept."""


def describe(error: BaseException) -> str:
    """Type and message of an exception, at most 2000 characters. Never raises."""
    try:
        return f"{type(error).__name__}: {error}"[:2000]
    except Exception:  # noqa: BLE001  __str__ of an exception may itself fail
        return type(error).__name__


def nearest(name: str, allowed: Iterable[str]) -> str:
    """The end of an error line about an unknown name: the nearest allowed one, if any is near, and all that are allowed."""
    allowed = list(allowed)
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    return (f"; did you mean {close[0]}?" if close else "") + (f" (allowed: {', '.join(allowed)})" if allowed else "")
