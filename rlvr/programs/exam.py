"""A candidate examined: the tests run here, its answers come from its world."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlvr.programs.forms import BadTruth
from rlvr.programs.proxies import CandidateExit, RemoteObject, raised_here
from rlvr.sandbox.base import Limits, SandboxError
from rlvr.sandbox.inside.wire import NotPlain, Opaque, Reference
from rlvr.sandbox.sandbox import Sandbox
from rlvr.sandbox.session import CandidateSession, Raised, SessionEnded

_COLLECTIONS = (list, tuple, set, frozenset, deque)
_ITERATOR = type(iter([]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What became of one test."""

    reason: str
    """`pass`, `wrong`, `exception`, `syntax_error`, `not_run`, or how the world ended: `timeout`, `memory`, ..."""
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.reason == "pass"


PASS = TestResult(reason="pass")


class Exam:
    """One candidate. A world that ends in the middle of a test is replaced for the next one, while the budget lasts."""

    def __init__(
        self, sandbox: Sandbox, program: str, *, limits: Limits, budget_s: float, objects: bool = False, in_place: bool = False
    ) -> None:
        self._sandbox, self._program, self._limits = sandbox, program, limits
        self._left, self._objects, self._in_place = budget_s, objects, in_place
        self._world: CandidateSession | None = None
        self._hopeless: TestResult | None = None
        """Why no world can be made of this program."""
        self._failure: SandboxError | BadTruth | None = None
        self._lost: SessionEnded | None = None
        self._answered = False
        self.asked = False
        """The candidate has had a say in what happened."""
        self.exceptions: Mapping[str, type[Exception]] = {}
        """By the names of the candidate's classes, what stands for them in the tests."""

    def __enter__(self) -> Exam:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._world is not None and kind is not SandboxError:
            self._world.close()

    def ask(
        self,
        what: str,
        target: int | None,
        name: str | None,
        arguments: Sequence[Any] = (),
        keywords: Any = None,
        *,
        world: CandidateSession | None = None,
    ) -> Any:
        """A call into the world; `world`: the one that the target belongs to. Errors: built-in exceptions for the candidate's
        own, `CandidateExit`, `SessionEnded`, `BadTruth`, `SandboxError`; the last three are found if a test swallows them."""
        self.asked = True
        try:
            return self._ask(what, target, name, arguments, keywords or {}, world)
        except SessionEnded as error:
            self._lost = error
            raise
        except (SandboxError, BadTruth) as error:
            self._failure = error
            raise

    def _ask(
        self, what: str, target: Any, name: Any, arguments: Sequence[Any], keywords: Any, of: CandidateSession | None
    ) -> Any:
        world = self._opened()
        if of is not None and of is not world:
            raise SessionEnded("exit", "the world it belongs to is gone")
        given = [_bare(each, world) for each in arguments]
        named = {key: _bare(each, world) for key, each in keywords.items()}
        start = time.monotonic()
        try:
            value, after = world.ask(
                what, target, name, given, named, back=self._in_place and what == "call" and target is None
            )
        except Raised as error:
            raise raised_here(error, self.exceptions, iterating=name in ("__next__", "__anext__")) from error
        except SessionEnded:
            self._world = None
            raise
        except NotPlain as error:
            if "nested" in str(error) and self._answered:  # it may be the candidate that nested it
                raise CandidateExit(f"a value {error}") from error
            raise BadTruth(f"a test passes {error} to the candidate") from error
        finally:
            self._left -= time.monotonic() - world.waited - start
        self._answered = True
        for original, changed in zip(arguments, after or (), strict=False):
            _put_back(original, self._usable(changed))
        return self._usable(value)

    def swallowed(self) -> TestResult | None:
        """The end of a world since this was asked last. Errors: `SandboxError`, `BadTruth` that a test has swallowed."""
        lost, self._lost = self._lost, None
        if self._failure is not None:
            raise self._failure
        return None if lost is None else self.outcome_of(lost)

    def _opened(self) -> CandidateSession:
        if self._hopeless is not None:
            raise SessionEnded("exit", "the program could not be loaded")
        if self._left <= 0:
            if self._world is not None:
                self._world.close()
                self._world = None
            raise SessionEnded("timeout", "the time for all tests together is used up")
        if self._world is not None:
            return self._world
        start = time.monotonic()
        world = self._sandbox.load(self._program, limits=self._limits, objects=self._objects)
        try:
            world.loaded()
        except Raised as error:
            syntax = "SyntaxError" in error.names
            self._hopeless = TestResult(reason=error.ending or ("syntax_error" if syntax else "exception"), detail=str(error))
            world.close()
            raise SessionEnded("exit", "the program could not be loaded") from error
        except SessionEnded as error:
            self._hopeless = TestResult(reason=error.ending, detail=error.detail)
            raise
        finally:
            self._left -= time.monotonic() - world.waited - start
        self._world = world
        return world

    def _usable(self, value: Any) -> Any:
        """References as objects; those that nobody asked for are values that equal nothing."""
        if isinstance(value, Reference):
            if not self._objects or self._world is None:
                return Opaque(value.kind)
            return RemoteObject(partial(self.ask, world=self._world), value, self._world)
        if not self._objects:
            return value
        if type(value) in _COLLECTIONS:
            return type(value)(self._usable(each) for each in value)
        if type(value) is dict:
            return {self._usable(key): self._usable(each) for key, each in value.items()}
        return iter([self._usable(each) for each in value]) if type(value) is _ITERATOR else value

    def outcome_of(self, error: BaseException) -> TestResult:
        """Of a test that raised; what is no matter of the candidate's is raised again."""
        ours = isinstance(error, KeyboardInterrupt | MemoryError) and not isinstance(error.__cause__, Raised)
        if ours or isinstance(error, SandboxError | BadTruth):
            raise error
        if isinstance(error, ImportError) and not isinstance(error.__cause__, Raised):
            raise BadTruth(f"a test needs what is not installed here: {error}") from error
        if not self.asked:
            raise BadTruth(f"a test fails before it calls the candidate: {type(error).__name__}: {str(error)[:150]}") from error
        if self._hopeless is not None:
            return self._hopeless
        if isinstance(error, SessionEnded):
            return TestResult(
                reason="not_run" if self._left <= 0 and "together" in error.detail else error.ending, detail=error.detail
            )
        if isinstance(error.__cause__, Raised):
            return TestResult(reason=error.__cause__.ending or "exception", detail=str(error.__cause__)[:200])
        if isinstance(error, AssertionError):
            return TestResult(reason="wrong")
        return TestResult(reason="wrong", detail=f"{type(error).__name__}: {str(error)[:150]}")


def _bare(value: Any, world: CandidateSession) -> Any:
    """References to objects of the candidate's, at any depth, in the place of those objects."""
    if type(value) is RemoteObject:
        if value._rlvr_world is not world:
            raise SessionEnded("exit", "the world it belongs to is gone")
        return value._rlvr_reference
    if type(value) is Opaque:
        raise CandidateExit(f"{value} cannot be passed on")
    if type(value) in _COLLECTIONS:
        return type(value)(_bare(each, world) for each in value)
    if type(value) is dict:
        return {_bare(key, world): _bare(each, world) for key, each in value.items()}
    return value


def _put_back(original: Any, changed: Any) -> None:
    """What the candidate did to an argument."""
    if type(original) is not type(changed) or original == changed:
        return
    if isinstance(original, list):
        original[:] = changed
    elif isinstance(original, dict | set):
        original.clear()
        original.update(changed)
