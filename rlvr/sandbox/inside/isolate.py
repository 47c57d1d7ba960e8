"""Isolate a fresh fork before the program's first line: namespaces, limits, privileges, the filter of system calls."""

from __future__ import annotations

import fcntl
import marshal
import os
import random
import resource
from typing import Any, NoReturn

from rlvr.sandbox.inside import kernel
from rlvr.sandbox.inside.channel import Channel
from rlvr.sandbox.inside.run_program import WORK_DIR, run_command, run_main
from rlvr.sandbox.inside.serve_calls import serve

_CHANNEL = 3
_COMMAND_SIZE = 64 << 20
"""Bytes of address space of a command that does nothing: its libraries."""


def isolate_and_run(server: Any, order: dict[str, Any], descriptors: list[int], folder: str | None) -> NoReturn:
    """In the fork: never returns, and runs no program when any part of the isolation fails."""
    try:
        channel = _arrange_descriptors(order, descriptors)
        try:
            _enter_namespaces(server, order["limits"], folder)
            program = marshal.loads(channel.read())
            for name, content in program["files"].items():
                _write(name, content)
            _limit(server, order)
            channel.descriptor = _CHANNEL
            kernel.drop_privileges()
            if server.tier == "landlock":
                kernel.restrict_files(server.readable, folder or WORK_DIR)
            filtered = server.tier != "none" and kernel.filter_system_calls()
            if server.tier == "landlock" and not filtered:
                raise OSError("no seccomp filter for this processor, and Landlock alone does not close the network")
            del server
        except BaseException as error:  # noqa: BLE001  our side failed, and the program must not run
            channel.write({"failed": f"{type(error).__name__}: {error}"[:500]})
            os._exit(1)
        channel.write({"begun": True})
        random.seed(0)  # reproducible verdicts for programs that do not seed
        if order["kind"] == "serve":
            serve(channel, program)
        elif order["kind"] == "main":
            run_main(channel, program["source"])
        else:
            run_command(channel, program, collect=order["collect"])
    finally:
        os._exit(1)


def _arrange_descriptors(order: dict[str, Any], descriptors: list[int]) -> Channel:
    """Put standard files on 0 to 2, and the channel on 1000 until all others are closed."""
    high = {name: fcntl.fcntl(fd, fcntl.F_DUPFD, 200) for name, fd in zip(order["fds"], descriptors, strict=True)}
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if name in high:
            os.dup2(high[name], number)
    os.dup2(high["channel"], 1000, inheritable=False)
    return Channel(1000)


def _enter_namespaces(server: Any, limits: dict[str, Any], folder: str | None) -> None:
    """Enter new namespaces and their private directory; without namespaces only `folder`."""
    os.setsid()  # process groups ignore namespaces: a signal to its own group would reach the server
    if server.tier == "namespaces":
        kernel.hide_memory(False)  # of this fork, so that it may write its maps
        kernel.unshare(kernel.NEW_USER | kernel.NEW_MOUNT | kernel.NEW_IPC)
        kernel.map_user(server.proc, inside=1000, user=0, group=0)
        kernel.mount_private(WORK_DIR.encode(), b"size=%dm,nr_inodes=4k,mode=700" % limits["disk_mb"])
        os.chdir(WORK_DIR)
    else:
        kernel.die_with_parent()
        assert folder
        os.chdir(folder)


def _write(name: str, content: bytes) -> None:
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no plain file name")
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
    with open(descriptor, "wb") as file:
        file.write(content)


def _limit(server: Any, order: dict[str, Any]) -> None:
    """Set the limits that the kernel enforces, and close every descriptor above 3, the channel."""
    limits, memory = order["limits"], order["limits"]["memory_mb"] << 20
    os.dup2(1000, _CHANNEL, inheritable=False)
    base_memory = server.base_size if order["kind"] != "command" else _COMMAND_SIZE
    os.closerange(_CHANNEL + 1, 1 << 20)
    which = resource.RLIMIT_AS if order["limit_address_space"] else resource.RLIMIT_DATA
    values = {
        which: memory + base_memory,
        resource.RLIMIT_CPU: int(limits["cpu_s"]) + 1,
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_FSIZE: limits["file_mb"] << 20,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for limit, value in values.items():
        resource.setrlimit(limit, (value, value))
