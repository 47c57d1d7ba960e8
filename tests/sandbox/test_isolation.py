"""Each property of a sandboxed process, attacked by one test. The isolation is the strongest that this machine has."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import traces
from namespaces import NEEDS_NAMESPACES

from rlvr.sandbox.base import Job, Limits
from rlvr.sandbox.probe import tier_to_use
from rlvr.sandbox.sandbox import Sandbox

pytestmark = NEEDS_NAMESPACES

NAMED = (
    "import ctypes, os, signal, sys, time\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.prctl(15, b'rlvr-isol', 0, 0, 0)\n"
)
MB = 1 << 20


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    os.environ["RLVR_TEST_SECRET"] = "environment-" + "of-the-judge"
    with Sandbox(tier=tier_to_use()) as made:
        yield made
    del os.environ["RLVR_TEST_SECRET"]


def lines(sandbox: Sandbox, source: str, **limits: float) -> list[str]:
    """What a program prints; it must end well."""
    result = sandbox.run(Job(source=source, limits=Limits(**limits)))  # pyright: ignore[reportArgumentType]
    assert result.ending == "ok", (result.ending, result.detail, result.stderr.decode()[-2000:])
    return result.stdout.decode().splitlines()


NETWORK = """
import socket, sys
def reach(family, address):
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(1)
            s.connect(address)
            print('reached', address)
    except OSError:
        pass
reach(socket.AF_INET, ('127.0.0.1', PORT))
reach(socket.AF_UNIX, '\\0' + 'rlvr-test-ABSTRACT')
try:
    s = socket.socketpair()[0]
    s.sendmsg([b'x'], [], 0, '\\0' + 'rlvr-test-ABSTRACT')
    print('reached it by a pair')
except OSError:
    pass
"""


def test_no_network(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        name = f"rlvr-test-{os.getpid()}"
        unix.bind("\0" + name)
        unix.listen()
        source = NETWORK.replace("PORT", str(tcp.getsockname()[1])).replace("rlvr-test-ABSTRACT", name)
        outside = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
        assert outside.count("reached") == 2, "the servers are there"
        assert lines(sandbox, source) == []


def test_empty_environment(sandbox: Sandbox) -> None:
    source = """
import ctypes, os
print(dict(os.environ))
raw = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')
at = 0
while raw and raw[at]:
    print(raw[at])
    at += 1
"""
    assert lines(sandbox, source) == ["{}"]
    seen = sandbox.run(Job(argv=("/usr/bin/env",)))
    assert seen.ending == "ok"
    assert {line.partition(b"=")[0] for line in seen.stdout.splitlines()} <= {b"PATH", b"HOME", b"TMPDIR", b"PWD", b"LANG"}


@pytest.mark.parametrize("depth", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_read_only_system(sandbox: Sandbox, depth: int) -> None:
    source = """
import os
here = os.stat('.')
seen = 0
for folder, folders, files in os.walk('/'):
    seen += 1
    if folder.count('/') > DEPTH:
        folders.clear()
    try:
        if os.path.samestat(os.stat(folder), here) or folder.startswith('/tmp/'):
            continue
        with open(os.path.join(folder, 'rlvr-escape'), 'w'):
            print('wrote in', folder)
    except OSError:
        pass
    for name in files:
        path = os.path.realpath(os.path.join(folder, name))
        if os.access(path, os.W_OK) and not path.startswith('/dev/'):
            print('may write', path)
print(seen > 100)
"""
    assert lines(sandbox, source.replace("DEPTH", str(depth)), wall_s=30, cpu_s=30) == ["True"]


def test_the_whole_standard_library_can_be_imported(sandbox: Sandbox) -> None:
    """What is read-only can be read."""
    names = ["asyncio", "concurrent.futures", "mmap", "pathlib", "sqlite3", "typing", "unittest.mock", "zlib", "zoneinfo"]
    there = [name for name in names if importlib.util.find_spec(name)]
    assert lines(sandbox, f"import {', '.join(there)}\nprint('imported')", wall_s=30, cpu_s=30) == ["imported"]


def test_own_directory_gone_afterwards(sandbox: Sandbox) -> None:
    source = """
import os, tempfile
print(os.listdir('.'), os.getcwd() == os.path.realpath(tempfile.gettempdir()))
open('rlvr-escape', 'w').write('x')
os.mkdir('rlvr-escape.d')
open('rlvr-escape.d/file', 'w').write('x')
os.chmod('rlvr-escape.d', 0)
print(sorted(os.listdir('.')))
"""
    for _ in range(2):
        assert lines(sandbox, source) == ["[] True", "['rlvr-escape', 'rlvr-escape.d']"]
    assert [each for each in traces.marked_things() if "rlvr-escape" in each] == []


def test_own_directory_is_bounded(sandbox: Sandbox) -> None:
    source = """
import os
written = number = 0
try:
    while written < 200 << 20:
        with open(f'file{number}', 'wb', buffering=0) as file:
            for _ in range(4):
                written += file.write(bytes(1 << 20))
        number += 1
except OSError:
    pass
for name in os.listdir('.'):
    os.remove(name)
number = 0
try:
    while number < 100_000:
        os.symlink('x', f'link{number}')
        number += 1
except OSError:
    pass
print(written >> 20, number < 100_000)
"""
    written, few = lines(sandbox, source, disk_mb=20, file_mb=8, wall_s=20, cpu_s=20)[0].split()
    assert 10 <= int(written) <= 20
    assert few == "True"


def test_files_of_the_job(sandbox: Sandbox) -> None:
    job = Job(
        argv=("./run",), files={"run": b"#!/bin/sh\ncat data; cat; ls\n", "data": b"from a file\n"}, stdin=b"from stdin\n"
    )
    result = sandbox.run(job)
    assert (result.ending, result.stdout) == ("ok", b"from a file\nfrom stdin\ndata\nrun\n"), result


def test_own_processes(sandbox: Sandbox) -> None:
    """Its own process numbers; a signal to everybody, or to its group, reaches nobody else."""
    source = f"""
import os, signal
print(os.getpid() <= 2, os.getppid())
for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
    for target in ({os.getpid()}, {sandbox._server._process.pid}, os.getppid(), 0, -1):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            os.kill(target, number)
        except OSError:
            pass
print(os.path.isdir('/proc/1'), os.path.isdir('/proc/self'))
"""
    server = sandbox._server._process.pid
    assert lines(sandbox, source) == ["True 0", "False False"]
    assert lines(sandbox, "print('next')") == ["next"]
    assert sandbox._server._process.pid == server, "the same server still serves"


DAEMONS = """
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
        os._exit(0)
"""


def test_nothing_left_running(sandbox: Sandbox) -> None:
    before = traces.processes()
    for end in ("print('begun', flush=True)", "print('begun', flush=True)\ntime.sleep(100)"):
        result = sandbox.run(Job(source=NAMED + DAEMONS + end, limits=Limits(wall_s=0.5)))
        assert result.stdout == b"begun\n"
        assert traces.marked_processes("rlvr-isol") == []
        assert traces.processes() == before
    assert (
        lines(sandbox, NAMED + "import threading\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()") == []
    )
    assert traces.processes() == before


def test_only_its_own_descriptors(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a file of the judge")
    with open(tmp_path / "secret") as file:
        os.set_inheritable(file.fileno(), True)
        source = """
import os
for fd in range(65536):
    try:
        status = os.fstat(fd)
    except OSError:
        continue
    if fd > 3:
        print('open', fd, status)
    try:
        os.set_blocking(fd, False)
        print('read', fd, os.read(fd, 100)) if fd else None
    except OSError:
        pass
"""
        assert lines(sandbox, source, wall_s=20, cpu_s=20) == []
