"""A real Redis server and real workers, for tests that may kill them: started as users start them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

PATH = str(Path(__file__).parent)
"""The folder of the tests' verifiers, which a worker imports like a user's package."""


class RedisServer:
    """On a free port; keeps nothing on disk, so that a restart loses its data."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("needs: redis-server (apt install redis-server)")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.start()

    def start(self) -> None:
        options = f"--port {self.port} --bind 127.0.0.1 --save '' --appendonly no --dir {self._folder}"
        with open(self._folder / "redis.log", "ab") as log:
            self._process = subprocess.Popen(f"exec redis-server {options}", shell=True, stdout=log, stderr=log)
        with self.client() as client:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    time.sleep(0.02)
        raise AssertionError((self._folder / "redis.log").read_text())

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class WorkerProcess:
    """`rlvr worker` in a separate session."""

    def __init__(self, url: str, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "rlvr", "worker", f"verify.redis_url={url}", "verify.workers=2", *arguments]
        self._log = folder / f"worker-{time.monotonic_ns()}.log"
        with open(self._log, "wb") as log:
            environment = {**os.environ, "PYTHONPATH": PATH}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """As when the machine dies; its worker processes see that it is gone."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As systemd stops it; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)
