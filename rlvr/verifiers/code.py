"""Verifiers of programs: whether they pass the tests, and whether they are laid out as asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from rlvr.answers.extract import after_think
from rlvr.config.bounds import check_fields
from rlvr.programs import forms
from rlvr.programs.cases import COMPILE_S, Language, run_cases
from rlvr.programs.equality import Whitespace, same_value
from rlvr.programs.exam import Exam, TestResult, run_calls, run_script
from rlvr.programs.program import PLACES, Place, Program, blocks, program_of, trimmed
from rlvr.programs.syntax import UNPARSABLE, parse
from rlvr.sandbox.base import Limits, SandboxError
from rlvr.sandbox.shared import shared_sandbox
from rlvr.text import one_line
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier, not_found, settle_places


@dataclass(frozen=True, slots=True, kw_only=True)
class Code(Verifier):
    """Does the program pass the problem's tests (`rlvr.programs.forms`)? It runs in the sandbox, the tests run outside."""

    judges: ClassVar = "answer"
    isolated: ClassVar = True

    extract: Place | tuple[Place, ...] = ("fenced", "continuation")
    """Where the program is: `fenced`, the last block of the language; `continuation`, what continues the problem's preamble, up
    to the first top-level statement that defines nothing; `whole`, all of the response. Or several, tried in order."""
    language: Language = "python"
    """Language of programs for `cases`; the other forms of tests need Python."""
    score: Literal["share", "all", "weighted"] = "share"
    """`share` of the tests that pass; `all`: 1 if all pass, else 0; `weighted`: the share, by the ground truth's `weights`."""
    whitespace: Whitespace = "lines"
    """How standard output is compared; see `rlvr.programs.equality.same_text`."""
    tolerance: float = 0.0
    """Relative tolerance for real numbers that `calls` expect."""
    wall_s: float = 2.0
    """Wall-clock seconds for a test."""
    cpu_s: float = 2.0
    """Seconds of CPU time for a case; the other forms are bounded by `budget_s`."""
    budget_s: float = 6.0
    """Seconds for all tests of a rollout; tests that have not run by then have failed."""
    memory_mb: int = 256
    """Megabytes for the program."""

    def __post_init__(self) -> None:
        settle_places(self, PLACES)
        check_fields(self, "tolerance", at_least=0, below=1)
        check_fields(self, "wall_s", "cpu_s", "budget_s", "memory_mb", above=0)

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        found = self._program(completion, problem)
        return found if isinstance(found, Verdict) else None

    def prepare(self) -> None:
        with suppress(SandboxError):  # __call__ reports it as a verdict
            shared_sandbox()

    def waits_s(self) -> float:
        return 10 * (self.budget_s + self.wall_s) + COMPILE_S  # a busy machine: the sandbox ends everything at ten times this

    def scored_part(self, completion: str, problem: Problem) -> tuple[object, int]:
        found = self._program(completion, problem)
        if isinstance(found, Verdict):
            return repr(found), 0
        return (found.place, found.text, completion[slice(*found.span)]), found.span[0]

    def applies(self, truth: Mapping[str, Any]) -> bool:
        return forms.form_of(truth) is not None

    def check_truth(self, truth: Mapping[str, Any]) -> str | None:
        try:
            forms.n_tests(truth)
        except forms.BadTruth as error:
            return str(error)
        if self.language != "python" and "cases" not in truth:
            return f"language={self.language}: only tests of the form cases can be run with it"
        if self.score == "weighted" and "weights" not in truth:
            return "the truth has no weights, which score=weighted needs"
        return None

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        found = self._program(completion, problem)
        if isinstance(found, Verdict):
            return found
        if found.place == "continuation" and self.language == "python":
            found = trimmed(found, _preamble(problem.truth))
        return replace(self._judged(found.text, problem.truth), span=found.span)

    def _program(self, completion: str, problem: Problem) -> Program | Verdict:
        bad = self.check_truth(problem.truth)
        if bad:
            return Verdict.unscorable("bad_truth", bad)
        found = program_of(completion, self.extract, language=self.language, preamble=_preamble(problem.truth))
        return found or not_found(self.extract, "no_code")

    def _judged(self, program: str, truth: Mapping[str, Any]) -> Verdict:
        try:
            outcomes = self._outcomes(program, truth)
        except forms.BadTruth as error:
            return Verdict.unscorable("bad_truth", str(error))
        except SandboxError as error:
            return Verdict.error("sandbox", str(error))
        return self._verdict(program, outcomes, truth)

    def _outcomes(self, program: str, truth: Mapping[str, Any]) -> list[TestResult]:
        sandbox, form = shared_sandbox(), forms.form_of(truth)
        limits = Limits(wall_s=self.wall_s, cpu_s=self.cpu_s, memory_mb=self.memory_mb)
        if form == "cases":
            return run_cases(
                sandbox,
                program,
                forms.rows_of(truth, "cases"),
                language=self.language,
                limits=limits,
                budget_s=self.budget_s,
                whitespace=self.whitespace,
            )
        script = None if form == "calls" else forms.script_of(truth)
        whole = Limits(wall_s=self.wall_s, cpu_s=max(self.cpu_s, self.budget_s), memory_mb=self.memory_mb)
        with Exam(
            sandbox,
            program,
            limits=whole,
            budget_s=self.budget_s,
            objects=script is not None and script.objects,
            in_place=script is not None and script.in_place,
        ) as exam:
            if script is not None:
                return run_script(exam, script)
            same = partial(same_value, tolerance=self.tolerance)
            return run_calls(exam, str(truth["entry_point"]), forms.rows_of(truth, "calls"), same)

    def _verdict(self, program: str, outcomes: Sequence[TestResult], truth: Mapping[str, Any]) -> Verdict:
        """The detail lists one word for each test, by its number."""
        passed = [each.passed for each in outcomes]
        weights = truth["weights"] if self.score == "weighted" else [1] * len(passed)
        score = sum(w for w, each in zip(weights, passed, strict=True) if each) / sum(weights)
        if self.score == "all":
            score = float(all(passed))
        failed = next((each for each in outcomes if not each.passed), None)
        tests = ", ".join(f"{number} {each.reason}" for number, each in enumerate(outcomes))
        why = f"; {failed.detail}" if failed and failed.detail else ""
        weak = "" if shared_sandbox().tier == "namespaces" else f"; weak isolation: {shared_sandbox().tier}"
        detail = f"{sum(passed)} of {len(passed)} tests passed: {tests}{why}{weak}"
        return Verdict.scored(min(score, 1.0), failed.reason if failed else "correct", program[:500], detail)


def _preamble(truth: Mapping[str, Any]) -> str:
    return str(truth.get("preamble", "")).replace("\r\n", "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFormat(Verifier):
    """Is there exactly one fenced block of the language after the reasoning, and does it parse (Python only)?"""

    judges: ClassVar = "format"

    language: Language = "python"
    """The label that the block must have."""
    max_chars: int = 50_000
    """Longest block that is parsed, in characters; a longer one scores 0."""

    def __post_init__(self) -> None:
        check_fields(self, "max_chars", at_least=1)

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        """Parsing is left to a worker: on hostile text the parser may run out of stack."""
        found = blocks(after_think(completion), self.language)
        parses = self.language == "python" and len(found) == 1 and len(found[0].content) <= self.max_chars
        return None if parses else self(completion, problem)

    def scored_part(self, completion: str, problem: Problem) -> tuple[object, int]:
        text = after_think(completion)
        return text, len(completion) - len(text)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        text = after_think(completion)
        begin = len(completion) - len(text)
        found = blocks(text, self.language)
        if not found:
            return Verdict.scored(0.0, "no_code", detail=f"no fenced block of {self.language}")
        if len(found) > 1:
            return Verdict.scored(0.0, "ambiguous", detail=f"{len(found)} fenced blocks of {self.language}")
        return replace(self._judged(found[0].content), span=(begin + found[0].start, begin + found[0].end))

    def _judged(self, program: str) -> Verdict:
        if len(program) > self.max_chars:
            return Verdict.scored(0.0, "too_long", detail=f"{len(program)} characters")
        if self.language != "python":
            return Verdict.scored(1.0, "correct")
        try:
            parse(program)
        except UNPARSABLE as error:
            return Verdict.scored(0.0, "syntax_error", detail=one_line(error)[:200])
        return Verdict.scored(1.0, "correct")
