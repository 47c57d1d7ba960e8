"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: str | bytes | Any, *, durable: bool = False) -> None:
    """Write a file in place of the one that is there, if any, which stays as it is until the new one is complete.

    content: text (UTF-8), bytes or a buffer. durable: its content survives a crash of the machine from here on; its name does
    once the folder has been synced too. Errors: `OSError`, `UnicodeEncodeError`; nothing half-written stays.
    """
    data = content.encode() if isinstance(content, str) else content
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
