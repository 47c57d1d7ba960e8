"""Attacks on the judge that must fail: objects equal to everything, exceptions, early exits, forged replies, odd values."""

from __future__ import annotations

import pytest
from examining import checked, reasons

from rlvr.programs.forms import BadTruth

ALWAYS = """
class Always:
    __slots__ = ()
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
    def __hash__(self): return 0
    def __bool__(self): return True
    def __len__(self): return 1
    def __sub__(self, other): return 0
    __rsub__ = __abs__ = __add__ = __radd__ = __sub__
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
"""


@pytest.mark.parametrize(
    "value",
    ["Always()", "[Always()]", "{1: Always()}", "(Always(),)", "iter([Always()])"]
    + [
        f"type('L', ({kind},), dict(Always.__dict__, __slots__=()))()"
        for kind in ("int", "str", "list", "dict", "float", "tuple")
    ],
)
@pytest.mark.parametrize(
    "tests",
    [
        [
            "assert f(1) == 2",
            "assert f(1) == [3]",
            "assert f(1) == {1: 7}",
            "assert not f(1) != (2,)",
            "assert 2 == f(1)",
            "assert list(f(1)) == [5]",
            "assert f(1) in [2, 3]",
        ],
        ["assert f(1).value == 2", "assert f(1)[0].value == 'x'"],
    ],
    ids=["plain data", "objects"],
)
def test_what_equals_everything_passes_nothing(value: str, tests: list[str]) -> None:
    assert set(reasons(f"{ALWAYS}\ndef f(x): return {value}", *tests)) <= {"wrong", "exception"}


def test_two_objects_of_the_candidates_are_as_equal_as_it_says() -> None:
    """Some tests cannot be written in any other way."""
    program = f"{ALWAYS}\nclass Stack(Always):\n    def push(self, x): return self"
    assert reasons(program, "assert Stack().push(1) == Stack().push(2)") == ["pass"]
    assert reasons(program, "assert Stack().push(1).size == 1", "assert Stack().pop() == 1") == ["wrong", "wrong"]


def test_no_object_is_close_to_plain_data() -> None:
    program = f"{ALWAYS}\nclass Point(Always):\n    pass\nclass Pair:\n    pass"
    near = [
        "assert abs(Point().x - 2) < 1e-6",
        "assert Point().x > 5",
        "assert 5 < Point().x <= 9",
        "assert Point().x >= Point().y",
    ]
    assert reasons(program, *near[:3]) == ["wrong"] * 3
    assert reasons(program, near[3]) == ["pass"], "as the object says"
    assert reasons(program, "assert Pair() < Pair()", "assert Pair() + 1") == ["exception"] * 2, "it has no such method"


@pytest.mark.parametrize(
    ("raises", "expected", "passes"),
    [
        ("ValueError", "ValueError", True),
        ("KeyError", "LookupError", True),
        ("UnicodeDecodeError('a', b'', 0, 1, '')", "ValueError", True),
        ("ValueError", "Exception", True),
        ("ValueError", "(TypeError, ValueError)", True),
        ("ValueError", "TypeError", False),
        ("AssertionError", "ValueError", False),
        ("SystemExit", "Exception", False),
        ("KeyboardInterrupt", "Exception", False),
        ("SystemExit", "ValueError", False),
        ("GeneratorExit", "Exception", False),
        ("MemoryError", "ValueError", False),
        ("type('ValueError', (Exception,), {})", "ValueError", False),
        ("type('Mine', (ValueError,), {})", "ValueError", True),
    ],
)
def test_exceptions_that_a_test_expects(raises: str, expected: str, passes: bool) -> None:
    program = f"def f(x):\n    raise {raises}"
    test = f"try:\n    f(1)\nexcept {expected}:\n    pass\nelse:\n    assert False"
    assert (reasons(program, test) == ["pass"]) is passes
    assert (checked(program, f"try:\n    candidate(1)\n    assert False\nexcept {expected}:\n    pass") == ["pass"]) is passes


@pytest.mark.parametrize(
    "program", ["def f(x): return x", "import os\ndef f(x): os._exit(0)", "import time\ndef f(x): time.sleep(9)", "x = ("]
)
@pytest.mark.parametrize("handler", ["except ValueError", "except Exception", "except BaseException", "except"])
def test_what_does_not_raise_as_expected_fails(program: str, handler: str) -> None:
    """Even where the test catches everything: the end of a session is no exception of the candidate."""
    body = f"try:\n    f(1)\n    wrong = True\n{handler}:\n    wrong = False\nassert not wrong"
    assert reasons(program, body, wall_s=0.2, budget_s=0.8) != ["pass"]
    assert checked(program, body.replace("f(1)", "candidate(1)"), wall_s=0.2, budget_s=0.8) != ["pass"]


def test_stopping_an_iteration_ends_none_of_the_tests() -> None:
    program = "def f(x): raise StopIteration\ndef g(x): raise StopAsyncIteration"
    tests = ["assert all(map(f, [1, 2]))", "assert all(f(x) == 1 for x in [1])", "assert list(zip(map(f, [1]), [2])) == []"]
    assert reasons(program, *tests) == ["exception"] * 3
    iterates = "class Count:\n    n = 0\n    def __iter__(self): return self\n    def __next__(self):\n        self.n += 1\n"
    iterates += "        if self.n > 3: raise StopIteration\n        return self.n"
    assert reasons(iterates, "assert list(Count()) == [1, 2, 3]", "c = Count()\nnext(c)\nassert next(c) == 2") == ["pass"] * 2


@pytest.mark.parametrize(
    "value",
    ["object()", "[object()]", "lambda: 1", "range(10 ** 15)", "functools.reduce(lambda x, _: [x], range(99), 1)", "open"],
)
def test_no_value_makes_the_ground_truth_look_bad(value: str) -> None:
    """A program that could have itself masked would lose nothing by it."""
    tests = ["assert f(f(1)) == 1", "assert f([[f(1)]]) == 1", "y = [f(1)]\nassert f(y) == 1", "assert f(x={1: f(1)}) == 1"]
    for test in tests:  # alone, so that each is the candidate's first call
        assert reasons(f"import functools\ndef f(x): return {value}", test) in (["wrong"], ["exception"])


@pytest.mark.parametrize(
    ("test", "setup", "says"),
    [
        ("assert f(1) == 2", "import nosuchmodule", "nosuchmodule"),
        ("import nosuchmodule\nassert f(1) == 2", "", "nosuchmodule"),
        ("assert f(1) == 2", "1 / 0", "ZeroDivisionError"),
        ("assert 1 / 0 == f(1)", "", "ZeroDivisionError"),
        ("assert f(object()) == 1", "", "an object of class object"),
        ("try:\n    f(object())\nexcept ValueError:\n    pass\nassert f(1)", "", "an object of class object"),
        ("try:\n    f(open)\nexcept BaseException:\n    assert True", "", "passes an object"),
    ],
)
def test_a_bad_ground_truth_is_no_fault_of_the_program(test: str, setup: str, says: str) -> None:
    with pytest.raises(BadTruth, match=says):
        reasons("def f(x): return 2", test, setup=setup)


def test_what_is_compared_is_never_told() -> None:
    """A program that looks at everything it can find where it runs sees neither tests nor expected values."""
    spy = """
import gc, sys
def f(x):
    seen, frame = [], sys._getframe()
    while frame:
        seen += [frame.f_locals, frame.f_globals]
        frame = frame.f_back
    return "zq" + str(40 + 1) in repr(seen) + repr(gc.get_objects())
"""
    assert reasons(spy, "assert f(1) is False", "assert f(2) != 'zq41'") == ["pass", "pass"]


def forge(*replies: str) -> str:
    lines = "\n".join(f"    send({reply})" for reply in replies)
    return f"""
import json, os, struct
def send(reply):
    data = json.dumps(reply).encode()
    os.write(3, struct.pack(">I", len(data)) + data)
def ahead():
{lines}
"""


@pytest.mark.parametrize("when", ["at once", "in a call"])
@pytest.mark.parametrize(
    "replies",
    [
        ["{'value': 1}"],
        ["{'loaded': True}", "{'value': 1}"],
        ["{'value': 1, 'to': n}" for n in range(3)],
        ["{'value': 1, 'to': None}"] * 5,
        ["{'raised': ['ValueError'], 'class': 'ValueError', 'text': '', 'ending': None}"],
        ["{'begun': True}"],
        ["[]"],
        ["'x'"],
        ["{}"],
    ],
)
def test_replies_written_ahead_of_the_question_count_for_nothing(replies: list[str], when: str) -> None:
    """Otherwise the answer to one question could be given when the next is asked."""
    replies = [reply.replace(" n}", f" {n}}}") for n, reply in enumerate(replies)]
    program = forge(*replies)
    program += "ahead()\ndef f(x): return 1" if when == "at once" else "def f(x):\n    if x == 1: ahead()\n    return 2"
    results = reasons(program, "assert f(1) == 2", "assert f(2) == 1", "assert f(3) == 1")
    earned = [0, 1, 1] if when == "at once" else [1, 0, 0]
    assert all(result != "pass" or due for result, due in zip(results, earned, strict=True))


def test_a_reply_of_a_wrong_form_is_an_answer_that_equals_nothing() -> None:
    program = """
import json, os, struct, sys
from rlvr.sandbox.inside import wire
honest = wire.dumps
wire.dumps = lambda reply: honest({**reply, **%s} if isinstance(reply, dict) else reply)
def f(x): return 1
"""
    for lie in (
        {"value": ["nonsense"]},
        {"value": ["ref", 0, "int"]},
        {"arguments": 5},
        {"arguments": ["l"], "value": 2},
        {"raised": 5},
    ):
        assert reasons(program % lie, "x = [1]\nf(x)\nassert f(x) == 2 and x == [3]") != ["pass"]
