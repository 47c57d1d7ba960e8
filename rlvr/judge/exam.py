"""A candidate examined: the tests run here, its answers come from its world."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.judge.forms import EXAM, BadTruth, Script
from rlvr.judge.remote import RemoteName, RemoteObject, raised_here
from rlvr.sandbox.base import Limits, SandboxError
from rlvr.sandbox.client import Sandbox
from rlvr.sandbox.inside.wire import NotPlain, Opaque, Reference
from rlvr.sandbox.world import Raised, World, WorldEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one test."""

    reason: str
    """`pass`, `wrong`, `exception`, `syntax_error`, `not_run`, or how the world ended: `timeout`, `memory`, ..."""
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.reason == "pass"


PASS = Outcome(reason="pass")


class Exam:
    """One candidate. A world that ends in the middle of a test is replaced for the next one, while the budget lasts."""

    def __init__(self, sandbox: Sandbox, program: str, *, limits: Limits, budget_s: float, objects: bool, in_place: bool) -> None:
        self._sandbox, self._program, self._limits = sandbox, program, limits
        self._left, self._objects, self._in_place = budget_s, objects, in_place
        self._world: World | None = None
        self._hopeless: Outcome | None = None
        """Why no world can be made of this program."""

    def __enter__(self) -> Exam:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._world is not None and kind is not SandboxError:
            self._world.close()

    def ask(self, what: str, target: int | None, name: str | None, arguments: Sequence[Any] = (), keywords: Any = None) -> Any:
        """A call into the world. Errors: built-in exceptions for the candidate's own, `WorldEnded`, `BadTruth`, `SandboxError`."""
        world = self._opened()
        start = time.monotonic()
        back = self._in_place and what == "call" and target is None
        try:
            given = [_bare(each) for each in arguments]
            value, after = world.ask(what, target, name, given, {k: _bare(v) for k, v in (keywords or {}).items()}, back=back)
        except Raised as error:
            raise raised_here(error) from error
        except WorldEnded:
            self._world = None
            raise
        except NotPlain as error:
            raise BadTruth(f"a test passes {error} to the candidate") from error
        finally:
            self._left -= time.monotonic() - start
        for original, changed in zip(arguments, after or (), strict=False):
            _put_back(original, changed)
        return self._usable(value)

    def _opened(self) -> World:
        if self._world is not None:
            return self._world
        if self._hopeless is not None:
            raise WorldEnded("exit", "the program could not be loaded")
        if self._left <= 0:
            raise WorldEnded("timeout", "the time for all tests together is used up")
        start = time.monotonic()
        world = self._sandbox.load(self._program, limits=self._limits, objects=self._objects)
        try:
            world.loaded()
        except Raised as error:
            syntax = "SyntaxError" in error.names
            self._hopeless = Outcome(reason=error.ending or ("syntax_error" if syntax else "exception"), detail=str(error))
            world.close()
            raise WorldEnded("exit", "the program could not be loaded") from error
        except WorldEnded as error:
            self._hopeless = Outcome(reason=error.ending, detail=error.detail)
            raise
        finally:
            self._left -= time.monotonic() - start
        self._world = world
        return world

    def _usable(self, value: Any) -> Any:
        """References as objects; those that nobody asked for are values that equal nothing."""
        if isinstance(value, Reference):
            return RemoteObject(self.ask, value) if self._objects else Opaque(value.kind)
        if type(value) in (list, tuple) and self._objects:
            return type(value)(self._usable(each) for each in value)
        if type(value) is dict and self._objects:
            return {key: self._usable(each) for key, each in value.items()}
        return value

    def outcome_of(self, error: BaseException) -> Outcome:
        """Of a test that raised; what is no matter of the candidate's is raised again."""
        if isinstance(error, SandboxError | BadTruth | KeyboardInterrupt | MemoryError) and error.__cause__ is None:
            raise error
        if self._hopeless is not None:
            return self._hopeless
        if isinstance(error, WorldEnded):
            return Outcome(reason="not_run" if self._left <= 0 and "together" in error.detail else error.ending, detail=error.detail)
        if isinstance(error.__cause__, Raised):
            return Outcome(reason=error.__cause__.ending or "exception", detail=str(error.__cause__)[:200])
        if isinstance(error, AssertionError):
            return Outcome(reason="wrong")
        return Outcome(reason="wrong", detail=f"{type(error).__name__}: {str(error)[:150]}")


class _Record:
    """What a rewritten `check` writes into."""

    def __init__(self, exam: Exam) -> None:
        self._exam = exam
        self.outcomes: dict[int, Outcome] = {}

    def record(self, number: int, value: Any) -> None:
        """A test in a loop has passed when it has passed every time."""
        passed = bool(value)
        if number not in self.outcomes or self.outcomes[number].passed:
            self.outcomes[number] = PASS if passed else Outcome(reason="wrong")

    def failed(self, number: int, error: BaseException) -> None:
        outcome = self._exam.outcome_of(error)
        if number not in self.outcomes or self.outcomes[number].passed:
            self.outcomes[number] = outcome


def run_script(exam: Exam, script: Script) -> list[Outcome]:
    """One outcome a test, in order. A test that was never reached has failed. Errors: `SandboxError`, `BadTruth`."""
    record = _Record(exam)
    namespace: dict[str, Any] = {}
    unreached = Outcome(reason="not_run")
    for number, step in enumerate(script.steps):
        try:
            if not namespace:
                namespace = _namespace(exam, script, record)
            exec(step, namespace)
            if not script.recorded:
                record.record(number, True)
        except BaseException as error:  # noqa: BLE001  tests raise what they like; ours is raised again by outcome_of
            outcome = exam.outcome_of(error)
            if script.recorded:
                unreached = outcome
            else:
                record.outcomes[number] = outcome
            if isinstance(error, WorldEnded):
                namespace = {}  # what it refers to is gone
    return [record.outcomes.get(number, unreached) for number in range(script.tests)]


def _namespace(exam: Exam, script: Script, record: _Record) -> dict[str, Any]:
    random.seed(0)  # tests that draw numbers draw the same ones for everybody
    proxies = {name: RemoteName(exam.ask, name) for name in script.names}
    if "candidate" in proxies and len(script.names) > 1:
        proxies["candidate"] = proxies[script.names[1]]
    namespace: dict[str, Any] = {"__name__": "tests", EXAM: record, **proxies}
    exec(script.setup, namespace)
    namespace.update(proxies)  # a preamble defines the candidate too, as a function without a body
    return namespace


def run_calls(exam: Exam, entry_point: str, rows: Sequence[Mapping[str, Any]], same: Any) -> list[Outcome]:
    """`same(value, expected)` decides. Errors: `SandboxError`, `BadTruth`."""
    outcomes = []
    for row in rows:
        try:
            value = exam.ask("call", None, entry_point, _lists(row.get("args", ())), _lists(dict(row.get("kwargs", {}))))
            detail = f"got {value!r}"[:120]
            outcomes.append(PASS if same(value, row["expected"]) else Outcome(reason="wrong", detail=detail))
        except BaseException as error:  # noqa: BLE001  as above
            outcomes.append(exam.outcome_of(error))
    return outcomes


def _lists(value: Any) -> Any:
    """A truth is frozen, so its JSON lists are tuples."""
    if isinstance(value, list | tuple):
        return [_lists(each) for each in value]
    return {key: _lists(each) for key, each in value.items()} if isinstance(value, Mapping) else value


def _bare(value: Any) -> Any:
    """References to objects of the candidate's, at any depth, in the place of those objects."""
    if type(value) is RemoteObject:
        return value._rlvr_reference
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_bare(each) for each in value)
    return {key: _bare(each) for key, each in value.items()} if type(value) is dict else value


def _put_back(original: Any, changed: Any) -> None:
    """What the candidate did to an argument."""
    if type(original) is not type(changed) or original == changed:
        return
    if isinstance(original, list):
        original[:] = changed
    elif isinstance(original, dict | set):
        original.clear()
        original.update(changed)
