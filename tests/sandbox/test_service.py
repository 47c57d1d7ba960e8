"""When a part of the sandbox dies everything in it dies too, and the next program runs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
import traces
from namespaces import NEEDS_NAMESPACES

from conftest import ROOT

pytestmark = NEEDS_NAMESPACES

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
ctypes.CDLL(None).prctl(15, b'rlvr-service', 0, 0, 0)
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
            assert process.stdout.readline() == "namespaces\n"
            until = time.monotonic() + 20
            while sum(each.name() == "rlvr-service" for each in below(process)) < 7:
                assert time.monotonic() < until, "the program does not start"
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
    """Whether all of them are dead (or zombies) within five seconds."""
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


def test_all_dies_with_the_starting_process(judge: Judge) -> None:
    process, processes = judge
    assert len(processes) >= 9
    process.kill()
    assert gone(processes)
    assert traces.marked_processes("rlvr-service") == []


def test_all_dies_with_the_starting_process_and_the_jail_before_it(judge: Judge) -> None:
    process, processes = judge
    processes[0].kill()
    process.kill()
    assert gone(processes)


@pytest.mark.parametrize("which", [1, 2, 3])
def test_all_dies_with_each_part_of_the_service(judge: Judge, which: int) -> None:
    """The first process of the jail, the fork server and its parent. A new fork server is then started automatically."""
    process, processes = judge
    service = [each for each in processes if each.name() != "rlvr-service"]
    service[which].kill()
    assert gone(processes)
    assert process.stdout
    assert process.stdout.read() == "SandboxError\nnext\n"
    assert process.wait(10) == 0


def test_a_program_killed_from_outside_is_our_failure(judge: Judge) -> None:
    """By the out-of-memory killer, say: that must not be taken for an ending of the program."""
    process, processes = judge
    named = [each for each in processes if each.name() == "rlvr-service"]
    named[0].kill()
    assert gone(named)
    assert process.stdout
    assert process.stdout.read() == "SandboxError\nnext\n"
    assert process.wait(10) == 0
