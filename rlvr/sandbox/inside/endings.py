"""Which limit an exception of the program reports."""

from __future__ import annotations

import errno

_ERRNO_LIMITS = {errno.EMFILE: "open_files_limit", errno.EFBIG: "file_size_limit", errno.ENOSPC: "disk_limit"}


def limit_reported(error: BaseException) -> str | None:
    """The ending of that limit, or None. The program may lie: this only gives the reason for a failed test."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, BlockingIOError) or (isinstance(error, RuntimeError) and "new thread" in str(error)):
        return "process_limit"
    return _ERRNO_LIMITS.get(error.errno or 0) if isinstance(error, OSError) else None
