"""Verifiers without a quick verdict, most of which misbehave; in a module that workers import."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from rlvr import Problem, Verdict, Verifier

KEPT: list[bytes] = []
HELPERS: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, kw_only=True)
class Does(Verifier):
    """Calls the action that `what` names; if it is empty, the one that the response names: "name: rest"."""

    what: str = ""
    prepares: str = ""

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        return None

    def prepare(self) -> None:
        if self.prepares:
            ACTIONS[self.prepares]("")

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        name, _, rest = completion.partition(": ")
        said = ACTIONS[self.what or name](completion if self.what else rest)
        return said if said is not None else Verdict.scored(1.0, "correct", completion)


@dataclass(frozen=True, kw_only=True)
class Mixed(Does):
    """Slow for a response that names an action, quick for any other. A quick answer names the process."""

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        return None if ": " in completion else Verdict.scored(1.0, "correct", f"{os.getpid()} {problem.id} {completion}")


@dataclass(frozen=True, kw_only=True)
class Notes(Verifier):
    """Writes a line for each full call; the verdict depends on the part of the response before the bar."""

    path: str
    seconds: float = 0.0
    """Sleeps for so long after writing."""

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        return None

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        program = completion.partition("|")[0]
        with open(self.path, "a") as file:
            file.write(f"{program!r}\n")
        time.sleep(self.seconds)
        return Verdict.scored(len(program) % 8 / 8, "some", program)


@dataclass(frozen=True, kw_only=True)
class Programs(Notes):
    """Declares on what its verdict depends."""

    def scored_part(self, completion: str, problem: Problem) -> tuple[object, int]:
        return completion.partition("|")[0], 0


@dataclass(frozen=True, kw_only=True)
class Located(Notes):
    """Scores what stands between @ and the bar, and says where."""

    def scored_part(self, completion: str, problem: Problem) -> tuple[object, int]:
        return completion.partition("@")[2].partition("|")[0], completion.index("@") + 1

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        _, start = self.scored_part(completion, problem)
        return replace(super().__call__(completion[start:], problem), span=(start, completion.index("|")))


@dataclass(frozen=True, kw_only=True)
class Waits(Does):
    """Declares that it waits for other processes."""

    waits: float

    def waits_s(self) -> float:
        return self.waits


@dataclass(frozen=True, kw_only=True)
class Runs(Does):
    """Declares that it needs a sandbox."""

    isolated: ClassVar[bool] = True


class Unpicklable(Does):
    def __reduce__(self) -> str:
        raise OSError("not me")


def action(function: Callable[[str], Any]) -> Callable[[str], Any]:
    ACTIONS[function.__name__] = function
    return function


ACTIONS: dict[str, Callable[[str], Any]] = {}


@action
def echo(text: str) -> None:
    pass


@action
def sleep(text: str) -> None:
    time.sleep(float(text or 1000))


@action
def nap_again_and_again(text: str) -> None:
    while True:
        time.sleep(0.01)


@action
def spin(text: str) -> None:
    """Use so many seconds of processor time."""
    end = time.process_time() + float(text or 1000)
    while time.process_time() < end:
        pass


@action
def spin_half_a_second(text: str) -> None:
    spin("0.5")


@action
def spin_in_c(text: str) -> None:
    print(9**9**9)


@action
def backtrack(text: str) -> None:
    re.match(r"(a+)+$", "a" * 100 + "b")


@action
def spin_in_threads(text: str) -> None:
    threading.Thread(target=spin, args=("",), daemon=True).start()
    time.sleep(1000)


@action
def wait_for_a_spinning_process(text: str) -> None:
    subprocess.run([sys.executable, "-c", "while True: pass"], check=False)


@action
def allocate(text: str) -> None:
    kept: list[object] = []
    while True:
        kept.append(bytearray(1 << 20))


@action
def allocate_small(text: str) -> None:
    kept: list[object] = []
    while True:
        kept.append((kept, len(kept)))


@action
def allocate_at_once(text: str) -> None:
    print(len(bytearray(1 << 42)))


@action
def leak(text: str) -> Verdict:
    KEPT.append(b"x" * (40 << 20))
    return who("")


@action
def exit_3(text: str) -> None:
    os._exit(3)


@action
def system_exit(text: str) -> None:
    sys.exit(0)


@action
def interrupt(text: str) -> None:
    raise KeyboardInterrupt


@action
def kill_itself(text: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@action
def segfault(text: str) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@action
def stop_itself(text: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@action
def print_much(text: str) -> None:
    print("\x00\x00\x00\x05hello" * 1000)
    sys.__stdout__.write("{}\n" * 1000)  # type: ignore[union-attr]
    os.write(1, b"\x00" * 1000)
    subprocess.run(["echo", "hello"], check=True)


@action
def read_input(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", repr(os.read(0, 10)))


@action
def garble(text: str) -> None:
    for fd in range(3, 20):
        try:
            os.write(fd, b"\xff" * 100)
        except OSError:
            continue


@action
def half_an_answer(text: str) -> None:
    for fd in range(3, 20):
        try:
            os.write(fd, (100).to_bytes(8, "big") + b'{"task": 1, "verd')
        except OSError:
            continue
    os._exit(0)


@action
def forge(text: str) -> None:
    """Write an answer to the next task."""
    message = b'{"task": 2, "cpu": 0, "retire": false, "verdict": {"outcome": "scored", "score": 1.0, "reason": "forged"}}'
    for fd in range(3, 20):
        try:
            os.write(fd, len(message).to_bytes(8, "big") + message)
        except OSError:
            continue


@action
def close_all(text: str) -> None:
    os.closerange(3, 100)


@action
def fail(text: str) -> None:
    raise LookupError("no such thing")


class Mute(Exception):
    def __str__(self) -> str:
        raise OSError("not even that")


@action
def fail_mutely(text: str) -> None:
    raise Mute


@action
def say_a_number(text: str) -> float:
    return 1.0


@action
def say_what_is_no_json(text: str) -> Verdict:
    return Verdict(outcome="scored", score=1.0, reason="correct", detail={1, 2})  # type: ignore[arg-type]


@action
def say_what_is_no_text(text: str) -> Verdict:
    return Verdict(outcome="scored", score=1.0, reason="correct", answer=0)  # type: ignore[arg-type]


@action
def say_what_is_no_span(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", span=(0.5, 1.5))  # type: ignore[arg-type]


@action
def say_where(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", text, span=(0, len(text)))


@action
def say_what_is_no_outcome(text: str) -> Verdict:
    return Verdict(outcome="won", score=None, reason="correct")  # type: ignore[arg-type]


@action
def recurse(text: str) -> None:
    recurse(text)


@action
def say_much(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", detail="\ud800é" * 500_000)


@action
def say_too_much(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", detail="a" * (5 << 20))


@action
def who(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", f"{os.getpid()} {os.getsid(0)}")


@action
def say_a_set(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", repr({str(i) for i in range(100)}))


@action
def say_modules(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", " ".join(sys.modules))


@action
def start_a_helper(text: str) -> None:
    """Once per worker; the helper stays."""
    if not HELPERS:
        HELPERS.append(subprocess.Popen(["sleep", "1000"]))


@action
def leave_a_dead_process(text: str) -> Verdict:
    if os.fork() == 0:
        os._exit(0)
    time.sleep(0.1)
    return who("")


@action
def say_environment(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", os.environ.get(text))


@action
def leave_a_process(text: str) -> Verdict:
    process = subprocess.Popen(["sleep", "1000"])
    process.returncode = 0  # or Popen would complain
    return Verdict.scored(1.0, "correct", str(process.pid))


@action
def leave_a_process_and_spin(text: str) -> None:
    process = subprocess.Popen(["sleep", "1000"])
    Path(text).write_text(str(process.pid))
    spin("")


@action
def leave_a_thread(text: str) -> Verdict:
    threading.Thread(target=spin, args=("",), daemon=True).start()
    return who("")


@action
def fork(text: str) -> Verdict:
    return Verdict.scored(1.0, "correct", "fork" if os.fork() == 0 else "parent")


@action
def meet(text: str) -> None:
    """Return once as many tasks are here: "folder number"."""
    folder, number = text.split()[:2]
    (Path(folder) / f"{os.getpid()}").touch()
    while len(list(Path(folder).iterdir())) < int(number):
        time.sleep(0.01)


@action
def fail_once(text: str) -> None:
    path = Path(text)
    if not path.exists():
        path.touch()
        os._exit(1)


@action
def refuse(text: str) -> Verdict:
    return Verdict.unscorable("bad_truth", text)
