"""Commands of rlvr, forked from a process that has imported everything: as a user starts them, without seconds of imports.

`run("train", "steps=2", cwd=folder)` is `rlvr train steps=2` there; `start` gives a handle on it while it runs.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """A forked command: what it is as a process, and what it has written."""

    def __init__(self, connection: socket.socket, pid: int, out: IO[bytes], err: IO[bytes], arguments: tuple[str, ...]) -> None:
        self._connection, self.pid, self._out, self._err, self._arguments = connection, pid, out, err, arguments
        self.returncode: int | None = None
        self._said: tuple[str, str] | None = None  # on both streams, once it has ended

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """The exit status (as `subprocess.Popen.returncode`), or None while it runs."""
        return self._end(0.0)

    def wait(self, timeout: float = 600.0) -> int:
        """Errors: `TimeoutError`; the command is killed then."""
        status = self._end(timeout)
        if status is None:
            self.kill()
            raise TimeoutError(f"rlvr {' '.join(self._arguments)} did not end within {timeout:g} s")
        return status

    def communicate(self, timeout: float = 600.0) -> tuple[str, str]:
        """Waits; standard output and error."""
        self.wait(timeout)
        return self.stdout, self.stderr

    @property
    def stdout(self) -> str:
        """So far."""
        return _text(self._out) if self._said is None else self._said[0]

    @property
    def stderr(self) -> str:
        return _text(self._err) if self._said is None else self._said[1]

    def _end(self, timeout: float) -> int | None:
        if self.returncode is None:
            self._connection.settimeout(max(timeout, 0.001))
            try:
                said = self._connection.recv(100)
            except TimeoutError:
                return None
            assert said, "the fork server is gone"
            self.returncode = int(said)
            self._said = self.stdout, self.stderr
            for each in (self._connection, self._out, self._err):
                each.close()
        return self.returncode


def start(*arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None, preexec: str = "") -> Command:
    """`rlvr ARGUMENTS` in a forked process. env: of the process; None: this one's. preexec: Python that it runs before."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_server())
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  the command closes them
    environment = dict(os.environ if env is None else env)
    order = {"arguments": arguments, "cwd": str(cwd), "env": environment, "preexec": preexec}
    data = json.dumps(order).encode()
    socket.send_fds(connection, [len(data).to_bytes(8, "big")], [out.fileno(), err.fileno()])
    connection.sendall(data)
    pid = int(connection.recv(100))
    return Command(connection, pid, out, err, arguments)


def run(*arguments: str, timeout: float = 600.0, **options: Any) -> subprocess.CompletedProcess[str]:
    """As `start`, to its end."""
    command = start(*arguments, **options)
    out, err = command.communicate(timeout)
    assert command.returncode is not None
    return subprocess.CompletedProcess(["rlvr", *arguments], command.returncode, out, err)


def _text(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), 1 << 30, 0).decode(errors="replace")


_started: list[tuple[subprocess.Popen[bytes], str]] = []


def _server() -> str:
    """The address of the fork server of this test process."""
    if not _started:
        folder = tempfile.mkdtemp(prefix="rlvr-forked-")
        address = os.path.join(folder, "socket")
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, __file__, address], env=environment, start_new_session=True, stdin=subprocess.DEVNULL
        )
        atexit.register(process.kill)
        end = time.monotonic() + 120
        while not os.path.exists(address):
            assert process.poll() is None, "the fork server did not start"
            assert time.monotonic() < end
            time.sleep(0.02)
        _started.append((process, address))
    return _started[0][1]


def _serve(address: str) -> None:
    """In the server: a fork a connection, which forks the command, waits for it and says how it ended."""
    for name in ("rlvr.cli.train", "rlvr.cli.evaluate", "rlvr.cli.score", "rlvr.cli.audit", "rlvr.cli.rescore"):
        __import__(name)
    for name in ("rlvr.runs.run", "rlvr.runs.evaluate", "rlvr.cli.report", "transformers"):
        __import__(name)
    from transformers import Qwen2ForCausalLM  # noqa: F401  what loading the bundled model imports

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks that wait for commands
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen(64)
    os.rename(f"{address}.new", address)
    parent = os.getppid()
    listener.settimeout(1.0)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if not os.fork():
            listener.close()
            _attend(connection)
        connection.close()


def _attend(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.settimeout(None)
    size, (out, err), *_ = socket.recv_fds(connection, 8, 2)
    data = b""
    while len(data) < int.from_bytes(size, "big"):
        data += connection.recv(1 << 16)
    order = json.loads(data)
    child = os.fork()
    if not child:
        connection.close()
        os.dup2(out, 1)
        os.dup2(err, 2)
        _command(order)
    connection.sendall(str(child).encode())
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _command(order: dict[str, Any]) -> None:
    status = 1
    try:
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["env"])
        sys.path[:0] = [each for each in order["env"].get("PYTHONPATH", "").split(os.pathsep) if each]
        sys.argv = ["rlvr", *order["arguments"]]
        exec(order["preexec"], {})
        from rlvr.cli.main import main

        status = main()
    except BaseException:  # noqa: BLE001  as the interpreter would end
        import traceback

        traceback.print_exc()
    finally:
        import atexit

        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
