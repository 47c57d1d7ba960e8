"""The fork server: started once inside the jail, it forks a isolate for every program, watches it, and says how it ended.

It never sees a program: the channel of a isolate is handed through, so that one program's text is not in the memory that the next
one is a copy of. One isolate at a time; the next is begun when nothing of the last is left.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from typing import Any

from rlvr.sandbox.inside import isolate, kernel, wire
from rlvr.sandbox.inside.watch import Watch, receive, stat_of

_PAGE = resource.getpagesize()
_NOBODY = 65534
_PRELOAD = (
    "abc", "array", "bisect", "cmath", "collections", "collections.abc", "contextlib", "copy", "dataclasses",
    "datetime", "decimal", "enum", "fractions", "functools", "heapq", "io", "itertools", "json", "math", "numbers",
    "operator", "os", "random", "re", "statistics", "string", "struct", "sys", "threading", "time", "traceback",
    "types", "typing",
)  # fmt: skip
"""What programs usually import: done once here, and not in each of them. More would make every fork dearer."""


def main() -> None:
    """Serve until the other end is gone."""
    control = socket.socket(fileno=int(sys.argv[1]))
    tier, readable = sys.argv[2], json.loads(sys.argv[3])
    kernel.die_with_parent()
    for name in _PRELOAD:
        __import__(name)
    builtins.exit = builtins.quit = sys.exit  # which come with `site`, and this Python runs without
    os.environ.clear()
    server = _Server(control, tier, readable)
    if tier == "namespaces":
        server.enter()
    else:
        kernel.adopt_orphans()
    kernel.hide_memory()
    gc.collect()
    gc.freeze()  # so that collecting garbage in a isolate does not touch, and copy, what was there before
    os.dup2(1, 2)  # nobody reads it from here on, and a program that complains must not meet a broken pipe
    control.send(wire.dumps({"ready": tier}))
    server.serve()


class _Server:
    def __init__(self, control: socket.socket, tier: str, readable: list[str]) -> None:
        self.control, self.tier, self.readable = control, tier, readable
        self.proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        self.own_pid_namespace = -1
        self.base_rss, self.base_size = 0, 0

    def enter(self) -> None:
        """An own user namespace, in which this process has the privileges that making worlds takes, and an own PID namespace.

        Before that root becomes nobody: limits on processes do not hold for root, and a way out of a isolate ends there too.
        """
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        user, group = os.getuid(), os.getgid()
        kernel.hide_memory(False)
        kernel.unshare(kernel.NEW_USER | kernel.NEW_MOUNT | kernel.NEW_PID)
        kernel.map_user(self.proc, inside=0, user=user, group=group)
        child = os.fork()
        if child:
            self.control.close()
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        kernel.die_with_parent()
        self.own_pid_namespace = os.open("self/ns/pid", os.O_RDONLY, dir_fd=self.proc)
        kernel.mount_private(b"/proc", b"size=4k,nr_inodes=1,mode=555", read_only=True)

    def serve(self) -> None:
        self.base_size, self.base_rss = self.memory("self")
        while True:
            message, descriptors = receive(self.control)
            if message is None:
                os._exit(0)
            if message.get("do") == "open":
                self._one(message, descriptors)
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def _one(self, order: dict[str, Any], descriptors: list[int]) -> None:
        """A isolate from its beginning to its end; `descriptors`: the program's channel, standard input, output and error."""
        folder = None
        try:
            if self.tier == "namespaces":
                kernel.own_pid_namespace_again(self.own_pid_namespace)
                kernel.unshare(kernel.NEW_PID)
            else:
                import tempfile  # here, as shutil below: they bring libraries that every fork would have to copy

                folder = tempfile.mkdtemp(prefix="rlvr-isolate-")
            child = os.fork()
            if not child:
                isolate.enter(self, order, descriptors, folder)  # never returns
        except OSError as error:
            self.say({"failed": f"no isolate could be made: {error}"})
            if folder:
                _remove(folder)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        descriptors.clear()
        watch = Watch(self, child, order)
        try:
            ended = watch.until_the_end()
        finally:
            if folder:
                self._kill_orphans()
                _remove(folder)
        self.say(ended)

    def say(self, message: dict[str, Any]) -> None:
        try:
            self.control.send(wire.dumps(message))
        except OSError:
            os._exit(0)

    def memory(self, process: str) -> tuple[int, int]:
        """Bytes of address space and of resident memory."""
        size, resident, *_ = self.read(f"{process}/statm").split()
        return int(size) * _PAGE, int(resident) * _PAGE

    def read(self, name: str) -> bytes:
        """A file of /proc; empty where its process has gone."""
        try:
            descriptor = os.open(name, os.O_RDONLY, dir_fd=self.proc)
        except OSError:
            return b"0 0 0 0"
        try:
            return os.read(descriptor, 4096)
        except OSError:
            return b"0 0 0 0"
        finally:
            os.close(descriptor)

    def _kill_orphans(self) -> None:
        """Without a PID namespace of its own: whatever has come to be a child of ours, until there is none."""
        for _ in range(1000):
            for process in self.children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.001)

    def children(self) -> list[int]:
        """Processes of the isolate, in the numbers of /proc."""
        me, found, parents = int(os.readlink("self", dir_fd=self.proc)), [], {}
        for name in os.listdir(self.proc):
            if name.isdigit():
                parents[int(name)] = stat_of(self.read(f"{name}/stat"))[1]
        for process in parents:
            above, steps = process, 0
            while above not in (0, 1, me) and steps < 100:
                above, steps = parents.get(above, 0), steps + 1
            if above == me and process != me:
                found.append(process)
        return found


def _remove(folder: str) -> None:
    """Also what a program has made unreadable, and folders nested deeper than a path can say or Python can recurse."""
    for command in (["/bin/chmod", "-R", "u+rwX"], ["/bin/rm", "-rf"]):
        os.waitpid(os.posix_spawn(command[0], [*command, folder], {}), 0)


if __name__ == "__main__":
    main()
