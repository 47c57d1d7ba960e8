"""Whole programs on standard input and output, in three languages, in the real sandbox."""

from __future__ import annotations

import shutil
import time
from typing import Any

import pytest

from conftest import needs
from rlvr.programs.cases import Language, run_cases
from rlvr.programs.equality import Whitespace
from rlvr.programs.exam import TestResult
from rlvr.sandbox.base import Limits
from rlvr.sandbox.shared import shared_sandbox

CPP = needs(shutil.which("g++") is not None, "g++: apt-get install g++")
NODE = needs(shutil.which("node") is not None, "node: apt-get install nodejs")
SUM = {
    "python": "a, b = map(int, input().split())\nprint(a + b)",
    "cpp": "#include <iostream>\nint main() { long long a, b; std::cin >> a >> b; std::cout << a + b << std::endl; }",
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(BigInt); console.log(String(a + b));",
}
LANGUAGES = ["python", pytest.param("cpp", marks=CPP), pytest.param("javascript", marks=NODE)]


def results(
    program: str,
    *cases: tuple[str, str],
    language: Language = "python",
    whitespace: Whitespace = "lines",
    budget_s: float = 20.0,
    **limits: Any,
) -> list[TestResult]:
    rows = [{"stdin": given, "stdout": expected} for given, expected in cases]
    kept = Limits(**{"memory_mb": 512, "wall_s": 5.0, "cpu_s": 5.0, **limits})
    return run_cases(shared_sandbox(), program, rows, language=language, limits=kept, budget_s=budget_s, whitespace=whitespace)


def reasons(program: str, *cases: tuple[str, str], **options: Any) -> list[str]:
    return [result.reason for result in results(program, *cases, **options)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language(language: Language) -> None:
    cases = [
        ("1 2", "3\n"),
        ("998244352 1", "998244353"),
        ("998244351 1", "998244353"),
        ("9007199254740992 1", "9007199254740993"),
    ]
    assert reasons(SUM[language], *cases, language=language) == ["pass", "pass", "wrong", "pass"]


@CPP
@pytest.mark.slow
def test_the_header_that_includes_all_others_compiles() -> None:
    """Programs of contests begin with it; compiling it takes most time and memory."""
    assert reasons(SUM["cpp"].replace("iostream", "bits/stdc++.h"), ("1 2", "3"), language="cpp") == ["pass"]


@pytest.mark.parametrize(
    ("language", "program", "reason"),
    [
        pytest.param("cpp", "int main() { return x; }", "compile_error", marks=CPP),
        pytest.param("cpp", "", "compile_error", marks=CPP),
        pytest.param("cpp", '#include "/etc/shadow"\nint main() {}', "compile_error", marks=CPP),
        pytest.param("cpp", "int main() { for (volatile int x = 0;; x = x) {} }", "timeout", marks=CPP),
        pytest.param("cpp", "int main() { int *p = 0; *p = 1; }", "crash", marks=CPP),
        pytest.param("cpp", "int main() { return 3; }", "exit", marks=CPP),
        pytest.param("cpp", "#include <vector>\nint main() { std::vector<char>(1l << 32, 1); }", "crash", marks=CPP),
        pytest.param("javascript", "let x = ;", "exit", marks=NODE),
        pytest.param("javascript", "throw new Error('x')", "exit", marks=NODE),
        pytest.param("javascript", "for (;;) {}", "timeout", marks=NODE),
        ("python", "print(3", "syntax_error"),
        ("python", "raise ValueError", "exception"),
        ("python", "print(3)\nraise SystemExit(1)", "exit"),
        ("python", "print(3)\nraise SystemExit('no')", "exit"),
        ("python", "import os\nprint(3, flush=True)\nos._exit(2)", "exit"),
        ("python", "while True: pass", "timeout"),
        ("python", "import time\ntime.sleep(60)", "timeout"),
        ("python", "x = bytearray(1 << 32)", "memory"),
        ("python", "while True: print('a' * 1000)", "output_limit"),
        ("python", "import os, signal\nos.abort()", "crash"),
        ("python", "print(4)", "wrong"),
        ("python", "", "wrong"),
    ],
)
def test_why_a_case_failed(language: Language, program: str, reason: str) -> None:
    seconds = 0.3 if reason == "timeout" else 1.0
    (result,) = results(program, ("", "3"), language=language, wall_s=seconds, cpu_s=seconds)
    assert result.reason == reason, result


@pytest.mark.parametrize(
    "program",
    [
        "print(sum(map(int, input().split())))",
        "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
        "import sys\nfor line in sys.stdin:\n    print(sum(int(x) for x in line.split()), flush=True)",
        "def main():\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main()",
        "import sys\nsys.stdout.write(str(sum(map(int, sys.stdin.buffer.readline().split()))))",
        "import os\nos.write(1, b'%d' % sum(map(int, os.read(0, 99).split())))",
        "import threading\nt = threading.Thread(target=lambda: print(sum(map(int, input().split()))))\nt.start()\nt.join()",
        "import threading\nthreading.Thread(target=lambda: print(sum(map(int, input().split())))).start()",
        "import atexit\natexit.register(lambda: print(sum(map(int, input().split()))))",
        "import sys\nsys.setrecursionlimit(10**5)\nprint(sum(map(int, open(0).read().split())))\nsys.exit()",
        "print(sum(map(int, input().split())))\ntry:\n    input()\nexcept EOFError:\n    exit(0)",
    ],
)
def test_the_ways_in_which_programs_read_and_write(program: str) -> None:
    assert reasons(program, ("1 2\n", "3\n"), ("5 6", "11"), ("1 2\n", "4")) == ["pass", "pass", "wrong"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_that_reads_nothing_and_one_that_is_given_nothing(language: Language) -> None:
    prints = {"python": "print(3)", "cpp": '#include <cstdio>\nint main() { puts("3"); }', "javascript": "console.log(3)"}
    assert reasons(prints[language], ("x" * 5_000_000, "3"), ("", "3"), language=language) == ["pass", "pass"]


def test_much_input_and_much_output() -> None:
    numbers = " ".join(map(str, range(700_000)))
    assert len(numbers) > 4_500_000
    assert reasons("print(sum(map(int, input().split())))", (numbers, str(sum(range(700_000))))) == ["pass"]
    text = "x" * 99 + "\n"
    assert reasons("print(('x' * 99 + '\\n') * 10_000, end='')", ("", text * 10_000), output_kb=2000) == ["pass"]
    echo = "import sys\nfor line in sys.stdin:\n    sys.stdout.write(line)\n    sys.stderr.write(line)"
    assert reasons(echo, (text * 10_000, text * 10_000), output_kb=2000) == ["pass"], "while it reads, and on both streams"
    assert reasons(echo, (text * 10_000, text * 10_000), output_kb=100) == ["output_limit"]


def test_the_number_of_lines_is_exact() -> None:
    program = "for n in range(int(input())): print(n)"
    cases = [("3", "0\n1\n2\n"), ("2", "0\n1\n2\n"), ("4", "0\n1\n2\n"), ("3", "0\n1\n2"), ("0", "0")]
    assert reasons(program, *cases) == ["pass", "wrong", "wrong", "pass", "wrong"]


def test_whitespace() -> None:
    program = "print('1  2 ')\nprint()\nprint('3')\nprint()"
    expected = ["1  2 \n\n3\n\n", "1  2\n\n3", "1 2 3"]
    modes: tuple[Whitespace, ...] = ("exact", "lines", "tokens")
    passed = {
        mode: [each.passed for each in results(program, *(("", text) for text in expected), whitespace=mode)] for mode in modes
    }
    assert passed == {"exact": [True, False, False], "lines": [True, True, False], "tokens": [True, True, True]}


def test_no_case_prepares_the_next() -> None:
    program = "import os\nprint(os.path.exists('seen'))\nopen('seen', 'w').close()"
    assert reasons(program, ("", "False"), ("", "False"), ("", "True")) == ["pass", "pass", "wrong"]


def test_the_budget_is_for_all_cases() -> None:
    start = time.monotonic()
    cases = [("1", "1"), ("0", "0"), ("0", "0"), ("0", "0"), ("0", "0"), ("1", "1")]
    got = reasons("import time\nif input() == '0': time.sleep(9)\nprint(1)", *cases, wall_s=0.4, cpu_s=0.4, budget_s=0.88)
    assert got[:3] == ["pass", "timeout", "timeout"]
    assert got[-2:] == ["not_run", "not_run"]
    assert time.monotonic() - start < 12


def test_text_that_is_no_text() -> None:
    assert reasons("import os\nos.write(1, b'\\xff\\xfe')", ("", "3")) == ["wrong"]
    assert reasons("print(input())", ("\u00fc \U0001f600", "\u00fc \U0001f600")) == ["pass"]
    assert reasons("print('\ud800')", ("", "3")) == ["exception"]
    assert reasons("\x00", ("", "3")) in (["exception"], ["syntax_error"])
