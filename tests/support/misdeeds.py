"""Sources of programs that misbehave in ways that gain nothing, but must do no harm either."""

# ruff: noqa: E501  most programs are a line each

from __future__ import annotations

_SOLVE = "\ndef solve(x):\n    return x * 7919 + 11\n"
_NOT = "\ndef solve(x):\n    return 'nothing like it'\n"
_NAMED = "import ctypes, os, signal, time\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.prctl(15, b'rlvr-escape', 0, 0, 0)\n"
_QUIET = """
def quietly(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Exception:
        return None
"""
_LIBC = _NAMED + _QUIET

WRONG: dict[str, str] = {
    "loop_on_loading": "while True:\n    pass",
    "sleep_on_loading": "import time\ntime.sleep(10**6)",
    "stops_itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "ignores_every_signal_and_loops": """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True:
    pass
""",
    "fork_bomb": _NAMED + "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "fork_chain": _NAMED + "while True:\n    if os.fork():\n        os._exit(0)\n    os.setsid()",
    "thread_bomb": "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(1000,)).start()" + _NOT,
    "memory_of_many_processes": _NAMED
    + "for _ in range(20):\n    if os.fork() == 0:\n        kept = bytearray(os.urandom(1 << 20) * 100)\n"
    "        time.sleep(1000)\ntime.sleep(1000)",
    "memory_in_mappings": "import mmap\nkept = []\nwhile True:\n    kept.append(mmap.mmap(-1, 1 << 24))\n    kept[-1].write(b'x' * (1 << 24))",
    "memory_in_pipes": "import os\nwhile True:\n    ends = os.pipe()\n    os.set_blocking(ends[1], False)\n    os.write(ends[1], bytes(1 << 16))",
    "files_without_end": _QUIET
    + "n = 0\nwhile True:\n    n += 1\n    quietly(lambda: open(f'rlvr-escape-{n}', 'w').write('x' * 10**6))",
    "folders_without_end": "import os\nwhile True:\n    os.mkdir('rlvr-escape')\n    os.chdir('rlvr-escape')",
    "descriptors_without_end": "import os\nkept = []\nwhile True:\n    kept.append(os.dup(0) if kept else os.open('.', 0))"
    + _NOT,
    "one_huge_file": "with open('rlvr-escape', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))" + _NOT,
    "sparse_file": "with open('rlvr-escape', 'wb') as file:\n    file.truncate(1 << 50)" + _NOT,
    "busy_children": _NAMED
    + "for _ in range(8):\n    if os.fork() == 0:\n        os.setsid()\n        while True:\n            pass"
    + _NOT,
    "highest_priority": _LIBC + "quietly(os.nice, -20)\nquietly(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(99))\n"
    "quietly(os.setpriority, os.PRIO_USER, 0, -20)\nwhile True:\n    pass",
    "raises_its_limits": _LIBC + "import resource\nfor which in range(16):\n    quietly(resource.setrlimit, which, (-1, -1))\n"
    "kept = []\nwhile True:\n    kept.append(bytearray(1 << 24))",
    "crashes": "import ctypes\nctypes.memset(0x1000, 0, 10)" + _NOT,
    "spoils_its_heap": "import ctypes\nctypes.memset(id(object) & ~0xFFFF, 255, 1 << 16)" + _NOT,
    "aborts": "import os\nos.abort()",
    "becomes_another_program": "import os\nos.execv('/bin/sh', ['sh', '-c', 'echo passed; echo passed >&3; exit 0'])",
    "becomes_another_program_that_hangs": "import os\nos.execv('/bin/sh', ['sh', '-c', 'while :; do :; done'])",
    "no_python": "this is no Python at all(",
    "null_bytes": "def solve(x):\n    return 'nothing like it' + '\x00'",
    "deep_source": "x = " + "(" * 5_000 + ")" * 5_000 + _NOT,
    "deep_unary": "x = " + "-" * 100_000 + "1" + _NOT,
    "huge_constant": "x = 9 ** 9 ** 9" + _NOT,
    "huge_source": "x = 1\n" * 100_000 + _NOT,
    "lone_surrogates": "def solve(x):\n    return '\ud800'",
    "nothing": "",
    "the_wrong_name": "def resolve(x):\n    return x * 7919 + 11",
    "no_function": "solve = 15849",
    "a_class": "class solve:\n    def __init__(self, x):\n        self.x = x\n    def __eq__(self, other):\n        return True",
    "an_exec_in_the_argument": "import builtins\nclass solve(str):\n    def __new__(cls, x):\n        return str.__new__(cls, '__import__(\"os\")._exit(0)')",
    "generator_function": "def solve(x):\n    while True:\n        yield x",
    "coroutine": "async def solve(x):\n    return x * 7919 + 11",
    "waits_for_input": "input()" + _NOT,
    "prints_without_end": "while True:\n    print('passed' * 1000)",
    "errors_without_end": "import sys\nwhile True:\n    sys.stderr.write('passed' * 1000)",
    "wrong_and_forks": _NAMED + "def solve(x):\n    os.fork()\n    return 'nothing like it'",
    "tries_the_network": _QUIET
    + """
import socket
for family in range(1, 46):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            s = socket.socket(family, kind)
        except OSError:
            continue
        s.settimeout(0.01)
        for address in (('127.0.0.1', 22), ('10.0.0.1', 80), '\\x00rlvr-escape', '/run/systemd/notify', (2, 1)):
            quietly(s.connect, address)
            quietly(s.bind, address)
"""
    + _NOT,
    "tries_the_kernel": _LIBC
    + """
for number in (101, 134, 139, 155, 161, 165, 166, 167, 169, 175, 246, 248, 250, 272, 298, 303, 304, 308, 310, 313, 317, 321, 323, 425,
               428, 429, 430, 432, 434, 435, 438, 440, 442, 447):
    if os.fork() == 0:
        libc.syscall(number, 1, 1, 1, 1, 1, 1)
        os._exit(0)
    os.wait()
for path in ('/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern', '/sys/power/state', '/dev/mem', '/dev/kmsg', '/dev/sda', '/dev/tty'):
    quietly(lambda: open(path, 'w').write('b'))
"""
    + _NOT,
    "tries_its_parents": _LIBC
    + """
for pid in [os.getppid(), *range(1, 100)]:
    libc.ptrace(16, pid, 0, 0)
    descriptor = quietly(os.pidfd_open, pid)
    if descriptor is not None:
        for fd in range(16):
            libc.syscall(438, descriptor, fd, 0)
        libc.setns(descriptor, 0x10000000 | 0x20000)
    if pid != os.getpid():
        quietly(os.kill, pid, 9)
"""
    + _NOT,
}
"""Solve nothing."""

RIGHT_AND_WORSE: dict[str, str] = {
    "honest": _SOLVE,
    "daemon": _NAMED
    + """
if os.fork() == 0:
    os.setsid()
    for number in range(1, 65):
        if number not in (9, 19, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        for fd in range(256):
            try:
                os.close(fd)
            except OSError:
                pass
        while True:
            time.sleep(1)
    os._exit(0)
"""
    + _SOLVE,
    "daemon_from_the_call": _NAMED
    + "def solve(x):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(10**6)\n    return x * 7919 + 11",
    "daemon_holding_everything": _NAMED
    + "if os.fork() == 0:\n    if os.fork() == 0:\n        os.setsid()\n        signal.pause()\n    os._exit(0)"
    + _SOLVE,
    "forks_and_both_answer": _NAMED + "def solve(x):\n    os.fork()\n    return x * 7919 + 11",
    "shell_in_the_background": "import os\nos.system('(setsid sleep 100000 &) ; nohup sleep 100000 >/dev/null 2>&1 &')"
    + _SOLVE,
    "threads": "import threading, time\nfor _ in range(8):\n    threading.Thread(target=time.sleep, args=(10**6,)).start()"
    + _SOLVE,
    "busy_thread": "import threading\ndef busy():\n    while True:\n        pass\nthreading.Thread(target=busy).start()"
    + _SOLVE,
    "work_at_exit": _NAMED + "import atexit\natexit.register(lambda: os.fork() or time.sleep(10**6))" + _SOLVE,
    "files_everywhere": _LIBC
    + """
for folder in ('/tmp', '/dev/shm', '/var/tmp', '/run', '/', '/usr', '/etc', '/root', '/home', '.', '..', '/dev', '/proc', '/sys', '/opt'):
    quietly(lambda: open(folder + '/rlvr-escape', 'w').write('x'))
    quietly(os.mkdir, folder + '/rlvr-escape.d')
    quietly(os.symlink, '/etc/passwd', folder + '/rlvr-escape.link')
    quietly(os.mkfifo, folder + '/rlvr-escape.fifo')
"""
    + _SOLVE,
    "odd_files": _LIBC
    + """
open(b'rlvr-escape\\n\\xff\\xfe', 'w').close()
os.mkdir('rlvr-escape.d')
open('rlvr-escape.d/file', 'w').close()
quietly(os.mknod, 'rlvr-escape.device', 0o20666, 259)
os.chmod('rlvr-escape.d', 0)
os.chmod('.', 0)
"""
    + _SOLVE,
    "deep_folders": "import os\nfor _ in range(1000):\n    os.mkdir('rlvr-escape')\n    os.chdir('rlvr-escape')" + _SOLVE,
    "set_user_id_file": "import os, shutil\nshutil.copy('/bin/sh', 'rlvr-escape')\nos.chmod('rlvr-escape', 0o6777)" + _SOLVE,
    "removes_its_directory": "import os, shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)\nos.chdir('/')" + _SOLVE,
    "mounts": _LIBC
    + """
libc.unshare(0x10000000 | 0x20000 | 0x20000000)
os.makedirs('rlvr-escape', exist_ok=True)
libc.mount(b'tmpfs', b'rlvr-escape', b'tmpfs', 0, None)
libc.mount(b'/usr', b'rlvr-escape', None, 4096, None)
libc.mount(b'none', b'/', None, 1 << 20 | 16384, None)
libc.umount2(b'/tmp', 2)
libc.umount2(b'/proc', 2)
"""
    + _SOLVE,
    "shared_memory": _LIBC
    + """
libc.shmget(0x51a7e, 1 << 16, 0o1666)
libc.semget(0x51a7e, 1, 0o1666)
libc.msgget(0x51a7e, 0o1666)
libc.syscall(240, b'rlvr-escape', 0o102, 0o666, None)
descriptor = libc.syscall(319, b'rlvr-escape', 0)
if descriptor >= 0:
    quietly(os.write, descriptor, bytes(1 << 20))
"""
    + _SOLVE,
    "sockets": _LIBC + "import socket\nfor name in ('\\x00rlvr-escape', 'rlvr-escape.sock', '/tmp/rlvr-escape.sock'):\n"
    "    quietly(lambda: socket.socket(socket.AF_UNIX).bind(name))" + _SOLVE,
    "watches_files": _LIBC
    + "fd = libc.inotify_init()\nfor path in (b'/', b'/tmp', b'/usr', b'/etc'):\n    libc.inotify_add_watch(fd, path, 0xFFF)"
    + _SOLVE,
    "alarm": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\nsignal.signal(signal.SIGALRM, lambda *_: None)"
    + _SOLVE,
    "stops_its_group": _NAMED
    + "if os.fork() == 0:\n    os.kill(os.getppid(), signal.SIGCONT)\n    os.kill(os.getpid(), signal.SIGSTOP)"
    + _SOLVE,
    "no_standard_files": "import os, sys\nfor fd in range(3):\n    os.close(fd)\nsys.stdin = sys.stdout = sys.stderr = None"
    + _SOLVE,
    "errors_as_well": "import sys\ndef solve(x):\n    print('x' * 10**4, file=sys.stderr, flush=True)\n    return x * 7919 + 11",
    "much_output": "print('x' * 10**5)" + _SOLVE,
    "spoils_its_interpreter": "import gc, random, sys, os, builtins\ngc.disable()\nsys.setrecursionlimit(10**6)\nsys.setswitchinterval(10)\n"
    "sys.dont_write_bytecode = False\nos.environ['rlvr-escape'] = 'x'\nos.umask(0o777)\nrandom.seed(7)\nsys.path[:] = []\n"
    "builtins.solve = None\nsys.modules.pop('json', None)" + _SOLVE,
    "lies_as_well": "class Right(int):\n    def __eq__(self, other):\n        return True\n    __hash__ = int.__hash__\n"
    "def solve(x):\n    return Right(x * 7919 + 11)",
    "first_call_only": "calls = []\ndef solve(x):\n    calls.append(x)\n    return x * 7919 + 11 if len(calls) == 1 else -1",
    "one_input_only": "def solve(x):\n    return 15849 if x == 2 else -1",
    "exits_after_the_first_call": "import os\ncalls = []\ndef solve(x):\n    if calls:\n        os._exit(0)\n    calls.append(x)\n    return x * 7919 + 11",
    "lazy_exit": _NAMED + "import threading\nthreading.Timer(0.001, os._exit, (0,)).start()" + _SOLVE,
}
"""Solve the problem, and leave behind what they can."""

SCRIPTS: dict[str, str] = {
    "honest": "print(int(input()) * 7919 + 11)",
    "only_one_case": "input()\nprint(15849)",
    "daemon": _NAMED
    + "print(int(input()) * 7919 + 11, flush=True)\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
    "        time.sleep(10**6)\n    os._exit(0)",
    "output_held_by_a_daemon": "import os\nprint(int(input()) * 7919 + 11, flush=True)\nos.system('sleep 100000 &')",
    "leaves_files": "print(int(input()) * 7919 + 11)\nfor folder in ('.', '/dev/shm', '/tmp'):\n    open(folder + '/rlvr-escape', 'w').close()",
    "right_then_kills": "import os, signal\nprint(int(input()) * 7919 + 11, flush=True)\nos.kill(-1, signal.SIGKILL)",
    "closes_everything": "import os\nprint(int(input()) * 7919 + 11, flush=True)\nos.closerange(0, 256)",
    "nothing": "pass",
}
"""Programs of standard input and output."""
