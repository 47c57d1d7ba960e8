"""Supervised workers: each way in which scoring can go wrong, one at a time; the pool works on after it."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from slow_verifiers import Does, Unpicklable, Waits

from conftest import SUPPORT
from rlvr import Problem, Verdict
from rlvr.sandbox.probe import ALLOW_WEAK
from rlvr.scoring.local import worker
from rlvr.scoring.local.supervisor import Supervisor, shared, supervised, usable_cores
from rlvr.verifiers.exact import ExactAnswer
from rlvr.verifiers.format import ThinkAnswer
from rlvr.verifiers.math import MathAnswer
from rlvr.verifiers.structured.schema import JsonMode, XmlMode

PROBLEM = Problem(id="p", prompt="q", truth={"answer": "7", "nested": {"list": [1, {"a": 2}]}})
DEADLINE_S = 0.2


@pytest.fixture(scope="module")
def pool() -> Iterator[Supervisor]:
    with Supervisor(workers=1, deadline_s=DEADLINE_S, memory_mb=200) as supervisor:
        yield supervisor


def does(what: str, pool: Supervisor, text: str = "") -> Verdict:
    return pool.score(Does(what=what), text, PROBLEM)


def works(pool: Supervisor) -> bool:
    return does("echo", pool, "and now?") == Verdict.scored(1.0, "correct", "and now?")


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def held() -> tuple[int, int, int]:
    """Descriptors, child processes (zombies too) and threads of this process."""
    return len(os.listdir("/proc/self/fd")), len(psutil.Process().children()), threading.active_count()


TEXTS = ["", "12", "\x00", "\ud800", "\ud83d\ude00", "\U0001f600", "é\r\n\u2028", '"}\\', "a\ud800\udc00" * 40_000]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_worker_returns_the_verdict_of_the_verifier(text: str, pool: Supervisor) -> None:
    for what in ("echo", "refuse", "say_where"):
        verifier = Does(what=what)
        assert pool.score(verifier, text, PROBLEM) == verifier(text, PROBLEM)


@pytest.mark.parametrize(
    ("what", "outcome", "reason", "detail"),
    [
        ("spin", "scored", "timeout", "not done after 0.2 s of processor time"),
        ("spin_in_c", "scored", "timeout", "0.2 s of processor time"),
        ("backtrack", "scored", "timeout", "0.2 s of processor time"),
        ("spin_in_threads", "scored", "timeout", "0.2 s of processor time"),
        ("exit_3", "error", "crash", "the worker process exited with status 3"),
        ("kill_itself", "error", "crash", "died of signal 9 (Killed)"),
        ("segfault", "error", "crash", "died of signal 11"),
        ("close_all", "error", "crash", "the worker process"),
        ("system_exit", "error", "crash", "SystemExit: 0"),
        ("interrupt", "error", "crash", "KeyboardInterrupt"),
        ("fail", "error", "crash", "LookupError: no such thing"),
        ("fail_mutely", "error", "crash", "Mute"),
        ("recurse", "error", "crash", "RecursionError"),
        ("say_a_number", "error", "crash", "TypeError: Does returned float, not a Verdict"),
        ("say_what_is_no_json", "error", "crash", "a verdict that cannot be sent: TypeError"),
        ("say_what_is_no_text", "error", "crash", "cannot be read: ValueError: not a verdict"),
        ("say_what_is_no_span", "error", "crash", "cannot be read: ValueError: not a verdict"),
        ("say_what_is_no_outcome", "error", "crash", "cannot be read: ValueError: not a verdict"),
        ("say_too_much", "error", "crash", "cannot be sent: ValueError"),
        ("garble", "error", "crash", "cannot be read: ValueError: a length that no message has"),
        ("half_an_answer", "error", "crash", "exited with status 0"),
        ("no_such_action", "error", "crash", "KeyError: 'no_such_action'"),
    ],
)
def test_what_goes_wrong_costs_one_verdict(what: str, outcome: str, reason: str, detail: str, pool: Supervisor) -> None:
    verdict = does(what, pool)
    assert (verdict.outcome, verdict.reason) == (outcome, reason), verdict
    assert verdict.score == (0.0 if outcome == "scored" else None)
    assert detail in verdict.detail
    assert works(pool)


@pytest.mark.slow
def test_time_asleep_is_bounded_too() -> None:
    with Supervisor(workers=3, deadline_s=DEADLINE_S) as pool, ThreadPoolExecutor(3) as threads:
        actions = ("sleep", "nap_again_and_again", "wait_for_a_spinning_process")
        slept, napped, waited = threads.map(lambda what: does(what, pool), actions)
        assert works(pool)
    assert slept == Verdict.scored(0.0, "timeout", detail="not done after 1 s asleep")
    assert (napped.score, napped.reason) == (0.0, "timeout")  # its many short naps count as sleep or as work
    assert (waited.score, waited.reason, "asleep" in waited.detail) == (0.0, "timeout", True)


@pytest.mark.slow
def test_a_verifier_that_waits_for_its_own_processes_gets_the_time_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Supervisor(workers=3, deadline_s=0.1) as pool, ThreadPoolExecutor(3) as threads:
        asked = [("sleep", 0.5, "0.75"), ("sleep", 0.0, "0.75"), ("sleep", 0.2, "")]
        patient, hasty, late = threads.map(lambda each: pool.score(Waits(what=each[0], waits=each[1]), each[2], PROBLEM), asked)
        assert (patient.reason, hasty.reason, late.detail) == ("correct", "timeout", "not done after 0.7 s asleep")
        assert pool.score(Waits(what="spin", waits=100.0), "", PROBLEM).reason == "timeout", "processor time has its own bound"
        monkeypatch.setattr(worker, "_STALLED", 3)
        start = time.monotonic()
        assert pool.score(Waits(what="stop_itself", waits=1.0), "", PROBLEM).reason == "stalled"
        assert time.monotonic() - start > 3 * (0.1 + 1.0 / 5)
        failed = pool.score(Waits(what="echo", waits=float("nan")), "", PROBLEM)
        assert (failed.outcome, "Waits.waits_s() is nan: must be 0 or more" in failed.detail) == ("error", True)


def test_no_task_takes_more_memory_than_it_may() -> None:
    with Supervisor(workers=1, deadline_s=30.0, memory_mb=40) as pool:
        for what in ("allocate", "allocate_small", "allocate_at_once"):
            before = does("who", pool).answer
            assert does(what, pool) == Verdict.scored(0.0, "memory", detail="needs more than 40 MB")
            assert does("who", pool).answer not in (None, before), "its state may be broken"


def test_a_long_verdict(pool: Supervisor) -> None:
    assert does("say_much", pool, "x").detail == "\ud800é" * 500_000


def test_a_verifier_that_prints_or_reads_does_not_touch_the_protocol(pool: Supervisor) -> None:
    assert does("print_much", pool, "x") == Verdict.scored(1.0, "correct", "x")
    assert does("read_input", pool).answer == "b''"
    assert works(pool)


def test_an_answer_to_a_different_task_is_refused() -> None:
    with Supervisor(workers=1) as pool:
        assert does("forge", pool).outcome == "error"
        assert [does("echo", pool, text).answer for text in "abc"] == ["a", "b", "c"]


def test_a_verifier_that_forks_answers_once(pool: Supervisor) -> None:
    for _ in range(3):
        assert does("fork", pool).answer == "parent"
        assert works(pool)


def test_what_a_task_leaves_behind_is_killed_with_the_worker(pool: Supervisor, tmp_path: Path) -> None:
    left = int(does("leave_a_process", pool).answer or 0)
    until(lambda: gone(left))
    assert does("leave_a_process_and_spin", pool, f"{tmp_path}/pid").reason == "timeout"
    until(lambda: gone(int((tmp_path / "pid").read_text())))
    thread = does("leave_a_thread", pool).answer
    assert does("who", pool).answer not in (thread, None), "else its time would count for the next task"


def test_what_is_started_before_a_task_may_stay_and_what_a_task_starts_may_not() -> None:
    with Supervisor(workers=1, deadline_s=DEADLINE_S) as pool:

        def helped(what: str) -> str | None:
            return pool.score(Does(what=what, prepares="start_a_helper"), "", PROBLEM).answer

        first = helped("who")
        assert first is not None
        assert [helped("who") for _ in range(3)] == [first] * 3
        assert helped("leave_a_dead_process") == first
        second = helped("who")
        assert second != first, "because of a process that was not waited for"
        helpers = psutil.Process(int((second or "").split()[0])).children()
        assert len(helpers) == 1
        left = int(helped("leave_a_process") or 0)
        until(lambda: gone(left) and gone(helpers[0].pid))
        assert helped("who") != second


def test_weak_isolation_is_allowed_by_the_run_and_by_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW_WEAK, "1")
    for allow, said in ((False, None), (True, "1")):
        with Supervisor(workers=1, allow_weak_isolation=allow) as pool:
            assert does("say_environment", pool, ALLOW_WEAK).answer == said
    assert shared(allow_weak_isolation=True) is not shared()


@pytest.mark.slow
def test_only_the_workers_own_processor_time_counts() -> None:
    """Six tasks of half a deadline each on one core: by the clock they take several times their deadline."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # of this thread, and of all that it starts
    try:
        with Supervisor(workers=6, deadline_s=0.4) as pool, ThreadPoolExecutor(6) as threads:
            verdicts = list(threads.map(lambda _: does("spin", pool, "0.2"), range(6)))
    finally:
        os.sched_setaffinity(0, cores)
    assert {verdict.reason for verdict in verdicts} == {"correct"}


def test_imports_do_not_count(pool: Supervisor) -> None:
    assert pool.score(Does(what="echo", prepares="spin_half_a_second"), "x", PROBLEM).answer == "x"
    failed = pool.score(Does(what="echo", prepares="fail"), "x", PROBLEM)
    assert (failed.outcome, failed.reason) == ("error", "crash")
    assert "cannot be loaded in a worker process: LookupError" in failed.detail


@pytest.mark.slow
def test_a_worker_that_is_stopped_is_not_a_slow_answer(pool: Supervisor) -> None:
    pid = int((does("who", pool).answer or "").split()[0])
    with ThreadPoolExecutor(1) as thread:
        verdict = thread.submit(does, "stop_itself", pool, "x")
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        time.sleep(6 * DEADLINE_S)
        assert not verdict.done()
        os.kill(pid, signal.SIGCONT)
        assert verdict.result() == Verdict.scored(1.0, "correct", "x")


def test_a_worker_that_gets_no_time_at_all_is_our_failure(monkeypatch: pytest.MonkeyPatch, pool: Supervisor) -> None:
    monkeypatch.setattr(worker, "_STALLED", 3)
    verdict = does("stop_itself", pool)
    assert (verdict.outcome, verdict.reason) == ("error", "stalled")
    assert works(pool)


def test_workers_are_kept_and_replaced_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with Supervisor(workers=4, memory_mb=64) as pool:
        assert len({does("who", pool).answer for _ in range(5)}) == 1, "one thread needs one worker"
        assert len({does("leak", pool).answer for _ in range(4)}) == 2, "64 MB over two leaks of 40 MB"
        monkeypatch.setattr(worker, "MAX_TASKS", 3)
        assert len({does("who", pool).answer for _ in range(7)}) >= 3


def test_a_worker_holds_little() -> None:
    """Nothing for configuration or training, and nothing that no verifier needs: workers are many, and start fast."""
    trains = {"torch", "transformers", "accelerate", "datasets", "pyarrow", "numpy", "hydra", "omegaconf"}
    ours = {
        "rlvr.runs.plan",
        "rlvr.config.schema",
        "rlvr.rules.pack",
        "rlvr.scoring.local.worker",
        "rlvr.scoring.local.supervisor",
        "rlvr.scoring.scheduler",
    }
    with Supervisor(workers=1) as pool:
        modules = set((does("say_modules", pool).answer or "").split())
        assert {"rlvr.types", "rlvr.verifiers.base"} <= modules
        assert modules & (trains | ours | {"psutil", "sympy", "lxml", "jsonschema"}) == set()
        for verifier in (MathAnswer(), ExactAnswer(kind="aliases"), ThinkAnswer(), JsonMode(), XmlMode()):
            assert pool.score(verifier, "\\boxed{x+x}", Problem(id="p", prompt="q", truth={"answer": "2x"})).outcome != "error"
        modules = set((does("say_modules", pool).answer or "").split())
        assert {"sympy", "lxml.etree", "jsonschema"} <= modules
        assert modules & (trains | ours) == set()


def test_two_workers_order_sets_alike() -> None:
    said = set()
    for _ in range(2):
        with Supervisor(workers=1) as pool:
            said.add(does("say_a_set", pool).answer)
    assert len(said) == 1


def test_a_separate_session_that_ctrl_c_does_not_reach(pool: Supervisor) -> None:
    pid, session = (does("who", pool).answer or "").split()
    assert pid == session
    assert int(session) != os.getsid(0)


def test_many_threads_few_workers() -> None:
    wild = {1: "exit_3", 2: "garble", 3: "fail", 4: "spin"}
    tasks = [(wild.get(i % 12, "echo"), f"text {i}") for i in range(48)]
    own = set(psutil.Process().children())
    with Supervisor(workers=3, deadline_s=0.1) as pool, ThreadPoolExecutor(16) as threads:
        verdicts = list(threads.map(lambda task: does(task[0], pool, "" if task[0] == "spin" else task[1]), tasks))
        assert len(set(psutil.Process().children()) - own) <= 3
    for (what, text), verdict in zip(tasks, verdicts, strict=True):
        if what == "echo":
            assert verdict == Verdict.scored(1.0, "correct", text)
        else:
            assert verdict.reason == ("timeout" if what == "spin" else "crash")


@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_nothing_is_lost_or_mixed_up_when_workers_are_killed_from_outside(kills: int) -> None:
    """Any one of them, each time after some more verdicts; an error is asked again."""
    before, own, verdicts = held(), set(psutil.Process().children()), dict[str, list[Verdict]]()
    chance = random.Random(0)

    def ask(text: str) -> None:
        tries = verdicts.setdefault(text, [])
        while not tries or tries[-1].outcome == "error":
            tries.append(does("spin", pool, text))

    def done() -> int:
        return sum(each.done() for each in asked)

    with Supervisor(workers=2) as pool, ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(ask, f"0.005{i:04}") for i in range(5 * kills)]
        for kill in range(kills):
            until(lambda enough=5 * kill: done() >= enough)
            while not (there := [worker for worker in psutil.Process().children() if worker not in own]):
                time.sleep(0.001)
            with suppress(psutil.NoSuchProcess):
                chance.choice(there).kill()
        for each in asked:
            each.result()
        assert works(pool)
    assert held() == before
    assert len(verdicts) == 5 * kills
    assert all(tries[-1].answer == text for text, tries in verdicts.items())
    failed = [verdict for tries in verdicts.values() for verdict in tries[:-1]]
    assert len(failed) > kills // 5, "else nothing was disturbed"
    assert {(verdict.score, verdict.outcome) for verdict in failed} == {(None, "error")}


def test_dead_workers_leave_nothing(pool: Supervisor) -> None:
    assert works(pool)
    before = held()
    for _ in range(4):
        assert does("exit_3", pool).reason == "crash"
    assert works(pool)
    assert held() == before


@pytest.mark.slow
def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    """An idle one, a busy one, one whose process runs no other thread, and one asleep."""
    script = (
        "import psutil, threading, time\n"
        "pool = Supervisor(workers=4, deadline_s=0.8)\n"
        "for what in ('spin', 'spin_in_c', 'sleep', 'echo'):\n"
        "    threading.Thread(target=pool.score, args=(Does(what=what), '', PROBLEM)).start()\n"
        "while len(psutil.Process().children()) < 4: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "print(*[worker.pid for worker in psutil.Process().children()], flush=True)\n"
        "time.sleep(100)\n"
    )
    with started(script, tmp_path) as parent:
        assert parent.stdout
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 4
        assert not any(map(gone, workers))
        parent.kill()
        parent.wait()
        until(lambda: all(map(gone, workers)))


def started(script: str, tmp_path: Path, **options: Any) -> subprocess.Popen[str]:
    """A script without `if __name__ == "__main__"`, like a notebook."""
    head = (
        f"import sys; sys.path.insert(0, {str(SUPPORT)!r})\n"
        "from rlvr import Problem, Verdict, Verifier\n"
        "from rlvr.scoring.local.supervisor import Supervisor, shared, supervised\n"
        "from slow_verifiers import Does\n"
        "PROBLEM = Problem(id='p', prompt='q', truth={})\n"
    )
    path = tmp_path / "script.py"
    path.write_text(head + script)
    command = [sys.executable, "-W", "error", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print(supervised(Does(what='echo'), 'x', PROBLEM).answer)", "x"),
        (
            "import threading\n"
            "say = lambda: print(supervised(Does(what='echo'), 'x', PROBLEM).answer)\n"
            "thread = threading.Thread(target=say); thread.start(); thread.join()",
            "x",
        ),
        (
            "import os\n"
            "score = lambda text: print(supervised(Does(what='echo'), text, PROBLEM).answer, flush=True)\n"
            "score('before')\n"
            "if os.fork() == 0:\n"
            "    score('child'); sys.exit()\n"
            "os.wait()\n"
            "score('parent')",
            "before child parent",
        ),
        (
            "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "print(supervised(Does(what='exit_3'), '', PROBLEM).reason, supervised(Does(what='echo'), 'x', PROBLEM).answer)",
            "crash x",
        ),
        ("sys.path.append('/no\\udcffwhere: x'); print(supervised(Does(what='echo'), 'x', PROBLEM).answer)", "x"),
        (
            "import threading, time\n"
            "threading.Thread(target=supervised, args=(Does(what='sleep'), '', PROBLEM), daemon=True).start()\n"
            "time.sleep(0.5); print('out')",
            "out",
        ),
        (
            "class Mine(Verifier):\n"
            "    def __call__(self, completion, problem): ...\n"
            "print(supervised(Mine(), '', PROBLEM).detail[:45])",
            "cannot be loaded in a worker process: Attribu",
        ),
    ],
    ids=["plain", "thread", "fork", "sigchld", "path", "unfinished", "main"],
)
def test_from_a_script(script: str, said: str, tmp_path: Path) -> None:
    with started(script, tmp_path, start_new_session=True) as run:
        out, err = run.communicate(timeout=60)
    assert (out.split(), err, run.returncode) == (said.split(), "", 0)
    assert not [p for p in psutil.process_iter(["ppid", "cmdline"]) if str(tmp_path) in str(p.info["cmdline"])], "none is left"


def test_a_worker_that_cannot_be_started_and_then_can(monkeypatch: pytest.MonkeyPatch) -> None:
    with Supervisor(workers=1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", "/no/such/python")
            verdict = does("echo", pool)
            assert (verdict.outcome, verdict.reason) == ("error", "no_worker")
            assert "cannot be started: FileNotFoundError" in verdict.detail
        assert works(pool)
    with Supervisor(workers=1) as pool:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), hard))
        try:
            verdict = does("echo", pool)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (verdict.outcome, verdict.reason) == ("error", "no_worker"), verdict
        assert "Too many open files" in verdict.detail
        assert works(pool)
    with Supervisor(workers=1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", "/bin/true")
            assert "the worker process exited with status 0" in does("echo", pool).detail
            patched.setattr(sys, "executable", "/bin/sleep")
            assert does("echo", pool).reason == "no_worker"
        assert works(pool)


def test_a_worker_that_never_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tmp_path / "python").chmod(0o755)
    with Supervisor(workers=1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(tmp_path / "python"))
            patched.setattr(worker, "START_S", 0.2)
            for text in ("", "a" * 10_000_000):
                verdict = does("echo", pool, text)
                assert (verdict.outcome, verdict.reason) == ("error", "no_worker")
                assert "did not begin within 0.2 s" in verdict.detail
        assert works(pool)


def test_what_cannot_be_pickled(pool: Supervisor) -> None:
    for verifier in (Unpicklable(), type("Local", (Does,), {})()):
        verdict = pool.score(verifier, "", PROBLEM)
        assert (verdict.outcome, verdict.reason) == ("error", "crash")
        assert "cannot be sent to a worker process" in verdict.detail
    assert works(pool)


def test_limits_beyond_those_of_the_system() -> None:
    with Supervisor(workers=1, deadline_s=1e300, memory_mb=10**30) as pool:
        assert works(pool)


def test_closing_ends_pending_calls_and_nothing_starts_after_it() -> None:
    pool = Supervisor(workers=1)
    with ThreadPoolExecutor(1) as thread:
        children = set(psutil.Process().children())
        verdict = thread.submit(does, "sleep", pool)
        until(lambda: set(psutil.Process().children()) - children)
        pool.close()
        assert verdict.result().outcome == "error"
    assert set(psutil.Process().children()) <= children
    assert (does("echo", pool).reason, "the supervisor was closed" in does("echo", pool).detail) == ("no_worker", True)


def test_the_shared_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared() is shared(workers=None)
    assert shared() is not shared(workers=2)
    assert supervised(Does(what="echo"), "x", PROBLEM).answer == "x"
    cores = usable_cores()
    assert shared().concurrency == cores >= 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(cores))
    assert usable_cores() == 1
