"""Each limit has a separate ending, and programs that stay within it end well."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rlvr.sandbox.base import Job, Limits, Result
from rlvr.sandbox.probe import tier_to_use
from rlvr.sandbox.sandbox import Sandbox

SLEEP = "import time\ntime.sleep(30)"
BUSY = "while True:\n    pass"
CHILDREN = "import os\nfor _ in range(3):\n    if os.fork() == 0:\n        while True:\n            pass\nos.wait()"
WRITES = "file = open('file', 'wb', buffering=0)\nfor _ in range({}):\n    file.write(bytes(1 << 20))"
FILES = "for at in range({}):\n    with open(f'file{{at}}', 'wb', buffering=0) as file:\n        file.write(bytes(1 << 20))"
CASES = {
    "wall time": (SLEEP, {"wall_s": 0.3}, "timeout"),
    "wall time with signals ignored": (
        f"import signal\nsignal.signal(15, signal.SIG_IGN)\n{SLEEP}",
        {"wall_s": 0.3},
        "timeout",
    ),
    "processor time": (BUSY, {"cpu_s": 0.3, "wall_s": 20}, "timeout"),
    "processor time of children": (CHILDREN, {"cpu_s": 0.3, "wall_s": 20}, "timeout"),
    "stopped": (f"import os, signal\nif os.fork() == 0:\n    os.kill(os.getpid(), 19)\n{SLEEP}", {"wall_s": 0.3}, "timeout"),
    "memory": ("kept = bytearray(300 << 20)", {"memory_mb": 128}, "memory"),
    "memory bit by bit": ("kept = []\nwhile True:\n    kept.append(bytes(10_000))", {"memory_mb": 128}, "memory"),
    "memory of the stack": ("import sys\nsys.setrecursionlimit(10**8)\ndef f():\n    return [f()]\nf()", {}, "memory or crash"),
    "memory of many": (
        f"import os\nfor _ in range(4):\n    if os.fork() == 0:\n        kept = b'x' * (60 << 20)\n        break\n{SLEEP}",
        {"memory_mb": 128},
        "memory",
    ),
    "output": ("while True:\n    print('x' * 1000)", {"output_kb": 64}, "output_limit"),
    "errors": ("import sys\nwhile True:\n    print('x' * 1000, file=sys.stderr)", {"output_kb": 64}, "output_limit"),
    "output of a child": ("import os\nos.fork()\nwhile True:\n    print('x' * 1000)", {"output_kb": 64}, "output_limit"),
    "open files": ("kept = []\nwhile True:\n    kept.append(open('/dev/null'))", {"open_files": 20}, "open_files_limit"),
    "processes": ("import os\nwhile os.fork() >= 0:\n    pass", {"processes": 8}, "process_limit"),
    "threads": (
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(30,)).start()",
        {"processes": 8},
        "process_limit",
    ),
    "quiet fork bomb": (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        {"processes": 8},
        "process_limit",
    ),
    "one file": (WRITES.format(12), {"file_mb": 10}, "file_size_limit"),
    "one file by its length": ("open('file', 'wb').truncate(11 << 20)", {"file_mb": 10}, "file_size_limit"),
    "all files": (FILES.format(12), {"disk_mb": 10, "file_mb": 10}, "disk_limit"),
    "number of files": ("for at in range(100_000):\n    open(str(at), 'w').close()", {"wall_s": 20, "cpu_s": 20}, "disk_limit"),
}
WITHIN = {
    "wall time": ("import time\ntime.sleep(0.1)", {"wall_s": 1.0}),
    "memory": ("kept = bytearray(100 << 20)", {"memory_mb": 128}),
    "output": ("print('x' * 60_000, end='')", {"output_kb": 64}),
    "open files": ("kept = [open('/dev/null') for _ in range(10)]", {"open_files": 20}),
    "processes": ("import os\nif os.fork() == 0:\n    os._exit(0)\nos.wait()", {"processes": 8}),
    "one file": (WRITES.format(9), {"file_mb": 10}),
    "all files": (FILES.format(8), {"disk_mb": 10, "file_mb": 10}),
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(tier=tier_to_use()) as made:
        yield made


def run(sandbox: Sandbox, source: str, limits: dict[str, float]) -> Result:
    return sandbox.run(Job(source=source, limits=Limits(**limits)))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", CASES)
def test_over_the_limit(sandbox: Sandbox, name: str) -> None:
    source, limits, ending = CASES[name]
    start = time.monotonic()
    result = run(sandbox, source, limits)
    assert result.ending in ending.split(" or "), result
    assert result.detail
    if ending == "timeout" and "wall_s" in limits:
        assert time.monotonic() - start < 10, "it is ended soon after"
    assert len(result.stdout) <= Limits(**limits).output_kb << 10
    assert len(result.stderr) <= Limits(**limits).output_kb << 10
    assert run(sandbox, "print('next')", {}).stdout == b"next\n"


@pytest.mark.parametrize("name", WITHIN)
def test_within_the_limit(sandbox: Sandbox, name: str) -> None:
    source, limits = WITHIN[name]
    result = run(sandbox, source, limits)
    assert (result.ending, result.detail) == ("ok", ""), result


@pytest.mark.parametrize(
    ("source", "ending", "detail"),
    [
        ("pass", "ok", ""),
        ("raise SystemExit(3)", "exit", "3"),
        ("raise SystemExit('sorry')", "exit", "1"),
        ("raise KeyError('x')", "exit", "KeyError"),
        ("import os\nos._exit(7)", "exit", "7"),
        ("def", "exit", "SyntaxError"),
        ("import ctypes\nctypes.string_at(0)", "crash", "11"),
    ],
)
def test_other_endings(sandbox: Sandbox, source: str, ending: str, detail: str) -> None:
    result = run(sandbox, source, {})
    assert result.ending == ending, result
    assert detail in result.detail


def test_what_it_used(sandbox: Sandbox) -> None:
    result = run(
        sandbox, "import time\ntime.sleep(0.3)\nsum(range(3_000_000))\nkept = b'x' * (50 << 20)", {"wall_s": 20, "cpu_s": 20}
    )
    assert result.ending == "ok"
    assert 0.3 <= result.wall_s < 20
    assert 0.01 <= result.cpu_s < result.wall_s
    assert 50 <= result.peak_mb < 200
