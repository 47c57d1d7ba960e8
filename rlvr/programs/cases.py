"""Run whole programs on standard input and output: a fresh sandboxed process per case, so that no case affects the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from rlvr.programs.equality import Whitespace, same_text
from rlvr.programs.exam import PASS, TestResult
from rlvr.sandbox.base import Job, Limits, installed
from rlvr.sandbox.sandbox import Sandbox

Language = Literal["python", "cpp", "javascript"]
_COMPILE_LIMITS = Limits(wall_s=20.0, cpu_s=20.0, memory_mb=1024, output_kb=64, disk_mb=64)
COMPILE_S = _COMPILE_LIMITS.wall_s


def run_cases(
    sandbox: Sandbox,
    program: str,
    cases: Sequence[Mapping[str, Any]],
    *,
    language: Language,
    limits: Limits,
    budget_s: float,
    whitespace: Whitespace,
) -> list[TestResult]:
    """One result per case. Errors: `SandboxError`."""
    job = _job(sandbox, program, language, limits)
    if isinstance(job, TestResult):
        return [job] * len(cases)
    results: list[TestResult] = []
    for case in cases:
        if budget_s <= 0:
            results.append(TestResult(reason="not_run", detail="the time for all tests together is used up"))
            continue
        result = sandbox.run(replace(job, stdin=case.get("stdin", "").encode("utf-8", "surrogatepass")))
        budget_s -= result.wall_s
        written = result.stdout.decode("utf-8", "replace")
        if result.ending != "ok":
            results.append(_ended(result.ending, result.detail))
        elif same_text(written, case["stdout"], whitespace):
            results.append(PASS)
        else:
            results.append(TestResult(reason="wrong", detail=f"wrote {written[:60]!r}"))
    return results


def _ended(ending: str, detail: str) -> TestResult:
    if ending == "exit" and detail == "raised SyntaxError":
        return TestResult(reason="syntax_error", detail=detail)
    if ending == "exit" and detail.startswith("raised"):
        return TestResult(reason="exception", detail=detail)
    return TestResult(reason=ending, detail=detail)


def _job(sandbox: Sandbox, program: str, language: Language, limits: Limits) -> Job | TestResult:
    """How to run the program; a result where it does not compile."""
    text = program.encode("utf-8", "surrogatepass")
    if language == "python":
        return Job(source=program, limits=limits)
    if language == "javascript":
        # Node exits when it cannot read its OpenSSL configuration, and here programs cannot.
        options = (f"--max-old-space-size={limits.memory_mb}", "--openssl-config=/dev/null")
        argv = (installed("node"), *options, "program.js")
        return Job(argv=argv, files={"program.js": text}, limits=limits, limit_address_space=False)
    argv = (installed("g++"), "-O2", "-std=c++17", "-o", "program", "program.cpp")
    compiling = Job(argv=argv, files={"program.cpp": text}, limits=_COMPILE_LIMITS, collect=("program",))
    result = sandbox.run(compiling)
    if result.ending != "ok":
        said = result.stderr.decode(errors="replace")
        return TestResult(reason="compile_error", detail=said[:200] or result.detail)
    return Job(argv=("./program",), files={"program": result.files.get("program", b"")}, limits=limits)
