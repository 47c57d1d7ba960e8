"""Scorers of Reasoning Gym's procedural tasks (Stojanovski et al. 2025, arXiv:2505.24760); needs the extra `reasoning_gym`."""

from __future__ import annotations

import ast
import builtins
import contextlib
import difflib
import importlib
import importlib.util
import inspect
import json
import math
import re
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from rlvr.answers.extract import EXTRACTORS, cut, find, opened
from rlvr.answers.numbers import parse_number
from rlvr.text import one_line
from rlvr.types import Problem, Span, Verdict
from rlvr.verifiers.base import Verifier, not_found, settle_places

NONSENSE = "no answer"
"""A scorer that gives this the full score checks nothing."""
MISSING = "needs the package reasoning-gym: pip install 'rlvr[reasoning_gym]'"

# Modules that a scorer may use, reviewed in version 0.1.25: magiccube and zss parse text with patterns and never evaluate it.
# Not sympy, which several scorers call: `parse_expr` and `sympify` evaluate text as Python.
_MODULES = {
    "", "abc", "builtins", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools",
    "heapq", "itertools", "json", "magiccube", "math", "numpy", "operator", "random", "re", "reasoning_gym", "string", "typing",
    "warnings", "zss",
}  # fmt: skip
_REFUSED = {
    "eval", "exec", "compile", "__import__", "open", "input", "getattr", "setattr", "globals", "locals", "vars",
}  # fmt: skip
# Python's int() reads 21_4 as 214, and so do scorers that call it; here it is a subscript.
_UNDERSCORE = re.compile(r"(?<=\d)_(?=\d)")
# Every comparison with NaN is false, so the scorer of complex_arithmetic finds it no worse than the right answer.
_NAN = re.compile(r"(?:nan[ij]?)+")


def installed() -> bool:
    return importlib.util.find_spec("reasoning_gym") is not None


def factory() -> Any:
    """The package's registry of tasks. Errors: `ValueError` when it is not installed."""
    if not installed():
        raise ValueError(MISSING)
    return importlib.import_module("reasoning_gym.factory")


@lru_cache(maxsize=256)
def refusal(task: str) -> str | None:
    """Why a task's scorer is not run on model text, or None. Found by static analysis of its code."""
    tasks = factory().DATASETS
    if task not in tasks:
        close = difflib.get_close_matches(task, tasks, 1, 0.3)
        return f"task={task}: there is no such task{f'; did you mean {close[0]}?' if close else ''}"
    if task == "composite":
        return "task=composite: is scored by other tasks; name one of them"
    found = next(_forbidden(tasks[task][0]), None)
    return f"task={task}: its scorer {found}, so it is not run on model text" if found else None


def _forbidden(task_class: Any) -> Iterator[str]:
    """What a scorer does that it must not, in all code of the package that it can reach.

    An attribute stands for every function of that name in the classes seen so far. `__init__` never sees the model's text, but
    the classes that it names may be asked for a score.
    """
    classes, seen = [task_class], set()
    waiting: list[Any] = [task_class.score_answer, *_named_classes(task_class.__init__)]
    while waiting:
        code = waiting.pop()
        if id(code) in seen:
            continue
        seen.add(id(code))
        if isinstance(code, type):
            classes.append(code)
            waiting += [each for each in map(_function, vars(code).values()) if each]
            waiting += [base for base in code.__mro__[1:] if _own(base)]
            continue
        for node in ast.walk(_tree(code)):
            if isinstance(node, ast.Attribute):
                waiting += [each for cls in classes if (each := _function(inspect.getattr_static(cls, node.attr, None)))]
            for name, value in _mentioned(node, code):
                origin = _origin(value)
                if (name in _REFUSED and origin in ("builtins", "io", "_io")) or origin not in _MODULES:
                    yield f"calls {name if origin in ('builtins', 'io', '_io') else origin} in {code.__qualname__}"
                waiting += _callables(value)


def _tree(code: types.FunctionType) -> ast.AST:
    """A function's syntax tree; an empty one for functions without source (made by `dataclass`)."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, SyntaxError):
        return ast.Module(body=[], type_ignores=[])


def _mentioned(node: ast.AST, code: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Name and value of what a node refers to: a global or builtin, a member of a module, or an import."""
    names = code.__globals__
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id, names.get(node.id, getattr(builtins, node.id, None))
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.attr, getattr(names.get(node.value.id), node.attr, None) if _own(names.get(node.value.id)) else None
    elif isinstance(node, ast.Import):
        yield from ((alias.name, types.ModuleType(alias.name)) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        place = importlib.util.resolve_name("." * node.level + (node.module or ""), names["__package__"])
        module = importlib.import_module(place) if place.startswith("reasoning_gym") else types.ModuleType(place)
        yield from ((alias.name, getattr(module, alias.name, module)) for alias in node.names)


def _named_classes(code: Any) -> list[type]:
    found = [value for node in ast.walk(_tree(code)) for _, value in _mentioned(node, code)] if _function(code) else []
    return [each for value in found for each in _callables(value) if isinstance(each, type)]


def _function(member: Any) -> types.FunctionType | None:
    """The function of the package that a member is or wraps (a property, a class method), or None."""
    member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    return member if isinstance(member, types.FunctionType) and _own(member) else None


def _callables(value: Any) -> list[Any]:
    """Functions and classes of the package that a value is or contains."""
    inside = (
        list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list | tuple | set) else [value]
    )
    return [each for each in inside if isinstance(each, type | types.FunctionType) and _own(each)]


def _origin(value: Any) -> str:
    """Top-level module of a module, function or class; empty for other values."""
    if isinstance(value, types.ModuleType):
        return value.__name__.split(".")[0]
    callables = type | types.FunctionType | types.BuiltinFunctionType
    return str(value.__module__ or "").split(".")[0] if isinstance(value, callables) else ""


def _own(value: Any) -> bool:
    return _origin(value) == "reasoning_gym"


@lru_cache(maxsize=64)
def _scorer(task: str, options: str) -> Any:
    reason = refusal(task)
    if reason:
        raise ValueError(reason)
    return factory().create_dataset(task, **{"seed": 0, "size": 1, **json.loads(options)}).score_answer


def score(task: str, options: Mapping[str, Any], entry: Mapping[str, Any], answer: str) -> float:
    """The score by the task's own scorer. Errors: `ValueError` for a task that is refused; whatever the scorer raises."""
    return _scorer(task, json.dumps(options))(answer, json.loads(json.dumps(entry)))


@lru_cache(maxsize=4096)
def _truth_problem(text: str) -> str | None:
    truth = json.loads(text)
    task, options, entry = truth.get("task"), truth.get("options") or {}, truth.get("entry")
    if not isinstance(task, str) or not isinstance(options, dict) or not isinstance(entry, dict):
        return "the truth's 'reasoning_gym' needs a 'task' and an 'entry' with question, answer and metadata"
    if not isinstance(entry.get("answer", 0), str | None):
        return f"task={task}: the entry's answer must be a text or null, got {entry.get('answer')!r:.60}"
    try:
        refused = refusal(task)
        if refused:
            return refused
        oracle = entry["answer"]
        for wrong in (NONSENSE, "0") if isinstance(oracle, str) and parse_number(oracle) else (NONSENSE,):
            with contextlib.suppress(ValueError, TypeError, KeyError, IndexError):  # a scorer may well choke on it
                if score(task, options, entry, wrong) >= 1.0:  # that of coin_flip gives them to any beginning of the answer
                    return f"task={task}: its scorer gives the full score to {wrong!r}"
        if isinstance(oracle, str) and not score(task, options, entry, oracle) >= 1.0:
            return f"task={task}: its scorer does not give the full score to its own answer {oracle[:60]!r}"
    except Exception as error:  # noqa: BLE001  a scorer that cannot read the truth may raise anything
        return f"task={task}: its scorer cannot use this entry ({type(error).__name__}: {one_line(error)[:100]})"
    return None


def _is_nan(answer: str) -> bool:
    return bool(_NAN.fullmatch(re.sub(r"[^a-z]", "", answer.lower())))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningGym(Verifier):
    """The score by the task's own scorer. It runs in a worker process, because it may hang.

    Tasks whose scorer evaluates text as Python (countdown, polynomial_multiplication, ...) are refused, and so are ground
    truths for which it gives the full score to nonsense, or less to its own answer. Reasons: `no_answer`, `unparsable` (the
    scorer raises), `wrong`, `partial`, `correct`; `bad_score` (an error) when it returns no number.
    """

    judges: ClassVar = "answer"
    needs: ClassVar = ("reasoning_gym",)

    extract: str | tuple[str, ...] = ("tag", "boxed")
    """Where the answer is: boxed, tag, hashes, phrase, number, whole; or several, tried in order; the last found counts."""
    tag: str = "answer"
    """Name of the tag for the extractor `tag`; a box inside it is opened."""
    partial: bool = False
    """Count scores below 1. Many scorers give part of the score to any answer, or to one that merely contains the right one."""

    def __post_init__(self) -> None:
        settle_places(self, EXTRACTORS)
        if not installed():
            raise ValueError(f"_target_=rlvr.verifiers.reasoning_gym.ReasoningGym: {MISSING}")

    def prepare(self) -> None:
        factory()

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        bad_truth = self.check_truth(problem.truth)
        if bad_truth:
            return Verdict.unscorable("bad_truth", bad_truth)
        return not_found(self.extract) if self._answer(completion) is None else None

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        early = self.quick(completion, problem)
        found = self._answer(completion)
        if early is not None or found is None:
            return early or not_found(self.extract)
        answer, span = found
        truth = problem.truth["reasoning_gym"]
        if _is_nan(answer) and not _is_nan(str(truth["entry"].get("answer"))):
            return Verdict.scored(0.0, "wrong", answer[:200], "not a number", span=span)
        try:
            given = score(truth["task"], truth.get("options") or {}, truth["entry"], answer)
        except MemoryError:
            raise  # the worker reports its memory limit
        except Exception as error:  # noqa: BLE001  caused by the answer: check_truth has run the scorer on this ground truth
            detail = f"the scorer raises {type(error).__name__}: {error}"[:200]
            return Verdict.scored(0.0, "unparsable", answer[:200], detail, span=span)
        if isinstance(given, bool) or not isinstance(given, int | float) or math.isnan(given):
            return Verdict.error("bad_score", f"task={truth['task']}: the scorer gives {given!r}"[:200])
        given = min(1.0, max(0.0, float(given)))
        reason = "correct" if given == 1.0 else "partial" if given and self.partial else "wrong"
        detail = f"the scorer of {truth['task']} gives {given:g}"
        return Verdict.scored(given if reason != "wrong" else 0.0, reason, answer[:200], detail, span=span)

    def _answer(self, completion: str) -> tuple[str, Span] | None:
        found = find(completion, self.extract, tag=self.tag, scope="after_think")
        if found is None:
            return None
        piece = found.last
        whole = re.fullmatch(r"\\boxed\s*\{(.*)\}", piece.text, re.DOTALL)
        inside = opened(piece)
        if inside:
            piece = inside[-1]
        elif whole:  # the braces inside do not balance
            piece = cut(piece.text, *whole.span(1), at=piece.start)
        return _UNDERSCORE.sub(" _ ", piece.text), found.place(piece)

    def check_truth(self, truth: Mapping[str, Any]) -> str | None:
        entry = truth.get("reasoning_gym")
        if not isinstance(entry, Mapping):
            return f"the truth has no object 'reasoning_gym' (it has: {', '.join(truth) or 'none'})"
        try:
            return _truth_problem(json.dumps(entry))
        except (TypeError, ValueError) as error:
            return f"the truth's 'reasoning_gym' is no plain data ({error})"
