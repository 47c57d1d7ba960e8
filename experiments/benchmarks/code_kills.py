"""Infrastructure faults during code scoring: they may cost time or an `error`, but never change a score.

Each mode scores right and wrong programs while it breaks something, and compares with the verdicts of an undisturbed run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence

import psutil
from code_tasks import Task, data_argument, mixed, scored, tree

from rlvr.scoring.local.supervisor import Supervisor
from rlvr.types import Verdict

_RETRIES = 3


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has just ended
        return ""


def _is_worker(process: psutil.Process) -> bool:
    return "rlvr.scoring.local.worker_main" in _command(process)


def _is_server(process: psutil.Process) -> bool:
    """Also true of sandboxed processes: forks keep the server's command line. Not of the jail (bubblewrap): a server that loses
    it goes on, invisible to us, until its socket is closed."""
    command = _command(process)
    return "rlvr-inside" in command and "--unshare-pid" not in command and not _is_worker(process)


class Killer:
    """Kills random child processes of one kind, `times` times."""

    def __init__(self, which: Callable[[psutil.Process], bool], times: int, seed: int) -> None:
        self._which, self._times, self._rng = which, times, random.Random(seed)
        self.killed, self.stop = 0, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while self.killed < self._times and not self.stop.wait(self._rng.uniform(0.05, 0.4)):
            try:
                found = [each for each in tree()[1:] if self._which(each)]
                if found:
                    self._rng.choice(found).send_signal(signal.SIGKILL)
                    self.killed += 1
            except psutil.NoSuchProcess:  # it ended by itself meanwhile
                continue

    @property
    def done(self) -> bool:
        return self.killed >= self._times


def _score(tasks: Sequence[Task], supervisor: Supervisor, retries: int) -> list[Verdict]:
    return [judgement.verdicts["code"] for judgement in scored(tasks, supervisor, retries=retries)]


def kills(
    name: str, which: Callable[[psutil.Process], bool], tasks: Sequence[Task], expected: Sequence[float], times: int
) -> int:
    """Score until `times` processes have been killed; returns the number of wrong verdicts."""
    killer, counts, n_scored, wrong = Killer(which, times, 0), Counter[str](), 0, 0
    with Supervisor() as supervisor:
        _score(tasks[:4], supervisor, 0)
        killer.thread.start()
        while not killer.done:
            verdicts = _score(tasks, supervisor, _RETRIES)
            n_scored += len(verdicts)
            counts.update(verdict.outcome for verdict in verdicts)
            counts.update(f"{v.reason}: {v.detail[:60]}" for v in verdicts if v.outcome == "error")
            wrong += sum(v.outcome == "scored" and v.score != score for v, score in zip(verdicts, expected, strict=True))
            assert len(verdicts) == len(tasks)
        killer.stop.set()
        killer.thread.join()
        after = _score(tasks, supervisor, 1)
    bad_after = sum(v.score != score for v, score in zip(after, expected, strict=True))
    print(f"{name}: {killer.killed} killed -9 during {n_scored} verdicts: {dict(counts)}", flush=True)
    print(f"  scores that differ {wrong}; afterwards, of {len(tasks)}, {bad_after}", flush=True)
    return wrong + bad_after


def broken(name: str, lines: str, tasks: Sequence[Task], environment: dict[str, str]) -> int:
    """Score in a process in which `lines` break something, then again after `mend()`; returns the number of wrong verdicts."""
    script = f"""
import json, sys
sys.path[:0] = {sys.path!r}
{lines}
from rlvr.types import Problem
from rlvr.verifiers.code import Code
rows, code = json.load(sys.stdin), Code()
def all_of_them():
    found = [code(row["completion"], Problem(id="p", prompt="", truth=row["truth"])) for row in rows]
    return [[verdict.outcome, verdict.score, verdict.reason, verdict.detail] for verdict in found]
first = all_of_them()
mend()
print(json.dumps([first, all_of_them()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([task.row for task in tasks]),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode:
        print(f"{name}: {done.stderr[-1000:]}")
        return 1
    first, then = json.loads(done.stdout)
    lost = sum(
        outcome == "scored" and (score == 1.0) != task.right for (outcome, score, *_), task in zip(first, tasks, strict=True)
    )
    bad_after = sum(
        (score == 1.0) != task.right or outcome != "scored" for (outcome, score, *_), task in zip(then, tasks, strict=True)
    )
    kinds = Counter(f"{outcome} {reason}" for outcome, _, reason, _ in first)
    error = next((detail for outcome, *_, detail in first if outcome == "error"), "")
    print(f"{name}: {dict(kinds)}; wrong {lost}; mended, wrong {bad_after}; {error[:150]}")
    return lost + bad_after


NO_FORK = """
import resource
from rlvr.sandbox.probe import probe
from rlvr.sandbox.shared import shared_sandbox
probe()  # as in a process that has scored before
before = resource.getrlimit(resource.RLIMIT_NPROC)
def mend():
    resource.setrlimit(resource.RLIMIT_NPROC, before)
    shared_sandbox().close()  # its fork server has inherited the limit; the next program starts a new one
resource.setrlimit(resource.RLIMIT_NPROC, (2, before[1]))  # the fork server itself is two processes
"""
NO_DESCRIPTORS = """
import resource
from rlvr.sandbox.shared import shared_sandbox
shared_sandbox()
before, open_ones = resource.getrlimit(resource.RLIMIT_NOFILE), []
def mend():
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    open_ones.clear()
import rlvr.verifiers.code, rlvr.types
resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
try:
    while True: open_ones.append(open("/dev/null"))
except OSError: pass
"""
FULL_DISK = """
import os, tempfile
place = os.environ["TMPDIR"]
with open(place + "/full", "wb") as file:
    try:
        while True: file.write(bytes(1 << 16)); file.flush()
    except OSError: pass
def mend(): os.unlink(place + "/full")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    data_argument(parser)
    parser.add_argument("--times", type=int, default=50)
    given = parser.parse_args()
    tasks = mixed(given.data)[:60]
    with Supervisor() as supervisor:
        verdicts = _score(tasks, supervisor, 1)
    assert all(verdict.outcome == "scored" for verdict in verdicts), verdicts
    expected = [verdict.score or 0.0 for verdict in verdicts]
    tasks = [Task(problem=t.problem, program=t.program, right=score == 1.0) for t, score in zip(tasks, expected, strict=True)]
    bad = kills("fork server", _is_server, tasks, expected, given.times)
    bad += kills("worker", _is_worker, tasks, expected, given.times)
    bad += broken("fork fails", NO_FORK, tasks[:20], {})
    bad += broken("no descriptors", NO_DESCRIPTORS, tasks[:20], {})
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)  # needs root
        try:
            bad += broken("disk full", FULL_DISK, tasks[:20], {"TMPDIR": folder})
        finally:
            subprocess.run(["umount", folder], check=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
