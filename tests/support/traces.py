"""What a program could leave behind: processes, mounts, files, shared objects, sockets."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import psutil

MARK = "rlvr-escape"
"""In the names of whatever the programs of these tests leave behind."""


def processes() -> int:
    """How many processes lie below this one."""
    return len(psutil.Process().children(recursive=True))


def marked_processes(mark: str = MARK) -> list[str]:
    """Processes on the machine, below us or not, that have given themselves the name. Only of the users of these tests.

    mark: a separate one for tests that may run at the same time.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith(mark) and process.uids().real in (os.getuid(), 65534, 0):
                found.append(str(process))
        except psutil.Error:
            continue
    return found


def mounts() -> list[tuple[str, ...]]:
    """The mount points of this process and of those below it, as far as we may read them."""
    tables = []
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            lines = Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
        except OSError:
            continue
        tables.append(tuple(sorted(line.split()[4] for line in lines)))
    return sorted(tables)


def marked_things() -> list[str]:
    """Files in world-writable places, System V objects, sockets, and folders of the sandbox, of that name."""
    places = {"/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/dev/mqueue", "/opt", os.getcwd(), tempfile.gettempdir()}
    files = [f"{place}/{name}" for place in places if os.access(place, os.R_OK) for name in os.listdir(place) if MARK in name]
    objects = [
        line
        for kind in ("shm", "sem", "msg")
        if os.path.exists(f"/proc/sysvipc/{kind}")
        for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
        if line.split()[0] == str(0x51A7E)
    ]
    sockets = [line for line in Path("/proc/net/unix").read_text().splitlines() if MARK in line]
    folders = [each for each in os.listdir(tempfile.gettempdir()) if each.startswith("rlvr-sandbox-")]
    return [*files, *objects, *sockets, *folders]
