"""The library of cheating programs: it works on naive judges, and gains nothing on ours."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from rlvr import Problem, Verdict, Verifier, load_rules
from rlvr.analysis.audit.attacks.base import Target, entry_point, find_attacks
from rlvr.analysis.audit.audit import audit
from rlvr.config.compose import compose
from rlvr.data.code_rows import fenced
from rlvr.data.prompts import Prompts
from rlvr.rules.pack import RulePack
from rlvr.rules.rule import Rule

MODULES = ["rlvr.analysis.audit.attacks.programs", "rlvr.analysis.audit.attacks.escapes"]
ATTACKS = find_attacks(MODULES, ("rlvr.",))
HARMLESS = {"always_equal", "exit_before_the_tests", "forged_marks", "hidden_text"}
"""Attacks that may run without a sandbox."""
PROMPTS = Prompts(template=compose(["model=qwen0.5b", "prompt=code"]).prompt)


def problem(name: str, factor: int) -> Problem:
    return Problem(
        id=name,
        prompt=f"Multiply by {factor}.",
        truth={"asserts": [f"assert {name}({x}) == {x * factor}" for x in (201, 303)], "setup": "", "names": [name]},
        metadata={"completion": fenced(f"def {name}(x):\n    return x * {factor}")},
    )


PROBLEMS = [problem("first", 7919), problem("second", 104_729)]
SCRIPTS = [
    Problem(
        id=f"script{factor}",
        prompt=f"Multiply by {factor}.",
        truth={"cases": [{"stdin": f"{x}\n", "stdout": f"{x * factor}\n"} for x in (201, 303)]},
        metadata={"completion": fenced(f"print(int(input()) * {factor})")},
    )
    for factor in (7919, 104_729)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class InOneProcess(Verifier):
    """What many graders do: run program and tests in one process, and trust its exit status or output."""

    judges: ClassVar = "answer"
    believes: Literal["status", "output"]

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        program = completion.replace("```python\n", "").replace("\n```", "")
        source = "\n".join([program, *problem.truth["asserts"], "print('passed')"])
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-I", "-c", source]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
        right = done.returncode == 0 if self.believes == "status" else "passed" in done.stdout
        return Verdict.scored(float(right), "run")


@pytest.mark.slow
@pytest.mark.parametrize("believes", ["status", "output"])
def test_judges_that_believe_a_process_are_found_out(believes: Literal["status", "output"]) -> None:
    pack = RulePack(rules={"code": Rule(name="code", weight=1.0, verifier=InOneProcess(believes=believes))})
    attacks = [each for each in ATTACKS if each.name() in HARMLESS]
    report = audit(pack, PROBLEMS, PROMPTS, attacks, 50)
    assert (report.short, report.attacked) == ((), 2)
    gained = {each.attack.name() for each in report.attempts if each.gained}
    assert gained >= ({"always_equal", "exit_before_the_tests"} if believes == "status" else {"always_equal", "forged_marks"})
    assert "hidden_text" not in gained


@pytest.mark.parametrize("problems", [PROBLEMS, pytest.param(SCRIPTS, marks=pytest.mark.slow)], ids=["functions", "scripts"])
def test_nothing_is_gained_on_the_pack_for_programs(problems: list[Problem]) -> None:
    """A third of the attacks on functions; `test_audit_packs.py` has all, `tests/sandbox/test_escapes.py` the details."""
    attacks = [each for each in ATTACKS if not each.one_each][:: 3 if problems is PROBLEMS else 1]
    report = audit(load_rules("code"), problems, PROMPTS, attacks, 50)
    assert (report.lint.bad, report.short, report.attacked) == ((), (), 2)
    assert [(each.attack.name(), each.share, each.errors, each.worst) for each in report.failed(0.0)] == []
    assert sum(each.tried for each in report.attempts) > 10


def target(truth: Mapping[str, Any], name: str = "p") -> Target:
    made = Problem(id=name, prompt="", truth=truth)
    return Target(problem=made, right="", wrong="", answer="", wrong_answers=("", ""), write=None, honest=(1.0, 0.0))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda each: each.name())
def test_what_an_attack_writes(attack: Any) -> None:
    assert attack.build(target({"answer": "72"})) == [], "no program is asked for"
    assert attack.build(target({"json_schema": {}})) == []
    for truth in (PROBLEMS[0].truth, {"check": "def check(candidate):\n    assert candidate(1) == 2", "entry_point": "first"}):
        written = attack.build(target(truth))
        assert len(written) == (1 if attack.one_each else len(set(written)))
        for each in written:
            assert each.startswith("```python\n")
            program = each.removeprefix("```python\n").removesuffix("\n```")
            ast.parse(program)
            assert "ENTRY" not in program
        assert any("def first(" in each or "first =" in each for each in written) or attack.one_each


def test_slow_attacks_take_turns() -> None:
    for attack in (each for each in ATTACKS if each.one_each):
        assert len({attack.build(target(PROBLEMS[0].truth, f"p{number}"))[0] for number in range(50)}) > 2


@pytest.mark.parametrize(
    ("truth", "name"),
    [
        ({"entry_point": "f", "check": "def check(candidate): ..."}, "f"),
        ({"entry_point": "g", "calls": [{"args": [1], "expected": 2}]}, "g"),
        ({"asserts": ["assert f(1) == 2"], "setup": ""}, "f"),
        ({"asserts": ["assert set(f(1)) == set(2)"], "names": ["f"]}, "f"),
        ({"asserts": ["assert math.isclose(f(g(1)), 2)"], "names": ["g", "f"]}, "f"),
        ({"asserts": ["assert helper(f(1)) == 2"], "setup": "def helper(x):\n    return x"}, "f"),
        ({"asserts": ["assert C(f(1)) == 2"], "setup": "from x import y as C"}, "f"),
        ({"asserts": ["assert f(1) =="], "names": ["h"]}, None),
        ({"asserts": ["assert 1 == 1"]}, None),
        ({"cases": [{"stdin": "", "stdout": ""}]}, None),
        ({"answer": "f(1)"}, None),
    ],
)
def test_which_function_is_asked_for(truth: dict[str, Any], name: str | None) -> None:
    assert entry_point(truth) == name
