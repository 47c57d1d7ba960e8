"""One world: what a fresh fork gives up before the program's first line, and the three ways to run a program in it."""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import marshal
import os
import random
import resource
import signal
import sys
import threading
import traceback
import types
from typing import IO, Any, NoReturn

from rlvr.sandbox.inside import kernel, wire
from rlvr.sandbox.inside.channel import Channel
from rlvr.sandbox.inside.serve import serve

PLACE = "/tmp"
"""Where a program's own directory lies."""
_CHANNEL = 3
_OUR_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": PLACE, "TMPDIR": PLACE}
"""Of commands; the Python that runs `source` has none at all."""
_COMMAND_SIZE = 64 << 20
"""Bytes of address space that an empty command has: its libraries."""
_ERRNO_ENDINGS = {errno.EMFILE: "open_files_limit", errno.EFBIG: "file_size_limit", errno.ENOSPC: "disk_limit"}


def enter(server: Any, order: dict[str, Any], descriptors: list[int], folder: str | None) -> NoReturn:
    """In the fork: never returns, and never runs a program when a wall is missing."""
    try:
        channel = _settle_descriptors(order, descriptors)
        try:
            _isolate(server, order["limits"], folder)
            program = marshal.loads(channel.read())
            for name, content in program["files"].items():
                _write(name, content)
            _limit(server, order)
            channel.descriptor = _CHANNEL
            kernel.drop_privileges()
            if server.tier == "landlock":
                kernel.restrict_files(server.readable, folder or PLACE)
            filtered = server.tier != "none" and kernel.filter_system_calls()
            if server.tier == "landlock" and not filtered:
                raise OSError("no seccomp filter for this processor, and Landlock alone does not close the network")
            del server
        except BaseException as error:  # noqa: BLE001  our side failed, and the program must not run
            channel.write({"failed": f"{type(error).__name__}: {error}"[:500]})
            os._exit(1)
        channel.write({"begun": True})
        random.seed(0)  # a verdict that can be computed again, for programs that do not seed
        if order["kind"] == "serve":
            serve(channel, program)
        elif order["kind"] == "main":
            _run_main(channel, program["source"])
        else:
            _run_command(channel, program, collect=order["collect"])
    finally:
        os._exit(1)


def _settle_descriptors(order: dict[str, Any], descriptors: list[int]) -> Channel:
    """0 to 2 as ordered, 3 for the channel, and no other."""
    high = {name: fcntl.fcntl(fd, fcntl.F_DUPFD, 200) for name, fd in zip(order["fds"], descriptors, strict=True)}
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if name in high:
            os.dup2(high[name], number)
    os.dup2(high["channel"], 1000, inheritable=False)
    return Channel(1000)


def _isolate(server: Any, limits: dict[str, Any], folder: str | None) -> None:
    os.setsid()  # or a signal to its own process group, which knows no namespaces, would reach the server
    if server.tier == "namespaces":
        kernel.hide_memory(False)  # of this fork, so that it may write its maps
        kernel.unshare(kernel.NEW_USER | kernel.NEW_MOUNT | kernel.NEW_IPC)
        kernel.map_user(server.proc, inside=1000, user=0, group=0)
        kernel.mount_private(PLACE.encode(), b"size=%dm,nr_inodes=4k,mode=700" % limits["disk_mb"])
        os.chdir(PLACE)
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
    """Limits that the kernel keeps; every descriptor but the four is closed."""
    limits, memory = order["limits"], order["limits"]["memory_mb"] << 20
    os.dup2(1000, _CHANNEL, inheritable=False)
    own_memory = server.base_size if order["kind"] != "command" else _COMMAND_SIZE
    os.closerange(_CHANNEL + 1, 1 << 20)
    which = resource.RLIMIT_AS if order["limit_address_space"] else resource.RLIMIT_DATA
    values = {
        which: memory + own_memory,
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


def ending_of(error: BaseException) -> str | None:
    """The limit that an exception speaks of. It is the program's own word, and only says why a test is lost."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, BlockingIOError) or (isinstance(error, RuntimeError) and "new thread" in str(error)):
        return "process_limit"
    return _ERRNO_ENDINGS.get(error.errno or 0) if isinstance(error, OSError) else None


def _run_main(channel: Channel, source: str) -> None:
    """As `python program.py` would, with its exit status."""
    status, main = 0, types.ModuleType("__main__")
    sys.modules["__main__"] = main
    sys.argv = ["program.py"]
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        setattr(sys, name, _stream(number, mode))
    sys.setrecursionlimit(1000)
    try:
        exec(compile(source, "program.py", "exec"), main.__dict__)
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
        if isinstance(exit_.code, str):
            print(exit_.code[:2000], file=sys.stderr)
    except BaseException as error:  # noqa: BLE001  whatever a program raises
        status = 1
        channel.write({"raised": type(error).__name__[:100], "ending": ending_of(error)})
        with contextlib.suppress(BaseException):
            traceback.print_exception(error, limit=-3)
    with contextlib.suppress(BaseException):
        threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]  waits for its threads, as Python does
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # noqa: BLE001
            status = status or 1
    os._exit(status & 0xFF)


def _stream(number: int, mode: str) -> IO[str]:
    return open(number, mode, encoding="utf-8", errors="surrogateescape", closefd=False)  # as long as the program lives


def _run_command(channel: Channel, program: dict[str, Any], *, collect: list[str]) -> None:
    argv = program["argv"]
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        if not collect:
            os.execve(argv[0], argv, _OUR_ENVIRONMENT)
        child = os.fork()
        if not child:
            os.execve(argv[0], argv, _OUR_ENVIRONMENT)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        kernel.hide_memory()
        if status == 0:
            channel.write({"files": collect})
            for name in collect:
                channel.write(_read(name), encode=bytes)
        os._exit(status if 0 <= status < 126 else 126)
    except OSError as error:
        channel.write({"raised": f"{argv[0]}: {error.strerror}", "ending": ending_of(error)})
        os._exit(127)


def _read(name: str) -> bytes:
    """Empty where there is no such file."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with open(descriptor, "rb") as file:
        return file.read(wire.MAX_FILE)
