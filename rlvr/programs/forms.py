"""The forms of tests that a ground truth may hold, read and checked before any candidate is seen.

- `{"asserts": ["assert f(1) == 2", ...], "setup": "", "names": ["f"]}` (MBPP): one test each. The candidate is to define what
  the tests use and do not define, and `names`, which is only needed where a name hides a built-in one.
- `{"check": "def check(candidate): ...", "entry_point": "f", "preamble": "..."}` (HumanEval): each assert in `check` is a test,
  passed when it is reached and holds every time; an `assert False` after what should raise, when it is never reached.
- `{"entry_point": "f", "calls": [{"args": [...], "kwargs": {...}, "expected": ...}]}`: compared strictly by type.
- `{"cases": [{"stdin": "...", "stdout": "..."}]}` (CodeContests, APPS, LiveCodeBench): whole programs.

Any of them may have `weights`, one for each test.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any, Literal

from rlvr.programs.syntax import UNPARSABLE, parse
from rlvr.programs.uses import exceptions, functions_passed, imports_and_names, in_place, objects, tests_something
from rlvr.text import one_line

Form = Literal["asserts", "check", "calls", "cases"]
FORMS: tuple[Form, ...] = ("asserts", "check", "calls", "cases")
EXAM = "__exam__"
"""The name under which a rewritten `check` finds the record of results."""
_RECORDED = f"""
try:
    {EXAM}.record({{n}}, None)
except BaseException as __error__:
    {EXAM}.failed({{n}}, __error__)
"""


class BadTruth(ValueError):
    """The tests cannot be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Tests that are code, compiled."""

    names: tuple[str, ...]
    """What the candidate is to define."""
    setup: CodeType
    """Run before the first test, with proxies for `names`."""
    steps: tuple[CodeType, ...]
    """Run one after the other."""
    recorded: bool
    """The steps record each test under its number; otherwise a step is a test, passed when it does not raise."""
    tests: int
    objects: bool
    """The tests make or look into objects of the candidate's classes."""
    in_place: bool
    """The tests check the effect on an argument."""
    exceptions: tuple[str, ...] = ()
    """Those of `names` that are exceptions which the tests expect."""
    never: tuple[int, ...] = ()
    """Numbers of the tests `assert False`, which pass when they are never reached."""


def form_of(truth: Mapping[str, Any]) -> Form | None:
    """The form of a ground truth; None: no tests of programs. (`calls` without `entry_point` belong to `FunctionCall`.)"""
    found: Form | None = next((form for form in FORMS if form in truth), None)
    return None if found == "calls" and "entry_point" not in truth else found


def n_tests(truth: Mapping[str, Any]) -> int:
    """The number of tests. Errors: `BadTruth` where they cannot be run, or there are none."""
    form = form_of(truth)
    if form is None:
        raise BadTruth(f"the ground truth has none of the keys {', '.join(FORMS)} (it has: {', '.join(truth) or 'none'})")
    n = script_of(truth).tests if form in ("asserts", "check") else len(rows_of(truth, form))
    if not n:
        raise BadTruth(f"the ground truth's {form} hold no test")
    weights = truth.get("weights")
    if weights is not None:
        sound = _is_list(weights) and len(weights) == n and all(_is_weight(each) for each in weights) and sum(weights) > 0
        if not sound:
            raise BadTruth(f"the ground truth's weights {str(weights)[:60]} are not {n} numbers from 0, one above 0")
    return n


def rows_of(truth: Mapping[str, Any], form: str) -> Sequence[Mapping[str, Any]]:
    """The rows of `cases` or `calls`. Errors: `BadTruth`."""
    rows = truth[form]
    if not _is_list(rows) or not all(isinstance(row, Mapping) for row in rows):
        raise BadTruth(f"the ground truth's {form} are not a list of objects")
    for number, row in enumerate(rows):
        if form == "cases" and not (isinstance(row.get("stdin", ""), str) and isinstance(row.get("stdout"), str)):
            raise BadTruth(f"the ground truth's cases[{number}] needs strings stdin and stdout")
        if form == "calls" and not ("expected" in row and _is_list(row.get("args", ()))):
            raise BadTruth(f"the ground truth's calls[{number}] needs a list args and a value expected")
        if not isinstance(row.get("kwargs", {}), Mapping):
            raise BadTruth(f"the ground truth's calls[{number}].kwargs are not an object")
    return rows


def script_of(truth: Mapping[str, Any]) -> Script:
    """The script of `asserts` or `check`. Errors: `BadTruth`."""
    if "asserts" in truth:
        asserts, names = truth["asserts"], truth.get("names")
        for key, value in (("asserts", asserts), ("names", names if names is not None else ())):
            if not _is_list(value) or not all(isinstance(each, str) for each in value):
                raise BadTruth(f"the ground truth's {key} are not a list of strings")
        return _asserts(tuple(asserts), _text(truth, "setup"), None if names is None else tuple(names))
    return _check(_text(truth, "check"), _text(truth, "entry_point"), _text(truth, "preamble"))


@lru_cache(maxsize=4096)
def _asserts(asserts: tuple[str, ...], setup: str, names: tuple[str, ...] | None) -> Script:
    trees = [_parse(text, f"asserts[{number}]") for number, text in enumerate(asserts)]
    for number, tree in enumerate(trees):
        if not any(isinstance(node, ast.Assert | ast.Raise | ast.With) for node in ast.walk(tree)):
            raise BadTruth(f"the ground truth's asserts[{number}] asserts nothing: {asserts[number][:60]!r}")
    before = _parse(setup, "setup")
    everything = [before, *trees]
    imports, free = imports_and_names(everything, names or ())
    wanted = tuple(dict.fromkeys((*(names or ()), *free)))
    for number, tree in enumerate(trees):
        if not wanted or not tests_something(tree, wanted):
            raise BadTruth(
                f"the ground truth's asserts[{number}] uses nothing that a candidate could define: {asserts[number][:60]!r}"
            )
    _check_arguments(everything, wanted)
    return Script(
        names=wanted,
        setup=_compiled(ast.Module(body=[*imports, *before.body], type_ignores=[]), "setup"),
        steps=tuple(_compiled(tree, f"asserts[{number}]") for number, tree in enumerate(trees)),
        recorded=False,
        tests=len(trees),
        objects=objects(everything, wanted),
        in_place=in_place(everything, wanted),
        exceptions=exceptions(everything, wanted),
    )


@lru_cache(maxsize=4096)
def _check(check: str, entry_point: str, preamble: str) -> Script:
    """The preamble's helpers run here, even where the candidate redefines them."""
    tree, before = _parse(check, "check"), _parse(preamble, "preamble")
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    if len(functions) != 1 or not entry_point.isidentifier():
        raise BadTruth("the ground truth needs one function check(candidate) and the name of the candidate as entry_point")
    rewriting = _Recording()
    functions[0].body = [rewriting.visit(statement) for statement in functions[0].body]
    imports, free = imports_and_names([before, tree], (entry_point, "candidate", "check", EXAM))
    names = (entry_point, *free)
    called = (*names, "candidate")
    _check_arguments([tree], called)
    body = [*imports, *before.body, *(node for node in tree.body if node is not functions[0]), functions[0]]
    step = _parse("check(candidate)", "check")
    return Script(
        names=names,
        setup=_compiled(ast.Module(body=body, type_ignores=[]), "check"),
        steps=(_compiled(step, "check"),),
        recorded=True,
        tests=rewriting.n,
        objects=objects([tree], called),
        in_place=in_place([tree], called),
        exceptions=exceptions([tree], names),
        never=tuple(rewriting.never),
    )


def _check_arguments(trees: Sequence[ast.Module], names: Sequence[str]) -> None:
    passed = functions_passed(trees, names)
    if passed is not None:
        raise BadTruth(f"tests pass one of their functions to the candidate, which cannot be sent: {passed[:60]}")


class _Recording(ast.NodeTransformer):
    """Makes every assert a separate test, which does not end the function when it fails. An assert of a true constant tests
    nothing; one of a false constant must never be reached."""

    def __init__(self) -> None:
        self.n = 0
        self.never: list[int] = []

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        if isinstance(node.test, ast.Constant):
            if node.test.value:
                return ast.copy_location(ast.Pass(), node)
            self.never.append(self.n)
        wrapped = ast.parse(_RECORDED.format(n=self.n)).body[0]
        self.n += 1
        assert isinstance(wrapped, ast.Try)
        call = wrapped.body[0].value  # pyright: ignore[reportAttributeAccessIssue]
        call.args[1] = node.test
        return ast.fix_missing_locations(ast.copy_location(wrapped, node))


def _parse(text: str, what: str) -> ast.Module:
    try:
        return parse(text.replace("\r\n", "\n"))
    except UNPARSABLE as error:
        raise BadTruth(f"the ground truth's {what} is not valid Python: {one_line(error)[:200]}") from error


def _compiled(tree: ast.Module, what: str) -> CodeType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compile(tree, f"<{what}>", "exec", dont_inherit=True, optimize=0)  # asserts stay under python -O
    except (SyntaxError, ValueError, RecursionError) as error:
        raise BadTruth(f"the ground truth's {what} cannot be compiled: {error}") from error


def _text(truth: Mapping[str, Any], key: str) -> str:
    value = truth.get(key, "")
    if not isinstance(value, str):
        raise BadTruth(f"the ground truth's {key} is not a string: {str(value)[:60]!r}")
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
