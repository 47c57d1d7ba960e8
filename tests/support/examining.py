"""Run the tests of a ground truth on a candidate in the real sandbox."""

from __future__ import annotations

from typing import Any

from rlvr.programs.exam import Exam, TestResult, run_script
from rlvr.programs.forms import script_of
from rlvr.sandbox.base import Limits
from rlvr.sandbox.shared import shared_sandbox


def examine(program: str, truth: dict[str, Any], *, wall_s: float = 2.0, budget_s: float = 10.0) -> list[TestResult]:
    script = script_of(truth)
    limits = Limits(wall_s=wall_s, cpu_s=budget_s)
    options = {"objects": script.objects, "in_place": script.in_place}
    with Exam(shared_sandbox(), program, limits=limits, budget_s=budget_s, **options) as exam:
        return run_script(exam, script)


def reasons(program: str, *asserts: str, setup: str = "", names: list[str] | None = None, **limits: Any) -> list[str]:
    truth = {"asserts": list(asserts), "setup": setup, **({"names": names} if names else {})}
    return [result.reason for result in examine(program, truth, **limits)]


def checked(program: str, body: str, *, preamble: str = "", entry_point: str = "f", **limits: Any) -> list[str]:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").split("\n"))
    truth = {"check": f"def check(candidate):\n{lines}\n", "entry_point": entry_point, "preamble": preamble}
    return [result.reason for result in examine(program, truth, **limits)]
