"""Become an ordinary user (from root) who can still read the interpreter and the project, wherever they lie."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

NOBODY = 65534
_NEW_MOUNT, _BIND, _REC, _PRIVATE = 0x20000, 4096, 16384, 1 << 18


def become(user: int, needed: Iterable[Path]) -> None:
    """Become `user`, for this process and what it starts. Errors: `OSError` where one of `needed` can be read by root alone, or
    a folder above it can and nothing can be mounted.

    A folder that only root may enter (`/root`, with a Python of pyenv's in it) is hidden behind an empty one, in a mount
    namespace of this process, and the needed parts are mounted there again under the same path.
    """
    hidden: dict[Path, list[Path]] = {}
    for path in needed:
        closed = next((each for each in [*reversed(path.parents), path] if not each.stat().st_mode & 0o001), None)
        if closed == path:
            raise OSError(f"{path} is for root alone")
        if closed:
            hidden.setdefault(closed, []).append(path)
    if hidden:
        _mount_again(hidden)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def interpreter() -> set[Path]:
    """The folders that this Python needs: of the virtual environment, of its base installation, of the real executable."""
    return {Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parent.parent}


def _mount_again(hidden: dict[Path, list[Path]]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    check(libc.unshare(_NEW_MOUNT), "a mount namespace")
    check(libc.mount(b"none", b"/", None, _REC | _PRIVATE, None), "private mounts")
    held = {path: os.open(path, os.O_PATH) for paths in hidden.values() for path in paths}
    for folder, paths in hidden.items():
        check(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"mode=755"), f"tmpfs over {folder}")
        for path in paths:
            path.mkdir(parents=True, exist_ok=True)
            check(libc.mount(b"/proc/self/fd/%d" % held[path], os.fsencode(path), None, _BIND | _REC, None), f"bind {path}")
    for descriptor in held.values():
        os.close(descriptor)
