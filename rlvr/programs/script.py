"""The tests of a truth run on a candidate: scripts (asserts, check) and calls."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.programs.exam import PASS, Exam, TestResult
from rlvr.programs.forms import EXAM, Script
from rlvr.programs.proxies import RemoteName
from rlvr.sandbox.session import SessionEnded


class _Record:
    """What a rewritten `check` writes into."""

    def __init__(self, exam: Exam) -> None:
        self._exam = exam
        self.outcomes: dict[int, TestResult] = {}

    def record(self, number: int, value: Any) -> None:
        """A test in a loop has passed when it has passed every time."""
        passed = bool(value)
        self._note(number, self._exam.swallowed() or (PASS if passed else TestResult(reason="wrong")))

    def failed(self, number: int, error: BaseException) -> None:
        self._note(number, self._exam.outcome_of(error))
        self._exam.swallowed()

    def _note(self, number: int, outcome: TestResult) -> None:
        if number not in self.outcomes or self.outcomes[number].passed:
            self.outcomes[number] = outcome


def run_script(exam: Exam, script: Script) -> list[TestResult]:
    """One outcome a test, in order. A test that was never reached has failed. Errors: `SandboxError`, `BadTruth`."""
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
        except BaseException as error:  # noqa: BLE001  tests raise what they like; ours is raised again by outcome_of
            ended = exam.outcome_of(error)
            if not script.recorded:
                record.outcomes[number] = ended
            if isinstance(error, SessionEnded):
                namespace = {}  # what it refers to is gone
            exam.swallowed()
    unreached = ended or TestResult(reason="not_run", detail="the tests ended without it")
    never = dict.fromkeys(script.never, ended or PASS)
    return [record.outcomes.get(number, never.get(number, unreached)) for number in range(script.tests)]


def _namespace(exam: Exam, script: Script, record: _Record) -> dict[str, Any]:
    random.seed(0)  # tests that draw numbers draw the same ones for everybody
    exam.exceptions = {name: type(name, (Exception,), {}) for name in script.exceptions}
    proxies: dict[str, Any] = {name: RemoteName(exam.ask, name) for name in script.names} | dict(exam.exceptions)
    if script.recorded:
        proxies["candidate"] = proxies[script.names[0]]
    namespace: dict[str, Any] = {"__name__": "tests", EXAM: record, **proxies}
    exec(script.setup, namespace)
    namespace.update(proxies)  # a preamble defines the candidate too, as a function without a body
    return namespace


def run_calls(exam: Exam, entry_point: str, rows: Sequence[Mapping[str, Any]], same: Any) -> list[TestResult]:
    """`same(value, expected)` decides. Errors: `SandboxError`, `BadTruth`."""
    outcomes = []
    for row in rows:
        try:
            value = exam.ask("call", None, entry_point, _lists(row.get("args", ())), _lists(dict(row.get("kwargs", {}))))
            passed = same(value, row["expected"])
            outcomes.append(PASS if passed else TestResult(reason="wrong", detail=f"got {_shown(value)}"))
        except BaseException as error:  # noqa: BLE001  as above
            outcomes.append(exam.outcome_of(error))
    return outcomes


def _shown(value: Any) -> str:
    try:
        return repr(value)[:120]
    except ValueError:  # a number of more digits than Python writes
        return f"a value of class {type(value).__name__}"


def _lists(value: Any) -> Any:
    """A truth is frozen, so its JSON lists are tuples."""
    if isinstance(value, list | tuple):
        return [_lists(each) for each in value]
    return {key: _lists(each) for key, each in value.items()} if isinstance(value, Mapping) else value
