"""Faults of ours under code rewards: what is killed, full or refused costs time or an `error`, and never a wrong number.

Every mode judges right and wrong programs while it breaks something, and compares with the verdicts of an undisturbed run.
"""

from __future__ import annotations

import argparse
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
from code_tasks import Task, data_argument, mixed, tree

from rlvr.rules.pack import Rule, RulePack
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.scoring.scheduler import scoring
from rlvr.types import Problem, Verdict
from rlvr.verifiers.code import Code

_PACK = RulePack(rules={"code": Rule(name="code", weight=1.0, verifier=Code())})
_RETRIES = 3


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a world that has just ended
        return ""


def _is_worker(process: psutil.Process) -> bool:
    return "rlvr.scoring.local.worker_main" in _command(process)


def _is_server(process: psutil.Process) -> bool:
    """Or a world: a fork has the command line of the server. The jail's own process is left alone: a server that loses it goes
    on, out of our sight, until we hang up."""
    command = _command(process)
    return "rlvr-inside" in command and "--unshare-pid" not in command and not _is_worker(process)


class Killer:
    """Kills one of our processes of a kind, again and again."""

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


def _judge(tasks: Sequence[Task], supervisor: Supervisor, retries: int) -> list[Verdict]:
    with scoring(_PACK, supervisor, retries=retries) as batch:
        judgements = batch.score([(task.completion, task.problem) for task in tasks])
    return [judgement.verdicts["code"] for judgement in judgements]


def kills(
    name: str, which: Callable[[psutil.Process], bool], tasks: Sequence[Task], expected: Sequence[float], times: int
) -> int:
    """Judge until so many have been killed; how many verdicts were not what they should be."""
    killer, counts, judged, wrong = Killer(which, times, 0), Counter[str](), 0, 0
    with Supervisor() as supervisor:
        _judge(tasks[:4], supervisor, 0)
        killer.thread.start()
        while not killer.done:
            verdicts = _judge(tasks, supervisor, _RETRIES)
            judged += len(verdicts)
            counts.update(verdict.outcome for verdict in verdicts)
            counts.update(f"{v.reason}: {v.detail[:60]}" for v in verdicts if v.outcome == "error")
            wrong += sum(v.outcome == "scored" and v.score != score for v, score in zip(verdicts, expected, strict=True))
            assert len(verdicts) == len(tasks)
        killer.stop.set()
        killer.thread.join()
        after = _judge(tasks, supervisor, 1)
    bad_after = sum(v.score != score for v, score in zip(after, expected, strict=True))
    print(f"{name}: {killer.killed} killed -9 during {judged} verdicts: {dict(counts)}", flush=True)
    print(f"  scores that differ {wrong}; afterwards, of {len(tasks)}, {bad_after}", flush=True)
    return wrong + bad_after


def broken(name: str, lines: str, tasks: Sequence[Task], environment: dict[str, str]) -> int:
    """The verdicts of a scoring process of its own in which something is broken by `lines`, mended by `mend()`."""
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
    import json

    rows = [{"completion": task.completion, "truth": _plain(task.problem)} for task in tasks]
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(rows),
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
    said = next((detail for outcome, *_, detail in first if outcome == "error"), "")
    print(f"{name}: {dict(kinds)}; wrong {lost}; mended, wrong {bad_after}; {said[:150]}")
    return lost + bad_after


def _plain(problem: Problem) -> dict[str, object]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in problem.truth.items()}


NO_FORK = """
import resource
from rlvr.sandbox.probe import probe
probe()  # as a scoring process that has worked before
before = resource.getrlimit(resource.RLIMIT_NPROC)
def mend(): resource.setrlimit(resource.RLIMIT_NPROC, before)
resource.setrlimit(resource.RLIMIT_NPROC, (2, before[1]))  # two are the fork server's own
"""
NO_DESCRIPTORS = """
import resource
from rlvr.sandbox.shared import shared_sandbox
held()
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
        verdicts = _judge(tasks, supervisor, 1)
    assert all(verdict.outcome == "scored" for verdict in verdicts), verdicts
    expected = [verdict.score or 0.0 for verdict in verdicts]
    tasks = [Task(problem=t.problem, program=t.program, right=score == 1.0) for t, score in zip(tasks, expected, strict=True)]
    bad = kills("fork server", _is_server, tasks, expected, given.times)
    bad += kills("worker", _is_worker, tasks, expected, given.times)
    bad += broken("fork fails", NO_FORK, tasks[:20], {})
    bad += broken("no descriptors", NO_DESCRIPTORS, tasks[:20], {})
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)  # takes root
        try:
            bad += broken("disk full", FULL_DISK, tasks[:20], {"TMPDIR": folder})
        finally:
            subprocess.run(["umount", folder], check=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
