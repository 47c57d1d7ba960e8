"""What a program could leave behind: processes, mounts, files, shared objects, sockets."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import psutil

MARK = "rlvr-escape"
"""In the name of whatever the programs of these tests leave."""


def processes() -> int:
    """How many processes lie below this one."""
    return len(psutil.Process().children(recursive=True))


def marked_processes() -> list[str]:
    """Processes on the machine, wherever they hang, that have given themselves the name. Nobody else's are looked at."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith(MARK) and process.uids().real in (os.getuid(), 65534, 0):
                found.append(str(process))
        except psutil.Error:
            continue
    return found


def mounts() -> list[tuple[str, ...]]:
    """Where something is mounted in this process and in those below it, in each as far as we may look."""
    tables = []
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            lines = Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
        except OSError:
            continue
        tables.append(tuple(sorted(line.split()[4] for line in lines)))
    return sorted(tables)


def marked_things() -> list[str]:
    """Files in the places where everybody may write, System V objects, and sockets, of that name."""
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
    worlds = [each for each in os.listdir(tempfile.gettempdir()) if each.startswith("rlvr-world-")]
    return [*files, *objects, *sockets, *worlds]
