"""Attacks on the channel between a judge and a program, and on the code at the program's end of it."""

from __future__ import annotations

from typing import ClassVar

from rlvr.analysis.audit.attacks.code import ProgramAttack

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
