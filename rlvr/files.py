"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: str | bytes | Any, *, durable: bool = False) -> None:
    """Write or replace a file atomically: until the new content is complete, `path` keeps the old one.

    content: text (UTF-8), bytes or a buffer. durable: flush the content to disk (fsync) before it takes its name, so that it
    survives a crash of the machine; the name does once its folder is synced too. Errors: `OSError`, `UnicodeEncodeError`;
    nothing half-written stays.
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
