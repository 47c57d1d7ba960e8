"""Run the tests of a ground truth on a candidate: scripts (asserts, check) and calls."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.programs.exam import PASS, Exam, TestResult
from rlvr.programs.forms import EXAM, Script
from rlvr.programs.proxies import RemoteName
from rlvr.sandbox.session import SessionEnded


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
    return {key: _lists(each) for key, each in value.items()} if isinstance(value, Mapping) else value
