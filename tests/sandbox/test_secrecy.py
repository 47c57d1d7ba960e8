"""What a program may not see or do: others' memory and files, and anything that takes privileges."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator

import pytest
from namespaces import NEEDS_NAMESPACES

from conftest import needs
from rlvr.sandbox.base import Job, Limits, Result
from rlvr.sandbox.probe import tier_to_use
from rlvr.sandbox.sandbox import Sandbox

pytestmark = NEEDS_NAMESPACES

WIDE = Limits(wall_s=30, cpu_s=30)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setenv("RLVR_TEST_SECRET", "secret-of-" + "the-environment")
    with Sandbox(tier=tier_to_use()) as made:
        yield made


SCAN = r"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.sbrk.restype = ctypes.c_void_p
libc.write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
# The needles are given with every byte changed, so that this program does not find them in itself.
change = bytes(each ^ 0x55 for each in range(256))
needles = CHANGED
own = bytes(each ^ 0x55 for each in needles[0])
reader, writer = os.pipe()
CHUNK = 1 << 16
found = set()
seen = 0
def scan(start, end):
    '''The kernel copies mapped memory into the pipe, and fails where nothing is mapped.'''
    global seen
    at = start
    while at < end:
        size = libc.write(writer, at, CHUNK)
        if size <= 0:
            at += 4096 if size == 0 else CHUNK
            continue
        data = os.read(reader, CHUNK)
        seen += len(data)
        data = data.translate(change)
        found.update(number for number, needle in enumerate(needles) if needle in data)
        # What is left of these bytes would be found later: this source, with its needles changed back.
        ctypes.memset(id(data) + bytes.__basicsize__ - 1, 0, len(data))
        at += size
page = lambda address: address & ~(CHUNK - 1)
span = 96 << 20
for address in {page(id(own)) >> 26, page(id(os)) >> 26, page(ctypes.addressof(ctypes.c_int())) >> 26}:
    scan((address << 26) - span, (address << 26) + span)
scan(page(libc.sbrk(0)) - span, page(libc.sbrk(0)) + CHUNK)
print(seen > 1 << 20, sorted(found))
"""


def test_no_trace_of_other_programs_in_memory(sandbox: Sandbox) -> None:
    secrets = ["text-of-" + "another", "input-of-" + "another", "file-of-" + "another", "value-of-" + "another"]
    for _ in range(20):
        source = f"# {secrets[0]}\nprint(input(), open('data').read())"
        result = sandbox.run(Job(source=source, stdin=secrets[1].encode(), files={"data": secrets[2].encode()}))
        assert secrets[1].encode() in result.stdout
        with sandbox.load(f"# {secrets[0]}\ndef solve(x):\n    return x + {secrets[3]!r}", limits=Limits()) as session:
            session.wait_until_loaded()
            assert session.ask("call", None, "solve", [secrets[1]])[0] == secrets[1] + secrets[3]
    wanted = ["its own control", *secrets, os.environ["RLVR_TEST_SECRET"], "def test_no_trace_of_" + "other_programs"]
    source = SCAN.replace("CHANGED", repr([bytes(each ^ 0x55 for each in text.encode()) for text in wanted]))
    result = sandbox.run(Job(source=source, limits=WIDE))
    assert result.ending == "ok", result
    assert result.stdout == b"True [0]\n", "it can look, and finds nothing but its own"


def test_two_at_a_time_do_not_meet(sandbox: Sandbox) -> None:
    waits = "import os, time\nopen('mine', 'w').close()\nprint('begun', flush=True)\ntime.sleep(0.6)\nprint(os.listdir('.'))"
    disturbs = """
import os, signal, time
end = time.monotonic() + 0.4
while time.monotonic() < end:
    for pid in (-1, *range(2, 50)):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    for name in os.listdir('/tmp'):
        print('sees', name)
    for name in os.listdir('/'):
        if name.startswith('proc') and os.listdir('/proc'):
            print('sees processes')
"""
    results: dict[str, Result] = {}
    with Sandbox(tier=tier_to_use()) as other:
        first = threading.Thread(target=lambda: results.update(waits=sandbox.run(Job(source=waits, limits=WIDE))))
        second = threading.Thread(target=lambda: results.update(disturbs=other.run(Job(source=disturbs, limits=WIDE))))
        first.start()
        second.start()
        first.join()
        second.join()
    assert (results["waits"].ending, results["waits"].stdout) == ("ok", b"begun\n['mine']\n")
    assert (results["disturbs"].ending, results["disturbs"].stdout) == ("ok", b"")


PRIVILEGES = """
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def attempt(what, result):
    if result >= 0:
        print('succeeded:', what, result)
header = struct.pack('II', 0x20080522, 0)
data = ctypes.create_string_buffer(24)
if libc.capget(header, data) == 0 and any(data.raw):
    print('capabilities:', data.raw)
print('no new privileges:', libc.prctl(39, 0, 0, 0, 0), 'filter:', libc.prctl(21, 0, 0, 0, 0))
attempt('setuid', libc.setresuid(0, 0, 0))
attempt('setgid', libc.setresgid(0, 0, 0))
attempt('setgroups', libc.setgroups(0, None))
for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80):
    attempt(f'unshare {flag:x}', libc.unshare(flag))
attempt('mount', libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None))
attempt('remount', libc.mount(None, b'/usr', None, 32 | 4096, None))
attempt('umount', libc.umount2(b'/tmp', 2))
attempt('chroot', libc.chroot(b'/tmp'))
attempt('mknod', libc.mknod(b'/tmp/device', 0o20666, 0x103))
attempt('nice', -1 if libc.setpriority(0, 0, -5) else 0)
attempt('real time', libc.sched_setscheduler(0, 1, struct.pack('i', 50)))
attempt('sethostname', libc.sethostname(b'x', 1))
attempt('keys', libc.syscall(248, b'user', b'x', b'x', 1, -3))
attempt('bpf', libc.syscall(321, 0, bytes(128), 128))
attempt('perf_event_open', libc.syscall(298, bytes(128), 0, -1, -1, 0))
attempt('userfaultfd', libc.syscall(323, 1))
attempt('io_uring_setup', libc.syscall(425, 8, bytes(256)))
attempt('name_to_handle_at', libc.syscall(303, -100, b'/', bytes(256), bytes(8), 0))
attempt('pidfd_getfd', libc.syscall(438, 3, 0, 0))
attempt('ptrace', libc.ptrace(16, 1, None, None))
attempt('shmget', libc.shmget(1, 4096, 0o1666))
attempt('AF_ALG', libc.socket(38, 5, 0))
attempt('AF_VSOCK', libc.socket(40, 1, 0))
attempt('AF_NETLINK', libc.socket(16, 3, 0))
attempt('raw socket', libc.socket(2, 3, 1))
attempt('x32 call', libc.syscall(0x40000000 + 39))
for flag in (0x20000, 0x10000000, 0x20000000, 0x40000000):
    attempt(f'clone {flag:x}', os._exit(0) if (child := libc.syscall(56, flag | 17, None, None, None, None)) == 0 else child)
"""


@needs(platform.machine() == "x86_64", "an x86-64 processor, whose numbers of system calls it uses", in_ci=False)
def test_no_gain_of_privilege(sandbox: Sandbox) -> None:
    result = sandbox.run(Job(source=PRIVILEGES, limits=WIDE))
    assert result.ending == "ok", result
    assert result.stdout.decode().splitlines() == ["no new privileges: 1 filter: 2"]


@needs(platform.machine() == "x86_64", "an x86-64 processor, which also runs 32-bit code", in_ci=False)
def test_no_system_calls_of_another_architecture(sandbox: Sandbox) -> None:
    """32-bit calls have different numbers, which the filter would take for harmless ones."""
    source = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex('5331c0b014000000cd805bc3'))  # push rbx; getpid by int 0x80; pop rbx; ret
call = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
print('begun', flush=True)
print('returned', call())
"""
    result = sandbox.run(Job(source=source))
    assert (result.ending, result.stdout) == ("crash", b"begun\n"), result


def test_programs_of_the_system_gain_nothing_either(sandbox: Sandbox) -> None:
    """Set-user-ID programs neither: every file system is mounted nosuid."""
    source = """
import os, subprocess, sys
for place in ('/', '/usr', '/usr/bin', '/bin', '/tmp', '/dev', '/opt', sys.prefix):
    if os.path.isdir(place) and not os.statvfs(place).f_flag & os.ST_NOSUID:
        print('counts in', place)
print(subprocess.run(['/usr/bin/id', '-u'], capture_output=True, text=True, check=False).stdout.strip(), os.getuid())
"""
    result = sandbox.run(Job(source=source, limits=WIDE))
    assert result.ending == "ok", result
    inside, own = result.stdout.decode().split()
    assert inside == own != "0"
