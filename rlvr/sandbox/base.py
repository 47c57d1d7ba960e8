"""The contract of the sandbox: a program with files, standard input and limits goes in; how it ended, what it wrote and what it
used come out. Our own failures are `SandboxError`, never a result: they must not be taken for the program's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from rlvr.config.bounds import check_fields

LimitEnding = Literal[
    "timeout",  # wall or processor time
    "memory",
    "output_limit",
    "process_limit",
    "open_files_limit",
    "file_size_limit",
    "disk_limit",
]
LIMIT_ENDINGS = get_args(LimitEnding)
Ending = (
    Literal[
        "ok",  # exit status 0
        "exit",  # another exit status, an uncaught exception included
        "crash",  # a signal
    ]
    | LimitEnding
)


class SandboxError(RuntimeError):
    """Our side failed: no isolation, no process, the fork server died. Retried, then masked."""


def installed(name: str) -> str:
    """The path of a program that is installed. Errors: `SandboxError` where this machine lacks it."""
    found = shutil.which(name)
    if found is None:
        raise SandboxError(f"{name} is not installed on the machine that scores")
    return os.path.realpath(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use. Each limit has a separate ending."""

    wall_s: float = 2.0
    """Seconds from its start, without the time it spent waiting for a processor."""
    cpu_s: float = 2.0
    """Seconds of processor time of each of its processes."""
    memory_mb: int = 256
    """Megabytes of address space of each process on top of what an empty one has, and of memory of all of them together."""
    output_kb: int = 256
    """Kilobytes of standard output, and of standard error."""
    open_files: int = 64
    processes: int = 32
    """Processes and threads at a time."""
    file_mb: int = 16
    """Megabytes of the largest file."""
    disk_mb: int = 32
    """Megabytes of its directory in all."""

    def __post_init__(self) -> None:
        check_fields(self, *self.__slots__, above=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A program to run to its end. Its working directory is an empty writable one."""

    argv: tuple[str, ...] = ()
    """A command. The first word is an absolute path, or `./name` for a file in the directory. Empty: `source` is run."""
    source: str | None = None
    """A Python program, run as `__main__` by the warm interpreter."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Content by plain file name; all are executable."""
    stdin: bytes = b""
    limits: Limits = field(default_factory=Limits)
    collect: tuple[str, ...] = ()
    """Names of files to return from the directory when the program ended `ok`."""
    limit_address_space: bool = True
    """False for programs that reserve far more address space than they use (node, Lean): their data is limited instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a program ended."""

    ending: Ending
    detail: str
    """For a human: exit status, signal, exception, or which limit."""
    stdout: bytes
    stderr: bytes
    """Both truncated at the limit."""
    wall_s: float
    cpu_s: float
    peak_mb: float
    """Resident megabytes of the largest process."""
    files: Mapping[str, bytes] = field(default_factory=dict)
