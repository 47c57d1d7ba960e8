"""The sandboxed process's end of a channel, and what it reports of an exception.

Frames over a stream socket: four bytes of length, then the message.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from rlvr.sandbox.inside import wire

_ERRNO_LIMITS = {errno.EMFILE: "open_files_limit", errno.EFBIG: "file_size_limit", errno.ENOSPC: "disk_limit"}


class Channel:
    """Reads and writes frames."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read(self) -> bytes:
        """Errors: `EOFError`."""
        return self._exactly(wire.HEADER.unpack(self._exactly(wire.HEADER.size))[0])

    def write(self, message: Any, encode: Callable[[Any], bytes] = wire.dumps) -> None:
        data = encode(message)
        view = memoryview(wire.HEADER.pack(len(data)) + data)
        while view:
            view = view[os.write(self.descriptor, view) :]

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = os.read(self.descriptor, min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def limit_reported(error: BaseException) -> str | None:
    """The ending of that limit, or None. The program may lie: this only gives the reason for a failed test."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, BlockingIOError) or (isinstance(error, RuntimeError) and "new thread" in str(error)):
        return "process_limit"
    return _ERRNO_LIMITS.get(error.errno or 0) if isinstance(error, OSError) else None
