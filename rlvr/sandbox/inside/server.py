"""The fork server: started once inside the jail, it forks a process for every program, watches it, and reports how it ended.

It never sees a program: the channel is passed on to the fork, so that no program's text is in the memory that later forks copy.
One program at a time; the next one starts when nothing of the last is left.
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
"""What programs usually import, imported once, before the fork. A longer list would make every fork slower."""


def main() -> None:
    """Serve until the other end hangs up."""
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
    gc.freeze()  # so that garbage collection in a fork does not touch, and copy, the pages from before
    os.dup2(1, 2)  # nobody reads it any more, and a program that writes there must not get a broken pipe
    control.send(wire.dumps({"ready": tier}))
    server.serve()


class _Server:
    def __init__(self, control: socket.socket, tier: str, readable: list[str]) -> None:
        self.control, self.tier, self.readable = control, tier, readable
        self.proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        self.own_pid_namespace = -1
        self.base_rss, self.base_size = 0, 0

    def enter(self) -> None:
        """Enter a user namespace, which gives this process the privileges to isolate its forks, and a PID namespace.

        Root becomes nobody first: limits on processes do not hold for root, and a program that broke out would still be nobody.
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
                self._run_one(message, descriptors)
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def _run_one(self, order: dict[str, Any], descriptors: list[int]) -> None:
        """Fork a process for one program and watch it to its end. `descriptors`: its channel and standard files."""
        folder = None
        try:
            if self.tier == "namespaces":
                kernel.own_pid_namespace_again(self.own_pid_namespace)
                kernel.unshare(kernel.NEW_PID)
            else:
                import tempfile  # here: it loads libraries that every fork would copy

                folder = tempfile.mkdtemp(prefix="rlvr-sandbox-")
            child = os.fork()
            if not child:
                isolate.isolate_and_run(self, order, descriptors, folder)  # never returns
        except OSError as error:
            self.send({"failed": f"no sandboxed process could be started: {error}"})
            if folder:
                _remove(folder)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        descriptors.clear()
        watch = Watch(self, child, order)
        try:
            ended = watch.wait()
        finally:
            if folder:
                self._kill_orphans()
                _remove(folder)
        self.send(ended)

    def send(self, message: dict[str, Any]) -> None:
        try:
            self.control.send(wire.dumps(message))
        except OSError:
            os._exit(0)

    def memory(self, process: str) -> tuple[int, int]:
        """Bytes of address space and of resident memory of a process."""
        size, resident, *_ = self.read(f"{process}/statm").split()
        return int(size) * _PAGE, int(resident) * _PAGE

    def read(self, name: str) -> bytes:
        """A file of /proc; zeros where its process is gone."""
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
        """Without a PID namespace: kill whatever has become a child of ours, until there is none."""
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
        """The sandboxed process and its descendants, as numbered in /proc."""
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
    """Delete a folder, even where a program made it unreadable, or nested it deeper than paths or Python's recursion go."""
    for command in (["/bin/chmod", "-R", "u+rwX"], ["/bin/rm", "-rf"]):
        os.waitpid(os.posix_spawn(command[0], [*command, folder], {}), 0)


if __name__ == "__main__":
    main()
