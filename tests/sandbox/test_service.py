"""When a part of the sandbox dies everything in it dies too, and whoever asks next is served."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
import traces

from conftest import ROOT

Judge = tuple[subprocess.Popen[str], list[psutil.Process]]
JUDGE = r"""
import signal, sys
from rlvr.sandbox.base import Job, Limits, SandboxError
from rlvr.sandbox.probe import tier_to_use
from rlvr.sandbox.sandbox import Sandbox
with Sandbox(tier=tier_to_use()) as sandbox:
    print(sandbox.tier, flush=True)
    try:
        print(sandbox.run(Job(source=sys.argv[1], limits=Limits(wall_s=60, cpu_s=60))), flush=True)
    except SandboxError as error:
        print('SandboxError', flush=True)
    print(sandbox.run(Job(source="print('next')")).stdout.decode(), end='', flush=True)
"""
PROGRAM = r"""
import ctypes, os, signal, time
ctypes.CDLL(None).prctl(15, b'rlvr-escape', 0, 0, 0)
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 100)
        while True:
            time.sleep(1)
while True:
    time.sleep(1)
"""


@pytest.fixture
def judge() -> Iterator[Judge]:
    """A process that runs a program with six daemons, and all processes below it, outermost first."""
    command = [sys.executable, "-c", JUDGE, PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        try:
            if (tier := process.stdout.readline().strip()) != "namespaces":
                process.kill()
                pytest.skip(f"this machine offers no namespaces, only {tier}")
            until = time.monotonic() + 20
            while sum(each.name() == "rlvr-escape" for each in below(process)) < 7:
                assert time.monotonic() < until, "the program does not begin"
                time.sleep(0.02)
            yield process, below(process)
        finally:
            process.kill()


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them are dead, within five seconds; somebody may still have to take note of it."""
    until = time.monotonic() + 5
    while any(map(lives, processes)):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_all_dies_with_whoever_started_it(judge: Judge) -> None:
    process, processes = judge
    assert len(processes) >= 9
    process.kill()
    assert gone(processes)
    assert traces.marked_processes() == []


def test_all_dies_with_whoever_started_it_and_with_the_jail_before(judge: Judge) -> None:
    process, processes = judge
    processes[0].kill()
    process.kill()
    assert gone(processes)


@pytest.mark.parametrize("which", [1, 2, 3])
def test_all_dies_with_each_part_of_the_service(judge: Judge, which: int) -> None:
    """The first process of the jail, the fork server and its parent: and then a new service is started by itself."""
    process, processes = judge
    service = [each for each in processes if each.name() != "rlvr-escape"]
    if which >= len(service):
        pytest.skip(f"the service has {len(service)} processes")
    service[which].kill()
    assert gone(processes)
    assert process.stdout
    assert process.stdout.read() == "SandboxError\nnext\n"
    assert process.wait(10) == 0


def test_a_program_killed_from_outside_is_our_failure(judge: Judge) -> None:
    """The machine is out of memory, say: that must not be taken for the program's own end."""
    process, processes = judge
    named = [each for each in processes if each.name() == "rlvr-escape"]
    named[0].kill()
    assert gone(named)
    assert process.stdout
    assert process.stdout.read() == "SandboxError\nnext\n"
    assert process.wait(10) == 0
