"""Limits that an exception of the program speaks of."""

from __future__ import annotations

import errno

_ERRNO_ENDINGS = {errno.EMFILE: "open_files_limit", errno.EFBIG: "file_size_limit", errno.ENOSPC: "disk_limit"}


def ending_of(error: BaseException) -> str | None:
    """The limit that an exception speaks of. It is the program's own word, and only says why a test is lost."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, BlockingIOError) or (isinstance(error, RuntimeError) and "new thread" in str(error)):
        return "process_limit"
    return _ERRNO_ENDINGS.get(error.errno or 0) if isinstance(error, OSError) else None
