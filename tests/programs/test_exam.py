"""Candidates tested in the real sandbox: which tests pass, which fail, and why."""

from __future__ import annotations

import time

import pytest
from examining import checked, reasons

from rlvr.programs.equality import same_value
from rlvr.programs.exam import Exam, TestResult, run_calls
from rlvr.sandbox.base import Limits
from rlvr.sandbox.shared import shared_sandbox

STACK = """
class Stack:
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x); return self
    def pop(self):
        if not self.items: raise IndexError("empty")
        return self.items.pop()
    def __len__(self): return len(self.items)
    def __eq__(self, other): return isinstance(other, Stack) and other.items == self.items
    def __iter__(self): return iter(self.items)
    def __contains__(self, x): return x in self.items
    def __getitem__(self, at): return self.items[at]
"""
TREE = """
class Node:
    def __init__(self, value, left=None, right=None): self.value, self.left, self.right = value, left, right
class Leaf(Node): pass
def total(node): return 0 if node is None else node.value + total(node.left) + total(node.right)
def build(values): return [Node(value) for value in values]
def leaf(): return Leaf(1)
def adder(n): return lambda x: x + n
"""


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        (
            "def f(x): return x * 2",
            ["assert f(1) == 2", "assert f('a') == 'aa'", "assert f(x=3) == 6", "assert f([1]) == [1, 1]"],
        ),
        ("def f(x): return {x, 1}", ["assert set(f(2)) == {1, 2}", "assert sorted(f(0)) == [0, 1]", "assert len(f(1)) == 1"]),
        (
            "def f(x): return x / 3",
            ["assert math.isclose(f(1), 1 / 3)", "assert abs(f(2) - 0.667) < 1e-3", "assert f(1) == 1/3"],
        ),
        ("def f(x): return (y for y in x)", ["assert list(f([1, 2])) == [1, 2]", "assert next(f('a')) == 'a'"]),
        ("def f(x): return x.items()", ["assert dict(f({1: 2})) == {1: 2}", "assert (1, 2) in f({1: 2})"]),
        (
            "import collections\ndef f(x): return collections.Counter(x)",
            ["assert f('aab') == {'a': 2, 'b': 1}", "assert f('')['x'] == 0"],
        ),
        (
            "def f(x):\n    if x < 0: raise ValueError('no')\n    return x",
            ["try:\n    f(-1)\n    assert False\nexcept ValueError as e:\n    assert str(e) == 'no'"],
        ),
        (
            "def f(x): x.sort(); x.append(9)",
            ["x = [2, 1]\nf(x)\nassert x == [1, 2, 9]", "y = [0]\nassert f(y) is None\nassert y == [0, 9]"],
        ),
        ("def f(x): x['k'] = 1", ["x = {'a': 0}\nf(x)\nassert x == {'a': 0, 'k': 1}", "x = {}\nf(x)\nassert x['k'] == 1"]),
        ("def f(x): return 10 ** x", ["assert f(5000) == 10 ** 5000", "assert f(0) is not None"]),
        (
            STACK,
            ["s = Stack()\ns.push(1).push([2])\nassert s.pop() == [2]\nassert list(s) == [1] and 1 in s and s[0] == 1"],
        ),
        (STACK, ["assert Stack().push(1) == Stack().push(1)", "assert Stack().push(1) != Stack()", "assert not Stack()"]),
        (
            STACK,
            [
                "try:\n    Stack().pop()\n    assert False\nexcept IndexError:\n    pass",
                "s = Stack()\ns.items = [7]\nassert s.pop() == 7",
            ],
        ),
        (
            TREE,
            [
                "assert total(Node(1, Node(2), Node(3))) == 6",
                "assert Node(1, left=Node(2)).left.value == 2",
                "assert total(None) == 0",
            ],
        ),
        (
            TREE,
            [
                "root = Node(1)\nroot.left = Node(2)\nassert total(root) == 3",
                "assert [n.value for n in build([1, 2])] == [1, 2]",
            ],
        ),
        (TREE, ["node = Node(1)\nseen = 0\nwhile node:\n    seen += node.value\n    node = node.left\nassert seen == 1"]),
        (TREE, ["assert isinstance(leaf(), Leaf)", "assert isinstance(leaf(), Node)", "assert not isinstance(Node(1), Leaf)"]),
        (
            TREE,
            [
                "assert adder(2)(3) == 5",
                "g = adder(1)\nassert g(1) == 2",
                "a, b = build([1, 2])\nassert total(a) + total(b) == 3",
            ],
        ),
        (
            "class Odd(Exception): pass\ndef f(x): raise Odd('x')",
            ["try:\n    f(1)\n    assert False\nexcept Odd as e:\n    assert str(e) == 'x'"],
        ),
        ("def f(n):\n    return n and f(n - 1)", ["assert f(800) == 0"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_right_programs_pass(program: str, tests: list[str]) -> None:
    assert reasons(program, *tests) == ["pass"] * len(tests)


@pytest.mark.parametrize(
    ("program", "test", "reason"),
    [
        ("def f(x): return x", "assert f(1) == 2", "wrong"),
        ("def g(x): return x", "assert f(1) == 2", "exception"),
        ("def f(x: return", "assert f(1) == 2", "syntax_error"),
        ("raise ValueError", "assert f(1) == 2", "exception"),
        ("def f(x): return 1 / 0", "assert f(1) == 2", "exception"),
        ("def f(x): raise AssertionError", "assert f(1) == 2", "exception"),
        ("def f(x): raise SystemExit", "assert f(1) == 2", "exception"),
        ("def f(x): raise KeyboardInterrupt", "assert f(1) == 2", "exception"),
        ("import os\ndef f(x): os._exit(0)", "assert f(1) == 2", "exit"),
        ("import os\nos._exit(0)", "assert f(1) == 2", "exit"),
        ("raise SystemExit(0)", "assert f(1) == 2", "exception"),
        ("def f(x):\n    while True: pass", "assert f(1) == 2", "timeout"),
        ("while True: pass", "assert f(1) == 2", "timeout"),
        ("import time\ndef f(x): time.sleep(60)", "assert f(1) == 2", "timeout"),
        ("def f(x): return bytearray(1 << 30)", "assert f(1) == 2", "memory"),
        ("def f(x): return 'a' * (5 << 20)", "assert f(1) == 2", "output_limit"),
        ("def f(x): return f(x)", "assert f(1) == 2", "exception"),
        ("def f(x):\n    y = []\n    y.append(y)\n    return y", "assert f(1) == 2", "wrong"),
        ("def f(x):\n    for _ in range(100_000): x = [x]\n    return x", "assert f(1) == 2", "wrong"),
        ("class E(Exception):\n    def __str__(self): raise SystemExit\ndef f(x): raise E", "assert f(1) == 2", "exception"),
        ("class E(BaseException):\n    __name__ = 3\ndef f(x): raise E('x' * 10**6)", "assert f(1) == 2", "exception"),
        (
            "class M(type):\n    def mro(c): return [c, Exception, BaseException, object]\n"
            "class E(Exception, metaclass=M): pass\ndef f(x): raise E",
            "assert f(1) == 2",
            "exception",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_why_a_test_failed(program: str, test: str, reason: str) -> None:
    start = time.monotonic()
    wall_s = 0.3 if reason == "timeout" else 1.0
    assert reasons(program, test, wall_s=wall_s, budget_s=3 * wall_s) == [reason]
    assert time.monotonic() - start < 15 * wall_s


def test_each_assert_of_a_check_is_a_test() -> None:
    body = (
        "assert candidate(1) == 1\nassert candidate(2) == 0, 'two'\nfor i in range(3):\n    assert candidate(i) == i\nassert 1"
    )
    assert checked("def f(x): return x", body) == ["pass", "wrong", "pass"]
    assert checked("def f(x): return 0 if x == 1 else x", body) == ["wrong", "wrong", "wrong"], "in a loop every time"
    assert checked("def f(x): return x + 0 // (x - 2)", body) == ["pass", "exception", "exception"]


def test_an_assert_that_is_never_reached_fails() -> None:
    body = "for x in candidate(3):\n    assert x > 0\nif candidate(0):\n    assert candidate(1) == [1]"
    assert checked("def f(x): return []", body) == ["not_run", "not_run"]
    assert checked("def f(x): return [x + 1]", body) == ["pass", "wrong"]
    body = "x = candidate(1)[5]\nassert candidate(1) == [1]\nassert candidate(2)"
    assert checked("def f(x): return [x]", body) == ["wrong", "wrong"]


def test_asserts_that_must_not_be_reached() -> None:
    body = "try:\n    candidate(-1)\n    assert False, 'should raise'\nexcept ValueError:\n    pass\nassert candidate(1) == 1"
    assert checked("def f(x):\n    if x < 0: raise ValueError\n    return x", body) == ["pass", "pass"]
    assert checked("def f(x): return x", body) == ["wrong", "pass"]
    assert checked("def f(x): raise TypeError", body) == ["exception", "exception"]
    assert checked("import os\ndef f(x): os._exit(0)", body) == ["exit", "exit"]


def test_the_preambles_helpers_stay_ours() -> None:
    """As in HumanEval/32, where the check measures the answer by a helper that the program has a copy of."""
    preamble = "def poly(x):\n    return 3 * x - 6\n\ndef f():\n    ''' The zero of poly. '''\n"
    body = "assert abs(poly(candidate())) < 1e-6\nassert f() == 2"
    assert checked(f"{preamble}    return 2", body, preamble=preamble) == ["pass", "pass"]
    assert checked(f"{preamble}    return 5\ndef poly(x): return 0", body, preamble=preamble) == ["wrong", "wrong"]


def test_helpers_and_names() -> None:
    setup = "import math\nBASE = [1, 2]\ndef close(a, b):\n    return abs(a - b) < 0.1"
    assert reasons("def f(x): return 0.99", "assert close(f(BASE), math.cos(0))", setup=setup) == ["pass"]
    assert reasons("def close(a, b): return True\ndef f(x): return 5", "assert close(f(1), 1)", setup=setup) == ["wrong"]
    assert reasons("def sum(x): return 7", "assert sum([1]) == 7", names=["sum"]) == ["pass"]
    assert reasons("def f(x): return x", "assert sum([f(1)]) == 1", "assert bisect.bisect([1], f(0)) == 0") == ["pass"] * 2
    assert reasons("def bisect(x): return x", "assert bisect(1) == 1") == ["pass"]


def test_after_a_session_has_ended_the_next_test_has_a_new_one() -> None:
    program = "import os, time\nn = 0\ndef f(x):\n    global n\n    n += 1\n    if x == 0: os._exit(0)\n"
    program += "    if x == 1: time.sleep(9)\n    return n"
    tests = ["assert f(2) == 1", "assert f(0) == 1", "assert f(2) == 1", "assert f(1) == 2", "assert f(2) == 1"]
    assert reasons(program, *tests, wall_s=0.3) == ["pass", "exit", "pass", "timeout", "pass"]
    assert checked(program, "\n".join(tests).replace("f(", "candidate("), wall_s=0.3) == [
        "pass",
        "exit",
        "pass",
        "timeout",
        "pass",
    ]


def test_objects_of_a_session_that_has_ended_are_gone() -> None:
    program = "import os\nclass A:\n    def __init__(self, x): self.x = x\n    def die(self): os._exit(0)"
    body = "a = candidate(1)\nassert a.x == 1\nassert a.die()\nb = candidate(2)\nassert a.x == 2\nassert b.x == 2"
    assert checked(program, body, entry_point="A") == ["pass", "exit", "exit", "pass"]


@pytest.mark.slow
def test_infinite_loops_cost_the_budget_and_no_more() -> None:
    loops = [f"assert f({n}) == 1" for n in range(10)]
    results = reasons("def f(x):\n    while True: pass", *loops, wall_s=0.3, budget_s=0.75)
    assert results in (["timeout"] * 3 + ["not_run"] * 7, ["timeout"] * 2 + ["not_run"] * 8)
    sleeps = [f"assert f({n}) == 1" for n in range(30)]
    start = time.monotonic()
    results = reasons("import time\ndef f(x): time.sleep(0.2)", *sleeps, wall_s=1.0, budget_s=1.0)
    assert results.count("not_run") >= 24, "a program that only waits uses the time up as well"
    assert time.monotonic() - start < 6, "30 of them would take that long"


def test_calls() -> None:
    rows = [
        {"args": [1, [2]], "expected": [1, [2], 0]},
        {"args": [1], "kwargs": {"b": 2, "c": None}, "expected": [1, 2, None]},
        {"args": (1, True), "expected": [1, 1, 0]},
        {"expected": 1},
    ]

    def run(program: str) -> list[TestResult]:
        with Exam(shared_sandbox(), program, limits=Limits(), budget_s=5) as exam:
            return run_calls(exam, "f", rows, same_value)

    results = run("def f(a, b, c=0): return a, b, c")
    assert [each.reason for each in results] == ["pass", "pass", "wrong", "exception"]
    assert "True" in results[2].detail
    assert "missing" in results[3].detail
    assert [each.reason for each in run("x = 1")] == ["exception"] * 4
    assert [each.reason for each in run("def f(*a, **k): return 10 ** 5000")] == ["wrong"] * 4
