"""The handle of one worker process: a task in, a verdict out; `rlvr.scoring.local.worker_main` runs in the process.

A deadline counts processor time of the worker, from the moment when it reports that it has begun, so that imports, queues and a
busy machine use up none of it. It is enforced from here, by killing the process. Time asleep is bounded too, more loosely.
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
from rlvr.types import Span, Verdict

START_S = 60.0
"""Wall time for a worker to start, or to import what a task needs; then it is our failure."""
MAX_TASKS = 10_000
"""Tasks after which a worker is replaced."""
_ASLEEP = 5
"""Time asleep (not waiting for a processor or a disk) after which a task has timed out, in deadlines; in addition to the time
for which the verifier waits for its own processes (`Verifier.waits_s`)."""
_STALLED = 100
"""Wall time, in deadlines, after which a task that gets neither processor time nor sleep is our failure; longer if the verifier
waits, in the same proportion to the time asleep."""
_TICK_S = 0.05
"""Between two checks of a worker."""
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from rlvr.scoring.local.worker_main import main; main()"


class _NoVerdict(Exception):
    """The worker has to be killed; with the verdict to give instead."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


class Worker:
    """A worker process, used by one thread at a time. Errors on construction: `OSError`."""

    def __init__(self, *, allow_weak_isolation: bool = False) -> None:
        command = [sys.executable, "-c", _BOOT, json.dumps([path for path in sys.path if isinstance(path, str)])]
        # One thread each, as the workers run in parallel; and no verdict may depend on the order of a set.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        environment.pop(ALLOW_WEAK, None)  # not inherited: each supervisor decides
        if allow_weak_isolation:
            environment[ALLOW_WEAK] = "1"
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        # In its own session Ctrl-C at the terminal does not reach it, and one signal kills it with all that it has started.
        self._process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
        assert self._process.stdin
        assert self._process.stdout
        self._files = (self._process.stdin, self._process.stdout)
        self._to, self._from = (file.fileno() for file in self._files)
        os.set_blocking(self._to, False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(self._to, select.POLLOUT)
        self._readable.register(self._from, select.POLLIN)
        self._buffer = bytearray()
        self._number = 0
        self._ending = threading.RLock()

    def score(self, payload: bytes, deadline_s: float, memory_mb: int, waits_s: float) -> tuple[Verdict, bool]:
        """The verdict, and whether the worker can be used again."""
        self._number += 1
        began: float | None = None
        running: TaskDeadline | None = None
        try:
            startup = StartupDeadline()
            self._send(pickle.dumps((self._number, deadline_s, memory_mb, payload)), startup)
            message = self._message(startup)
            if "verdict" not in message:
                began = float(message["cpu"])
                running = TaskDeadline(self._process.pid, began, deadline_s, waits_s)
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

    def _send(self, frame: bytes, deadline: Callable[[], float]) -> None:
        view = memoryview(HEADER.pack(len(frame)) + frame)
        while view:
            try:
                view = view[os.write(self._to, view) :]
            except BlockingIOError:
                self._writable.poll(deadline() * 1000)
            except BrokenPipeError:
                raise EOFError from None

    def _message(self, deadline: Callable[[], float]) -> dict[str, Any]:
        """The next message of this task. deadline: called repeatedly; seconds to wait, or it raises."""
        while (frame := self._frame()) is None:
            # A message that is already there counts, however late it is read.
            if self._readable.poll(0) or self._readable.poll(deadline() * 1000):
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
        """Whether an idle worker can be used: it has neither hung up nor written anything."""
        return not self._buffer and not self._readable.poll(0)

    def _exited(self) -> bool:
        """Does not reap the process, so that its group id cannot be reused before the group is killed."""
        try:
            return psutil.Process(self._process.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:  # this program ignores SIGCHLD
            return True
        except (psutil.Error, OSError):  # no file descriptors left
            return False

    def kill(self) -> None:
        """Kill the process and all that it has started; from any thread."""
        with self._ending:  # not while `end` reaps it: its process id could be reused
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: for a group of dead processes
                    os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> int:
        """Kill the process; returns how it ended (as `Popen.returncode`), possibly earlier."""
        with self._ending:
            self.kill()
            status = self._process.wait()
        for file in self._files:
            file.close()
        return status

    def forget(self) -> None:
        """Drop the handle without signalling the process (in a forked child)."""
        for file in self._files:
            file.close()
        self._process.returncode = 0  # else Popen would warn that it still runs


class StartupDeadline:
    """Limit on the wall time in which a worker starts, or imports what a task needs. Called: seconds until the next check."""

    def __init__(self) -> None:
        self._until = time.monotonic() + START_S

    def __call__(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise _NoVerdict(Verdict.error("no_worker", f"the worker process did not begin within {START_S:g} s"))
        return min(left, 1.0)


class TaskDeadline:
    """Limits on a task that has begun: processor time, time asleep, wall time. Called: seconds until the next check."""

    def __init__(self, pid: int, began: float, deadline_s: float, waits_s: float) -> None:
        self._pid = pid
        self._began = began
        self._deadline_s = deadline_s
        self._waits_s = waits_s
        self._process: psutil.Process | None = None
        self._start = self._last = time.monotonic()
        self.used = self._asleep = 0.0

    def __call__(self) -> float:
        now = time.monotonic()
        if now - self._last >= min(_TICK_S, self._deadline_s):
            self._check(now - self._last)
            self._last = now
        if now - self._start > _STALLED * (self._deadline_s + self._waits_s / _ASLEEP):
            raise _NoVerdict(Verdict.error("stalled", f"{self.used:.2g} s of processor time in {now - self._start:.0f} s"))
        # A thread cannot use processor time faster than the clock, so nothing is due earlier.
        return min(_TICK_S, max(self._deadline_s - self.used, 0.001))

    def _check(self, passed: float) -> None:
        try:
            self._process = self._process or psutil.Process(self._pid)
            times, status = self._process.cpu_times(), self._process.status()
        except (psutil.Error, OSError):  # it has just died, or there are no file descriptors left
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
    """The verdict for a worker that ended by itself, or was killed by someone else."""
    # The kernel's limit is a little later than ours, but may act first. Its count of processor time drifts away from the
    # worker's own over many short tasks: if the task has used little, this is no timeout but our failure.
    if status == -signal.SIGXCPU and used >= 0.5 * deadline_s:
        return _timeout(f"{deadline_s:g} s of processor time")
    how = f"exited with status {status}" if status >= 0 else f"died of signal {-status} ({signal.strsignal(-status)})"
    return Verdict.error("no_worker" if never_began else "crash", f"the worker process {how}")


def read_verdict(plain: Any) -> Verdict:
    """The verdict of a message. Errors: `ValueError`, `TypeError` if it is none."""
    if not isinstance(plain, dict):
        raise TypeError("not a verdict")
    verdict = Verdict(**{**plain, "span": _read_span(plain.get("span"))})
    texts = (verdict.reason, verdict.detail, "" if verdict.answer is None else verdict.answer)
    if verdict.outcome not in ("scored", "unscorable", "error") or not all(isinstance(text, str) for text in texts):
        raise ValueError("not a verdict")
    return verdict


def _read_span(value: Any) -> Span | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(at) is int and at < 1 << 31 for at in value):
        raise ValueError("not a verdict: its span is no start and end in a text")
    return value[0], value[1]
