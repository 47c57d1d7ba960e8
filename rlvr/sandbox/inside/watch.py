"""Watch a sandboxed process: enforce the limits that the kernel does not, and act on messages of the judging process."""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any

TICK_S = 0.025
"""Seconds between checks of the limits."""
_CLOCK = os.sysconf("SC_CLK_TCK")


class Watch:
    """Watches one sandboxed process to its end."""

    def __init__(self, server: Any, child: int, order: dict[str, Any]) -> None:
        self.server, self.child, self.limits = server, child, order["limits"]
        self.began = time.monotonic()
        self.why: str | None = None
        self.cpu = 0.0

    def wait(self) -> dict[str, Any]:
        """Wait for the process to end; how it ended, and what it used."""
        process = os.pidfd_open(self.child)
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(self.server.control, select.POLLIN)
        try:
            while True:
                ready = [descriptor for descriptor, _ in poll.poll(TICK_S * 1000)]
                if process in ready:
                    return self._ended()
                if ready:
                    self._receive()
                elif self.why is None:
                    self._check_limits()
        finally:
            os.close(process)

    def _receive(self) -> None:
        message, descriptors = receive(self.server.control)
        for descriptor in descriptors:
            os.close(descriptor)
        if message is None:
            os._exit(0)
        if message["do"] == "kill":
            self._kill(message["why"])
        elif message["do"] == "usage":
            self.server.send({"waited": self._waited()})

    def _kill(self, why: str) -> None:
        if self.why is None:
            self.why = why
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.child, signal.SIGKILL)

    def _waited(self) -> float:
        """Seconds that the program's first thread was ready to run and had no processor."""
        return int(self.server.read(f"{self._pid()}/schedstat").split()[1]) / 1e9

    def _pid(self) -> int:
        """The child's number in /proc, which may belong to an outer PID namespace."""
        if self.server.tier != "namespaces":
            return self.child
        own = int(os.readlink("self", dir_fd=self.server.proc))
        first = [each for each in self.server.children() if stat_of(self.server.read(f"{each}/stat"))[1] == own]
        return first[0] if first else self.child

    def _check_limits(self) -> None:
        """Time, memory and processes of the child and its descendants together."""
        processes = self.server.children()
        stats = [stat_of(self.server.read(f"{each}/stat")) for each in processes]
        self.cpu = max(self.cpu, sum(cpu for cpu, *_ in stats))
        tasks = sum(threads for *_, threads in stats)
        memory = sum(max(0, self.server.memory(str(each))[1] - self.server.base_rss) for each in processes)
        limits = self.limits
        if tasks >= limits["processes"]:
            self._kill("process_limit")
        elif memory > limits["memory_mb"] << 20:
            self._kill("memory")
        elif self.cpu > limits["cpu_s"]:
            self._kill("timeout")
        elif time.monotonic() - self.began > limits["wall_s"]:
            passed = time.monotonic() - self.began
            if passed - self._waited() > limits["wall_s"] or passed > 10 * limits["wall_s"]:
                self._kill("timeout")

    def _ended(self) -> dict[str, Any]:
        passed = time.monotonic() - self.began
        if passed > TICK_S:
            passed -= min(passed, self._waited())
        _, status, usage = os.wait4(self.child, 0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "why": self.why,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_mb": usage.ru_maxrss / 1024,
            "wall_s": passed,
        }


def stat_of(text: bytes) -> tuple[float, int, int]:
    """Processor seconds (with those of children waited for), parent, and number of threads of a process."""
    fields = text.rpartition(b")")[2].split()
    if len(fields) < 20:
        return 0.0, 0, 0
    return sum(int(fields[at]) for at in (11, 12, 13, 14)) / _CLOCK, int(fields[1]), int(fields[17])


def receive(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """A message and the descriptors that came with it; None when the other end has hung up."""
    try:
        data, extra, *_ = control.recvmsg(65536, socket.CMSG_SPACE(16 * 4))
    except ConnectionError:
        return None, []
    descriptors = array.array("i")
    for level, kind, body in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(body[: len(body) - len(body) % descriptors.itemsize])
    return (json.loads(data) if data else None), list(descriptors)
