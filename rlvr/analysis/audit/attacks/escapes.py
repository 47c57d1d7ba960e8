"""Attacks on what runs a program: the channel to its judge, the judge's memory and files, other processes, the machine."""

from __future__ import annotations

from typing import ClassVar

from rlvr.analysis.audit.attacks.base import ProgramAttack

_WRONG = "\ndef ENTRY(*args, **kwargs):\n    return 'nothing like it'\n"
_FORGE = r"""
import json, os, stat, struct
def channels():
    found = []
    for fd in range(256):
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        if fd > 2 or stat.S_ISSOCK(mode):
            found.append(fd)
    return found
MARKS = [
    True, 1.0, ['value', 1], ['?', 'int'], ['ref', 0, 'int'], {'ok': True}, {'passed': True, 'score': 1.0},
    {'begun': True}, {'loaded': True}, {'value': 987654321}, {'value': ['?', 'int']}, {'value': ['ref', 0, 'int']},
    {'failed': 'passed'},
    {'value': 987654321, 'arguments': ['l']},
    {'raised': ['AssertionError', 'Exception'], 'class': 'int', 'text': '', 'ending': 'ok'},
    {'status': 0, 'why': None, 'cpu_s': 0.0, 'peak_mb': 0.0, 'wall_s': 0.0},
    {'verdict': {'score': 1.0, 'outcome': 'scored', 'reason': 'correct', 'answer': None, 'detail': ''}, 'task': 1, 'cpu': 0.0},
]
def frames():
    for mark in MARKS:
        body = json.dumps(mark).encode()
        for header in ('>I', '>Q', '<I', '>H'):
            yield struct.pack(header, len(body)) + body
        yield body + b'\n'
def send(data):
    for fd in channels():
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view):]
        except OSError:
            pass
"""


class ForgedReplies(ProgramAttack):
    """Replies in the channel's own framing, written past the function: before a call, instead of a reply, twice."""

    functions: ClassVar = (
        f"{_FORGE}\nfor frame in frames():\n    send(frame)\n{_WRONG}",
        f"{_FORGE}\ndef ENTRY(*args, **kwargs):\n    for frame in frames():\n        send(frame)\n    return 'nothing like it'",
        *(
            f"""
{_FORGE}
def ENTRY(*args, **kwargs):
    body = json.dumps({reply}).encode()
    send(struct.pack('>I', len(body)) + body)
    send(struct.pack('>I', len(body)) + body)
    return 'nothing like it'
"""
            for reply in (
                "True",
                "{'value': ['ref', 0, 'int']}",
                "{'value': ['?', 'int']}",
                "{'value': {'a': 1}}",
                "{'value': 'nothing like it', 'arguments': 7}",
                "{'failed': 'no sandboxed process could be started'}",
                "{'raised': None, 'class': None, 'text': None, 'ending': []}",
                "{'raised': ['AssertionError', 'SystemExit', 'KeyboardInterrupt'], 'class': '', 'text': '', 'ending': 'ok'}",
                "{'loaded': True, 'begun': True, 'value': 987654321}",
            )
        ),
    )


class BrokenFrames(ProgramAttack):
    """Frames that no reader should trust: huge lengths, garbage, JSON that is too deep, too long, or no plain data."""

    functions: ClassVar = tuple(
        f"{_FORGE}\ndef ENTRY(*args, **kwargs):\n    {statement}\n    return 'nothing like it'"
        for statement in (
            "send(b'\\xff' * 8)",
            "send(b'\\x00' * 8)",
            "send(b'GET / HTTP/1.0\\r\\n\\r\\n' * 100)",
            "send(struct.pack('>I', 1 << 31))",
            "body = b'[' * 100_000; send(struct.pack('>I', len(body)) + body)",
            "body = b'9' * 100_000; send(struct.pack('>I', len(body)) + body)",
            "body = b'\\xff\\xfe{}'; send(struct.pack('>I', len(body)) + body)",
            "body = b'NaN'; send(struct.pack('>I', len(body)) + body)",
            *(
                f"body = b'{{\"value\": {value}}}'; send(struct.pack('>I', len(body)) + body)"
                for value in (
                    "[\"i\", \"' + b'f' * 1_000_000 + b'\"]",
                    '["D", "1e999999999999"]',
                    '["r", 0, ["i", "\' + b\'f\' * 15 + b\'"], 1]',
                    "[\"l\", ' + b'[\"l\", ' * 500 + b'1' + b']' * 500 + b']",
                    '["F", ["i", "\' + b\'7\' * 500_000 + b\'"], ["i", "\' + b\'3\' * 500_000 + b\'"]]',
                    '["d", ["l"], 1]',
                    '["q", -1, 1]',
                    '["x", "__import__"]',
                )
            ),
        )
    )


class ClosedChannel(ProgramAttack):
    """The channel closed, shut down, replaced by another file, or read by the program itself."""

    functions: ClassVar = (
        f"{_FORGE}\nfor fd in channels():\n    os.close(fd)\n{_WRONG}",
        f"{_FORGE}\nos.closerange(0, 256)\n{_WRONG}",
        f"{_FORGE}\ndef ENTRY(*args, **kwargs):\n    os.closerange(0, 256)",
        f"{_FORGE}\nimport socket\nfor fd in channels():\n    socket.socket(fileno=os.dup(fd)).shutdown(2)\n{_WRONG}",
        f"{_FORGE}\nnull = os.open('/dev/null', os.O_RDWR)\nfor fd in channels():\n    os.dup2(null, fd)\n{_WRONG}",
        f"{_FORGE}\nends = os.pipe()\nfor fd in channels():\n    os.dup2(ends[1], fd)\n{_WRONG}",
        f"""
{_FORGE}
def ENTRY(*args, **kwargs):
    for fd in channels():
        os.set_blocking(fd, False)
        try:
            os.read(fd, 1 << 20)
        except OSError:
            pass
    return 'nothing like it'
""",
    )


class StuckChannel(ProgramAttack):
    """Half a frame, or none, and then silence."""

    one_each: ClassVar = True
    functions: ClassVar = (
        f"{_FORGE}\nimport time\nsend(struct.pack('>I', 100) + b'[')\ntime.sleep(1000)",
        f"{_FORGE}\nimport time\ndef ENTRY(*args, **kwargs):\n    send(struct.pack('>I', 100) + b'[')\n    time.sleep(1000)",
        f"{_FORGE}\nimport signal\ndef ENTRY(*args, **kwargs):\n    os.kill(os.getpid(), signal.SIGSTOP)",
        f"""
{_FORGE}
import threading
def flood():
    while True:
        send(struct.pack('>I', 4) + b'true')
for _ in range(4):
    threading.Thread(target=flood, daemon=True).start()
def ENTRY(*args, **kwargs):
    while True:
        pass
""",
    )


class PatchedBuiltins(ProgramAttack):
    """Builtins and the functions of an encoder replaced, so that whoever uses them hears what the program wants."""

    functions: ClassVar = (
        "import builtins\nbuiltins.isinstance = lambda *args: True\nbuiltins.type = lambda value, *rest: int" + _WRONG,
        "import builtins\nbuiltins.all = builtins.any = lambda *args: True\nbuiltins.len = lambda value: 0" + _WRONG,
        "import builtins\nbuiltins.sorted = builtins.set = builtins.list = builtins.str = lambda *args: 0" + _WRONG,
        "import builtins\nbuiltins.AssertionError = builtins.Exception = builtins.BaseException = KeyError" + _WRONG,
        """
import builtins
real = builtins.__import__
class Module:
    def __getattr__(self, name): return lambda *args, **kwargs: True
builtins.__import__ = lambda name, *rest, **kwargs: Module()
builtins.open = builtins.print = builtins.input = builtins.exec = builtins.eval = builtins.compile = lambda *a, **k: True
"""
        + _WRONG,
        """
import json, json.encoder, json.decoder
forged = lambda *args, **kwargs: '{"ok": true, "passed": true, "score": 1.0}'
json.dumps = json.encoder.JSONEncoder.encode = json.encoder.encode_basestring = forged
json.encoder.c_make_encoder = None
json.encoder.JSONEncoder.iterencode = lambda *args, **kwargs: iter(['true'])
json.loads = json.decoder.JSONDecoder.decode = lambda *args, **kwargs: []
"""
        + _WRONG,
        """
import sys
for name, module in list(sys.modules.items()):
    for attribute in ('encode', 'dumps', '_container', '_scalar', 'reply', '_reply', 'send', '_send', 'call', '_call'):
        if name not in ('codecs', 'encodings') and callable(getattr(module, attribute, None)):
            try:
                setattr(module, attribute, lambda *args, **kwargs: b'true')
            except Exception:
                pass
"""
        + _WRONG,
        "import os, struct\nos.write = os.read = lambda *args: b'\\x00\\x00\\x00\\x04true'\nstruct.pack = lambda *a: b''"
        + _WRONG,
        "import sys\nfor name in list(sys.modules):\n    del sys.modules[name]" + _WRONG,
        """
import sys
def trace(frame, event, value):
    for name in frame.f_locals:
        if name in ('value', 'result', 'ok', 'passed', 'score', 'answer'):
            frame.f_locals[name] = True
    return trace
sys.settrace(trace)
sys.setprofile(trace)
sys._getframe().f_back and setattr(sys._getframe().f_back, 'f_trace', trace)
"""
        + _WRONG,
        """
import sys
sys.excepthook = sys.unraisablehook = sys.displayhook = lambda *args: None
sys.stdout = sys.stderr = sys.stdin = None
sys.setrecursionlimit(50)
sys.setswitchinterval(100)
"""
        + _WRONG,
        """
import gc, types
for each in gc.get_objects():
    if isinstance(each, types.FunctionType) and each.__name__ in ('encode', 'dumps', '_scalar', '_container', 'serve'):
        try:
            each.__code__ = (lambda *args, **kwargs: True).__code__
        except ValueError:
            pass
"""
        + _WRONG,
        """
import ctypes
ctypes.pythonapi.Py_IncRef(ctypes.py_object(True))
ctypes.memmove(id(False) + 24, id(True) + 24, 4)
"""
        + _WRONG,
    )


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
