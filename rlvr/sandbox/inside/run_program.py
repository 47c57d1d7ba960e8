"""Run a program to its end: Python source as `__main__` of this interpreter, or a command. Neither returns."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
import types
from typing import IO, Any

from rlvr.sandbox.inside import kernel, wire
from rlvr.sandbox.inside.channel import Channel, limit_reported

WORK_DIR = "/tmp"
"""The program's writable directory."""
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": WORK_DIR, "TMPDIR": WORK_DIR}
"""Environment of commands; the Python that runs `source` has an empty one."""


def run_main(channel: Channel, source: str) -> None:
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
        channel.write({"raised": type(error).__name__[:100], "ending": limit_reported(error)})
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


def run_command(channel: Channel, program: dict[str, Any], *, collect: list[str]) -> None:
    """Replace this process by the command, or run it as a child where files are to be collected afterwards."""
    argv = program["argv"]
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        if not collect:
            os.execve(argv[0], argv, _ENVIRONMENT)
        child = os.fork()
        if not child:
            os.execve(argv[0], argv, _ENVIRONMENT)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        kernel.hide_memory()
        if status == 0:
            channel.write({"files": collect})
            for name in collect:
                channel.write(_read(name), encode=bytes)
        os._exit(status if 0 <= status < 126 else 126)
    except OSError as error:
        channel.write({"raised": f"{argv[0]}: {error.strerror}", "ending": limit_reported(error)})
        os._exit(127)


def _read(name: str) -> bytes:
    """A file's content; empty where there is no such file."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with open(descriptor, "rb") as file:
        return file.read(wire.MAX_FILE)
