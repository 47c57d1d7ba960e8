"""The sandboxed process's end of a channel. Frames over a stream socket: four bytes of length, then the message."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from rlvr.sandbox.inside import wire


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
