"""One supervised worker process: a task in, a verdict out, or the reason why there is none; `rlvr.scoring.local.worker_main` runs in it.

Deadlines count the worker's own processor time, from when it says that it has begun, so that imports, queues and a busy machine
take none of it, and are enforced from here, on a process that can be killed. Time asleep is bounded too, more loosely.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

from rlvr.errors import describe
from rlvr.sandbox.probe import ALLOW_WEAK
from rlvr.scoring.local.worker_main import HEADER, MAX_REPLY
from rlvr.types import Verdict

START_S = 60.0
"""Wall time for a worker to start, or to import what a task needs; past it our side has failed."""
MAX_TASKS = 10_000
"""A worker is replaced after so many."""
_ASLEEP = 5
"""Deadlines' worth of time asleep (not waiting for a processor or a disk) after which a task is over its deadline; on top of
it comes what the verifier says that it waits for processes of its own (`Verifier.waits_s`)."""
_STALLED = 100
"""Deadlines' worth of wall time after which a task that gets neither processor time nor sleep is our failure; more where the
verifier waits, in the same proportion to the time asleep."""
_TICK_S = 0.05
"""Between looks at a worker."""
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from rlvr.scoring.local.worker_main import main; main()"


class _NoVerdict(Exception):
    """Why a worker has to be killed."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


class Worker:
    """A worker process, used by one thread at a time. Errors on construction: `OSError`."""

    def __init__(self, *, allow_weak_isolation: bool = False) -> None:
        command = [sys.executable, "-c", _BOOT, json.dumps([path for path in sys.path if isinstance(path, str)])]
        # Workers are the parallelism; and what a verifier says must not hang on the order of a set.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        environment.pop(ALLOW_WEAK, None)  # not inherited: a run says so itself
        if allow_weak_isolation:
            environment[ALLOW_WEAK] = "1"
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        # A session of its own: Ctrl-C at the terminal is for us, and one signal kills it with all that it has started.
        self._process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
        assert self._process.stdin
        assert self._process.stdout
        self._files = (self._process.stdin, self._process.stdout)
        self._to, self._from = (file.fileno() for file in self._files)
        os.set_blocking(self._to, False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(self._to, select.POLLOUT)
        self._readable.register(self._from, select.POLLIN)
        self._buffer, self._number, self._ending = bytearray(), 0, threading.RLock()

    def score(self, payload: bytes, deadline_s: float, memory_mb: int, waits_s: float) -> tuple[Verdict, bool]:
        """The verdict, and whether the worker can go on."""
        self._number += 1
        began, running = None, None
        try:
            starting = _Starting()
            self._send(pickle.dumps((self._number, deadline_s, memory_mb, payload)), starting)
            message = self._message(starting)
            if "verdict" not in message:
                began = float(message["cpu"])
                running = _Running(self._process.pid, began, deadline_s, waits_s)
                message = self._message(running)
            keep = not message["retire"] and self._number < MAX_TASKS
            if began is not None and float(message["cpu"]) - began > deadline_s:
                return _timeout(f"{deadline_s:g} s of processor time"), keep
            return read_verdict(message["verdict"]), keep
        except _NoVerdict as why:
            return why.verdict, False
        except EOFError:
            never_began = began is None and self._number == 1
            used = 0.0 if running is None else running.used
            return _death(self.end(), deadline_s=deadline_s, used=used, never_began=never_began), False
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return Verdict.error("crash", f"what the worker process wrote cannot be read: {describe(error)}"), False

    def _send(self, frame: bytes, patience: Callable[[], float]) -> None:
        view = memoryview(HEADER.pack(len(frame)) + frame)
        while view:
            try:
                view = view[os.write(self._to, view) :]
            except BlockingIOError:
                self._writable.poll(patience() * 1000)
            except BrokenPipeError:
                raise EOFError from None

    def _message(self, patience: Callable[[], float]) -> dict[str, Any]:
        """The next message of this task; waits as long as `patience` says, which is asked again and again."""
        while (frame := self._frame()) is None:
            # What has been said counts, however late we come to hear it: patience is for when there is nothing.
            if self._readable.poll(0) or self._readable.poll(patience() * 1000):
                part = os.read(self._from, 1 << 16)
                if not part:
                    raise EOFError
                self._buffer += part
            elif self._exited():
                raise EOFError
        message = json.loads(frame.decode("utf-8", "surrogatepass"))
        if not isinstance(message, dict) or message["task"] != self._number:
            raise ValueError("not a message about this task")
        return message

    def _frame(self) -> bytes | None:
        if len(self._buffer) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(self._buffer)[0]
        if end > MAX_REPLY + HEADER.size:
            raise ValueError("a length that no message has")
        if len(self._buffer) < end:
            return None
        frame = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return frame

    def alive(self) -> bool:
        """For one that has nothing to do: it has neither hung up nor spoken unasked."""
        return not self._buffer and not self._readable.poll(0)

    def _exited(self) -> bool:
        """Without reaping it, so that its process group cannot become another's before it is killed."""
        try:
            return psutil.Process(self._process.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:  # the program that we are part of ignores SIGCHLD
            return True
        except (psutil.Error, OSError):  # no descriptors left to look with
            return False

    def kill(self) -> None:
        """Kill it and what it has started; from any thread."""
        with self._ending:  # never between the moment when it is reaped, and its number free, and when we know of that
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: for a group of dead processes
                    os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> int:
        """Kill it, and return how it ended (as `Popen.returncode`), which may have been before."""
        with self._ending:
            self.kill()
            status = self._process.wait()
        for file in self._files:
            file.close()
        return status

    def forget(self) -> None:
        """In a fork of the process whose worker it is."""
        for file in self._files:
            file.close()
        self._process.returncode = 0  # or Popen would warn that it still runs


class _Starting:
    """Patience with a worker that starts, or imports what the task needs; in seconds, of wall time."""

    def __init__(self) -> None:
        self._until = time.monotonic() + START_S

    def __call__(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise _NoVerdict(Verdict.error("no_worker", f"the worker process did not begin within {START_S:g} s"))
        return min(left, 1.0)


class _Running:
    """Patience with a worker that has begun, in seconds until it should be asked again; looks at what the process does."""

    def __init__(self, pid: int, began: float, deadline_s: float, waits_s: float) -> None:
        self._pid, self._began, self._deadline_s, self._waits_s = pid, began, deadline_s, waits_s
        self._process: psutil.Process | None = None
        self._start = self._last = time.monotonic()
        self.used = self._asleep = 0.0

    def __call__(self) -> float:
        now = time.monotonic()
        if now - self._last >= min(_TICK_S, self._deadline_s):
            self._look(now - self._last)
            self._last = now
        if now - self._start > _STALLED * (self._deadline_s + self._waits_s / _ASLEEP):
            raise _NoVerdict(Verdict.error("stalled", f"{self.used:.2g} s of processor time in {now - self._start:.0f} s"))
        # A thread takes no more processor time than passes, so nothing is due before that.
        return min(_TICK_S, max(self._deadline_s - self.used, 0.001))

    def _look(self, passed: float) -> None:
        try:
            self._process = self._process or psutil.Process(self._pid)
            times, status = self._process.cpu_times(), self._process.status()
        except (psutil.Error, OSError):  # it has just died, or there are no descriptors left to look with
            return
        used = times.user + times.system - self._began
        if status == psutil.STATUS_SLEEPING and used - self.used < 0.1 * passed:
            self._asleep += min(passed, _TICK_S)
        self.used = used
        if used >= self._deadline_s:
            raise _NoVerdict(_timeout(f"{self._deadline_s:g} s of processor time"))
        if self._asleep >= _ASLEEP * self._deadline_s + self._waits_s:
            raise _NoVerdict(_timeout(f"{self._asleep:.2g} s asleep"))


def _timeout(after: str) -> Verdict:
    return Verdict.scored(0.0, "timeout", detail=f"not done after {after}")


def _death(status: int, *, deadline_s: float, used: float, never_began: bool) -> Verdict:
    """Of a worker that ended by itself, or was killed by another than us."""
    # The kernel's limit lies a little behind ours, and may be faster than we are. But its count of processor time drifts away
    # from the worker's own over many short tasks: where the task has used little, it is no timeout but a failure of ours.
    if status == -signal.SIGXCPU and used >= 0.5 * deadline_s:
        return _timeout(f"{deadline_s:g} s of processor time")
    how = f"exited with status {status}" if status >= 0 else f"died of signal {-status} ({signal.strsignal(-status)})"
    return Verdict.error("no_worker" if never_began else "crash", f"the worker process {how}")


def read_verdict(plain: dict[str, Any]) -> Verdict:
    """Errors: `ValueError`, `TypeError`, `KeyError` for what is no verdict."""
    verdict = Verdict(**plain)
    texts = (verdict.reason, verdict.detail, "" if verdict.answer is None else verdict.answer)
    if verdict.outcome not in ("scored", "unscorable", "error") or not all(isinstance(text, str) for text in texts):
        raise ValueError("not a verdict")
    return verdict
