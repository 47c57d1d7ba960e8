"""A lower bound for such a sandbox: the fork server only forks processes with the same namespaces, which exit at once."""

from __future__ import annotations

import json
import socket

from rlvr.sandbox import jail

_SERVE = """
import json, os
from rlvr.sandbox.inside import kernel, server

def one(self):
    kernel.own_pid_namespace_again(self.own_pid_namespace)
    kernel.unshare(kernel.NEW_PID)
    child = os.fork()
    if not child:
        kernel.hide_memory(False)
        kernel.unshare(kernel.NEW_USER | kernel.NEW_MOUNT | kernel.NEW_IPC)
        kernel.map_user(self.proc, inside=1000, user=0, group=0)
        kernel.mount_private(b"/tmp", b"size=32m,nr_inodes=4k,mode=700")
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        os._exit(1)

def serve(self):
    while order := self.control.recv(4096):
        for _ in range(json.loads(order)):
            one(self)
        self.control.send(b"done")

server._Server.serve = serve
server.main()
"""


class Floor:
    """The sandbox's fork server, with its jail, modules and privileges, and the loop above in place of its own."""

    def __init__(self) -> None:
        start = jail._BOOT[: jail._BOOT.index("runpy.run_module")]
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs_boot, jail._BOOT = jail._BOOT, start + _SERVE  # the only difference
        with theirs:
            self._process = jail.start("namespaces", theirs, ())
        jail._BOOT = theirs_boot
        assert self._control.recv(4096), "the jail cannot be built here"

    def make(self, n: int) -> None:
        """`n` processes, one after the other."""
        self._control.send(json.dumps(n).encode())
        assert self._control.recv(4096) == b"done"
