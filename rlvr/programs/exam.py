"""One candidate and its tests, a script (asserts, check) or calls. The tests run here; what they call runs in the sandbox."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlvr.programs.forms import EXAM, BadTruth, Script
from rlvr.programs.proxies import CandidateExit, RemoteName, RemoteObject, raised_here
from rlvr.sandbox.base import Limits, SandboxError
from rlvr.sandbox.inside.wire import NotPlain, Opaque, Reference
from rlvr.sandbox.sandbox import Sandbox
from rlvr.sandbox.session import CandidateSession, Raised, SessionEnded

_COLLECTIONS = (list, tuple, set, frozenset, deque)
_ITERATOR = type(iter([]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """How one test ended."""

    __test__ = False  # for pytest: no test class

    reason: str
    """`pass`, `wrong`, `exception`, `syntax_error`, `not_run`, or how the process ended: `timeout`, `memory`, ..."""
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.reason == "pass"


PASS = TestResult(reason="pass")


class Exam:
    """One candidate. When its session ends during a test, the next test gets a new one while the time budget lasts."""

    def __init__(
        self, sandbox: Sandbox, program: str, *, limits: Limits, budget_s: float, objects: bool = False, in_place: bool = False
    ) -> None:
        """objects, in_place: as in `Script`."""
        self._sandbox = sandbox
        self._program = program
        self._limits = limits
        self._left_s = budget_s
        self._objects = objects
        self._in_place = in_place
        self._session: CandidateSession | None = None
        self._load_failure: TestResult | None = None
        """Why the program cannot be loaded."""
        self._failure: SandboxError | BadTruth | None = None
        self._lost: SessionEnded | None = None
        self._answered = False
        self.asked = False
        """The candidate has been called."""
        self.exceptions: Mapping[str, type[Exception]] = {}
        """Stand-ins in the tests for the candidate's exception classes, by name."""

    def __enter__(self) -> Exam:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._session is not None and kind is not SandboxError:
            self._session.close()

    def ask(
        self,
        what: str,
        target: int | None,
        name: str | None,
        arguments: Sequence[Any] = (),
        keywords: Any = None,
        *,
        session: CandidateSession | None = None,
    ) -> Any:
        """`CandidateSession.ask`. `session`: the one that the target belongs to. Errors: built-in exceptions in place of the
        candidate's, `CandidateExit`, `SessionEnded`, `BadTruth`, `SandboxError`; `swallowed` finds the last three if a test
        catches them."""
        self.asked = True
        try:
            return self._ask(what, target, name, arguments, keywords or {}, session)
        except SessionEnded as error:
            self._lost = error
            raise
        except (SandboxError, BadTruth) as error:
            self._failure = error
            raise

    def _ask(
        self, what: str, target: Any, name: Any, arguments: Sequence[Any], keywords: Any, of: CandidateSession | None
    ) -> Any:
        session = self._opened()
        if of is not None and of is not session:
            raise SessionEnded("exit", "the process that it belongs to is gone")
        given = [_as_references(each, session) for each in arguments]
        named = {key: _as_references(each, session) for key, each in keywords.items()}
        back = self._in_place and what == "call" and target is None
        start = time.monotonic()
        try:
            value, after = session.ask(what, target, name, given, named, back=back)
        except Raised as error:
            raise raised_here(error, self.exceptions, iterating=name in ("__next__", "__anext__")) from error
        except SessionEnded:
            self._session = None
            raise
        except NotPlain as error:
            if "nested" in str(error) and self._answered:  # it may be the candidate that nested it
                raise CandidateExit(f"a value {error}") from error
            raise BadTruth(f"a test passes {error} to the candidate") from error
        finally:
            self._left_s -= time.monotonic() - session.waited - start
        self._answered = True
        for original, changed in zip(arguments, after or (), strict=False):
            _copy_into(original, self._as_proxies(changed))
        return self._as_proxies(value)

    def swallowed(self) -> TestResult | None:
        """The result where the session ended since the last call here, even if a test caught that. Errors: `SandboxError`,
        `BadTruth` that a test caught."""
        lost, self._lost = self._lost, None
        if self._failure is not None:
            raise self._failure
        return None if lost is None else self.result_of(lost)

    def _opened(self) -> CandidateSession:
        if self._load_failure is not None:
            raise SessionEnded("exit", "the program could not be loaded")
        if self._left_s <= 0:
            if self._session is not None:
                self._session.close()
                self._session = None
            raise SessionEnded("timeout", "the time for all tests together is used up")
        if self._session is not None:
            return self._session
        start = time.monotonic()
        session = self._sandbox.load(self._program, limits=self._limits, objects=self._objects)
        try:
            session.wait_until_loaded()
        except Raised as error:
            reason = error.ending or ("syntax_error" if "SyntaxError" in error.names else "exception")
            self._load_failure = TestResult(reason=reason, detail=str(error))
            session.close()
            raise SessionEnded("exit", "the program could not be loaded") from error
        except SessionEnded as error:
            self._load_failure = TestResult(reason=error.ending, detail=error.detail)
            raise
        finally:
            self._left_s -= time.monotonic() - session.waited - start
        self._session = session
        return session

    def _as_proxies(self, value: Any) -> Any:
        """`value` with references replaced by proxies, or by values that equal nothing where the tests do not use objects."""
        if isinstance(value, Reference):
            if not self._objects or self._session is None:
                return Opaque(value.kind)
            return RemoteObject(partial(self.ask, session=self._session), value, self._session)
        if not self._objects:
            return value
        if type(value) in _COLLECTIONS:
            return type(value)(self._as_proxies(each) for each in value)
        if type(value) is dict:
            return {self._as_proxies(key): self._as_proxies(each) for key, each in value.items()}
        if type(value) is _ITERATOR:
            return iter([self._as_proxies(each) for each in value])
        return value

    def result_of(self, error: BaseException) -> TestResult:
        """The result of a test that raised. Errors that are not the candidate's are raised again."""
        ours = isinstance(error, KeyboardInterrupt | MemoryError) and not isinstance(error.__cause__, Raised)
        if ours or isinstance(error, SandboxError | BadTruth):
            raise error
        if isinstance(error, ImportError) and not isinstance(error.__cause__, Raised):
            raise BadTruth(f"a test needs what is not installed here: {error}") from error
        if not self.asked:
            raise BadTruth(f"a test fails before it calls the candidate: {type(error).__name__}: {str(error)[:150]}") from error
        if self._load_failure is not None:
            return self._load_failure
        if isinstance(error, SessionEnded):
            used_up = self._left_s <= 0 and "together" in error.detail
            return TestResult(reason="not_run" if used_up else error.ending, detail=error.detail)
        if isinstance(error.__cause__, Raised):
            return TestResult(reason=error.__cause__.ending or "exception", detail=str(error.__cause__)[:200])
        if isinstance(error, AssertionError):
            return TestResult(reason="wrong")
        return TestResult(reason="wrong", detail=f"{type(error).__name__}: {str(error)[:150]}")


def _as_references(value: Any, session: CandidateSession) -> Any:
    """`value` with proxies of the candidate's objects replaced by references, at any depth."""
    if type(value) is RemoteObject:
        if value._rlvr_session is not session:
            raise SessionEnded("exit", "the process that it belongs to is gone")
        return value._rlvr_reference
    if type(value) is Opaque:
        raise CandidateExit(f"{value} cannot be passed on")
    if type(value) in _COLLECTIONS:
        return type(value)(_as_references(each, session) for each in value)
    if type(value) is dict:
        return {_as_references(key, session): _as_references(each, session) for key, each in value.items()}
    return value


def _copy_into(original: Any, changed: Any) -> None:
    """Change an argument as the candidate changed it."""
    if type(original) is not type(changed) or original == changed:
        return
    if isinstance(original, list):
        original[:] = changed
    elif isinstance(original, dict | set):
        original.clear()
        original.update(changed)


class _Record:
    """Collects the results of a rewritten `check`."""

    def __init__(self, exam: Exam) -> None:
        self._exam = exam
        self.results: dict[int, TestResult] = {}

    def record(self, number: int, value: Any) -> None:
        """A test in a loop passes when it passes every time."""
        passed = bool(value)
        self._note(number, self._exam.swallowed() or (PASS if passed else TestResult(reason="wrong")))

    def failed(self, number: int, error: BaseException) -> None:
        self._note(number, self._exam.result_of(error))
        self._exam.swallowed()

    def _note(self, number: int, result: TestResult) -> None:
        if number not in self.results or self.results[number].passed:
            self.results[number] = result


def run_script(exam: Exam, script: Script) -> list[TestResult]:
    """One result per test, in order. A test that is never reached fails. Errors: `SandboxError`, `BadTruth`."""
    record = _Record(exam)
    namespace: dict[str, Any] = {}
    ended: TestResult | None = None
    for number, step in enumerate(script.steps):
        try:
            if not namespace:
                namespace = _namespace(exam, script, record)
            exec(step, namespace)
            if not script.recorded:
                record.record(number, True)
            ended = exam.swallowed()
        except BaseException as error:  # noqa: BLE001  tests raise anything; our errors are raised again by result_of
            ended = exam.result_of(error)
            if not script.recorded:
                record.results[number] = ended
            if isinstance(error, SessionEnded):
                namespace = {}  # its objects are gone
            exam.swallowed()
    unreached = ended or TestResult(reason="not_run", detail="the tests ended without it")
    never = dict.fromkeys(script.never, ended or PASS)
    return [record.results.get(number, never.get(number, unreached)) for number in range(script.tests)]


def _namespace(exam: Exam, script: Script, record: _Record) -> dict[str, Any]:
    random.seed(0)  # tests that draw random numbers draw the same ones for every candidate
    exam.exceptions = {name: type(name, (Exception,), {}) for name in script.exceptions}
    proxies: dict[str, Any] = {name: RemoteName(exam.ask, name) for name in script.names} | dict(exam.exceptions)
    if script.recorded:
        proxies["candidate"] = proxies[script.names[0]]
    namespace: dict[str, Any] = {"__name__": "tests", EXAM: record, **proxies}
    exec(script.setup, namespace)
    namespace.update(proxies)  # a preamble also defines the candidate, as a function without a body
    return namespace


def run_calls(exam: Exam, entry_point: str, rows: Sequence[Mapping[str, Any]], same: Any) -> list[TestResult]:
    """One result per row, by `same(value, expected)`. Errors: `SandboxError`, `BadTruth`."""
    results = []
    for row in rows:
        try:
            value = exam.ask("call", None, entry_point, _lists(row.get("args", ())), _lists(dict(row.get("kwargs", {}))))
            passed = same(value, row["expected"])
            results.append(PASS if passed else TestResult(reason="wrong", detail=f"got {_shown(value)}"))
        except BaseException as error:  # noqa: BLE001  as above
            results.append(exam.result_of(error))
    return results


def _shown(value: Any) -> str:
    try:
        return repr(value)[:120]
    except ValueError:  # an integer of more digits than Python prints
        return f"a value of class {type(value).__name__}"


def _lists(value: Any) -> Any:
    """JSON lists as lists: a ground truth is frozen, so they are tuples."""
    if isinstance(value, list | tuple):
        return [_lists(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _lists(each) for key, each in value.items()}
    return value
