"""What a ground truth may hold: read before any candidate is seen, refused with a reason where it cannot be run."""

from __future__ import annotations

from typing import Any

import pytest

from rlvr.programs.forms import BadTruth, form_of, n_tests, script_of
from rlvr.types import frozen

CHECK = "def check(candidate):\n    assert candidate(1) == 2\n"


def truth_with_check(body: str, **more: Any) -> dict[str, Any]:
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    return {"check": f"def check(candidate):\n{lines}\n", "entry_point": "f", **more}


@pytest.mark.parametrize(
    ("truth", "form", "n"),
    [
        ({"asserts": ["assert f(1) == 2", "assert f(2) == 3"]}, "asserts", 2),
        ({"asserts": ["assert sum(1) == 2"], "names": ["sum"]}, "asserts", 1),
        ({"asserts": ["assert root.left.value == 2"], "setup": "root = Node(1)"}, "asserts", 1),
        ({"asserts": ["try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass"]}, "asserts", 1),
        ({"check": CHECK, "entry_point": "f"}, "check", 1),
        ({"check": CHECK, "entry_point": "f", "preamble": "def f(x):\n    ''' Double. '''\n"}, "check", 1),
        (truth_with_check("for i in range(3):\n    assert candidate(i) == i\nassert True, 'done'"), "check", 1),
        (truth_with_check("try:\n    candidate(-1)\n    assert False\nexcept ValueError:\n    pass"), "check", 1),
        ({"calls": [{"args": [1], "expected": 2}, {"expected": None}], "entry_point": "f"}, "calls", 2),
        ({"calls": [{"args": [], "kwargs": {"x": 1}, "expected": 2}], "entry_point": "f", "weights": [0.5]}, "calls", 1),
        ({"cases": [{"stdin": "1", "stdout": "2"}, {"stdout": ""}]}, "cases", 2),
        ({"cases": [{"stdout": "2"}, {"stdout": "3"}], "weights": [0, 3]}, "cases", 2),
    ],
)
def test_sound(truth: dict[str, Any], form: str, n: int) -> None:
    for given in (truth, frozen(truth)):
        assert form_of(given) == form
        assert n_tests(given) == n


def test_calls_without_an_entry_point_are_not_of_programs() -> None:
    assert form_of({"calls": [{"name": "f", "arguments": {}}], "tools": []}) is None
    assert form_of({"answer": "1"}) is None


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        ({}, "none of the keys asserts, check, calls, cases (it has: none)"),
        ({"answer": "1"}, "(it has: answer)"),
        ({"asserts": []}, "the ground truth's asserts hold no test"),
        ({"cases": []}, "the ground truth's cases hold no test"),
        ({"calls": [], "entry_point": "f"}, "the ground truth's calls hold no test"),
        (truth_with_check("pass"), "the ground truth's check hold no test"),
        (truth_with_check("assert True"), "the ground truth's check hold no test"),
        ({"asserts": "assert f(1)"}, "the ground truth's asserts are not a list of strings"),
        ({"asserts": [1]}, "the ground truth's asserts are not a list of strings"),
        ({"asserts": ["assert f(1)"], "names": "f"}, "the ground truth's names are not a list of strings"),
        ({"asserts": ["assert f(1"]}, "the ground truth's asserts[0] is not valid Python"),
        ({"asserts": ["assert f(1)", "f(2)"]}, "the ground truth's asserts[1] asserts nothing: 'f(2)'"),
        ({"asserts": ["assert f(1)", "assert True"]}, "asserts[1] uses nothing that a candidate could define: 'assert True'"),
        ({"asserts": ["assert abs(-1) == 1"]}, "asserts[0] uses nothing that a candidate could define"),
        ({"asserts": ["assert f(1)"], "setup": "import ("}, "the ground truth's setup is not valid Python"),
        ({"asserts": ["assert f(1)"], "setup": 3}, "the ground truth's setup is not a string: '3'"),
        ({"asserts": ["assert f(1)", "return f"]}, "asserts[1] asserts nothing"),
        ({"asserts": ["assert f(1)\nreturn"]}, "the ground truth's asserts[0] cannot be compiled: 'return' outside function"),
        (
            {"asserts": ["assert f(lambda x: x) == 1"]},
            "pass one of their functions to the candidate, which cannot be sent: lambda",
        ),
        ({"asserts": ["assert f(g) == 1"], "setup": "def g(): pass"}, "which cannot be sent: g"),
        ({"check": "def check(c:", "entry_point": "f"}, "the ground truth's check is not valid Python"),
        ({"check": "x = 1", "entry_point": "f"}, "needs one function check(candidate)"),
        ({"check": CHECK + CHECK, "entry_point": "f"}, "needs one function check(candidate)"),
        ({"check": CHECK}, "needs one function check(candidate) and the name of the candidate as entry_point"),
        ({"check": CHECK, "entry_point": "f()"}, "the name of the candidate as entry_point"),
        ({"check": CHECK, "entry_point": "f", "preamble": "def f(:"}, "the ground truth's preamble is not valid Python"),
        ({"check": ["x"], "entry_point": "f"}, "the ground truth's check is not a string"),
        ({"cases": {}}, "the ground truth's cases are not a list of objects"),
        ({"cases": ["1"]}, "the ground truth's cases are not a list of objects"),
        ({"cases": [{"stdin": "1"}]}, "the ground truth's cases[0] needs strings stdin and stdout"),
        ({"cases": [{"stdout": "1"}, {"stdin": 1, "stdout": "1"}]}, "the ground truth's cases[1] needs strings"),
        ({"calls": [{"args": [1]}], "entry_point": "f"}, "the ground truth's calls[0] needs a list args and a value expected"),
        ({"calls": [{"args": 1, "expected": 1}], "entry_point": "f"}, "the ground truth's calls[0] needs a list args"),
        (
            {"calls": [{"kwargs": [], "expected": 1}], "entry_point": "f"},
            "the ground truth's calls[0].kwargs are not an object",
        ),
        *(
            ({"cases": [{"stdout": "1"}, {"stdout": "2"}], "weights": weights}, "are not 2 numbers from 0, one above 0")
            for weights in ([1], [1, 2, 3], [0, 0], [1, -1], [1, True], [1, "2"], 3, [1, float("inf")], [1, float("nan")])
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_refused_with_a_reason(truth: dict[str, Any], says: str) -> None:
    for given in (truth, frozen(truth)):
        with pytest.raises(BadTruth) as refusal:
            n_tests(given)
        assert says in str(refusal.value)


def asserts(*texts: str, **more: Any) -> dict[str, Any]:
    return {"asserts": list(texts), **more}


@pytest.mark.parametrize(
    ("truth", "names"),
    [
        (asserts("assert f(1) == g(2)"), ("f", "g")),
        (asserts("assert sum(1) == 2", names=["sum"]), ("sum",)),
        (asserts("assert math.isclose(f(1), 2)"), ("f",)),
        (asserts("assert bisect([1], 1) == math.pi"), ("bisect",)),
        (asserts("assert queue(1) == 2", names=["queue"]), ("queue",)),
        (asserts("assert close(f(1), x)", setup="x = 1\ndef close(a, b): return abs(a - b) < 1"), ("f",)),
        (asserts("assert np.sum(f(1)) == 2", setup="import numpy as np"), ("f",)),
        (asserts("assert all(f(x) == y for x, y in [(1, 2)])"), ("f",)),
        (asserts("try:\n    f(1)\nexcept ValueError as error:\n    assert str(error) == ''"), ("f",)),
        (truth_with_check("assert candidate(1) == f(1)"), ("f",)),
        (truth_with_check("assert candidate(Node(1)) == 2"), ("f", "Node")),
        (truth_with_check("assert candidate(1) == help_(1)", preamble="def help_(x): return x"), ("f",)),
        (truth_with_check("assert math.isclose(candidate(1), 2)"), ("f",)),
    ],
)
def test_what_the_candidate_is_to_define(truth: dict[str, Any], names: tuple[str, ...]) -> None:
    assert script_of(truth).names == names


@pytest.mark.parametrize(
    ("truth", "objects"),
    [
        (asserts("assert f(1) == 2"), False),
        (asserts("assert f(1).strip() == 'a'"), False),
        (asserts("assert sorted(f(1)) == [2]", "assert set(f(2)) == {1}", "assert len(f(2)) == 1", "assert 3 in f(1)"), False),
        (asserts("x = f(1)\nx.sort()\nassert x == [1]"), False),
        (asserts("assert math.floor(f(1)) == 1"), False),
        (asserts("assert f(f(1)) == 2"), False),
        (asserts("assert isinstance(f(1), list)"), False),
        (asserts("assert f(1).value == 2"), True),
        (asserts("assert f(1)[0].left.value == 2"), True),
        (asserts("x = f(1)\nassert x.value == 2"), True),
        (asserts("a, b = f(1)\nassert a.value == 2"), True),
        (asserts("for x in f(1):\n    assert x.value == 2"), True),
        (asserts("assert [x.value for x in f(1)] == [2]"), True),
        (asserts("with f(1) as x:\n    assert x.value == 2"), True),
        (asserts("s = Stack()\ns.append(1)\nassert s.pop() == 1"), True),
        (asserts("assert Stack().pop() == 1"), True),
        (asserts("assert Split([1]) == [[1]]"), False),
        (asserts("assert [[1]] == Split([1])", "assert 1 in Split([1])"), False),
        (asserts("assert len(Stack()) == 0"), True),
        (asserts("assert Point(1) == Point(1)"), True),
        (asserts("assert Point(1) + Point(2) == 3"), True),
        (asserts("x = Stack()\nassert len(x) == 0"), True),
        (asserts("assert f(Pair(1, 2)) == 3"), True),
        (asserts("assert f([Pair(1, 2)], 3) == 3"), True),
        (asserts("assert f(x=Pair(1, 2)) == 3"), True),
        (asserts("assert g(f(1)) == 1"), True),
        (asserts("assert f(root) == 1", setup="root = Node(1)"), True),
        (asserts("assert root.value == 1", setup="root = Node(1)"), True),
        (asserts("assert isinstance(f(1), Node)"), True),
        (asserts("assert f(1)(2) == 3"), True),
        (asserts("g = f(1)\nassert g(2) == 3"), True),
        (truth_with_check("s = candidate()\nassert s.push(1) is None"), True),
        (truth_with_check("assert candidate('a').upper() == 'A'"), False),
    ],
    ids=lambda value: str(value)[:70],
)
def test_objects_stay_there_when_the_tests_look_into_them(truth: dict[str, Any], objects: bool) -> None:
    assert script_of(truth).objects is objects


@pytest.mark.parametrize(
    ("truth", "in_place"),
    [
        (asserts("assert f(1) == 2"), False),
        (asserts("x = [1]\nassert f(x) == sorted(x)"), False),
        (asserts("x = [1]\ny = f(x)\nassert y == x"), False),
        (asserts("x = [1]\nf(x)\nassert x == [1]"), True),
        (asserts("x = [1]\nassert f(x) is None\nassert x == [1]"), True),
        (asserts("x = [1]\ny = f(x)\nassert x == [1]"), True),
        (asserts("assert f(1) is None"), True),
        (truth_with_check("x = [1]\ncandidate(x)\nassert x == [1]"), True),
        (truth_with_check("x = [1]\nassert candidate(x) == f(x)"), False),
    ],
    ids=lambda value: str(value)[:70],
)
def test_arguments_come_back_when_the_tests_call_for_the_effect(truth: dict[str, Any], in_place: bool) -> None:
    assert script_of(truth).in_place is in_place


def test_constant_asserts() -> None:
    script = script_of(truth_with_check("assert True, 'x'\nassert candidate(1) == 2\nassert 1\nassert False\nassert 0, 'y'"))
    assert script.tests == 3
    assert script.never == (1, 2)
    assert script_of(truth_with_check("try:\n    candidate(1)\nexcept MyError:\n    assert candidate.n")).exceptions == (
        "MyError",
    )
