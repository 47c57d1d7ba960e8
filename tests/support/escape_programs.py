"""Programs that misbehave, as data: what they are, and what it would be fair to give them.

The problem: `solve(x)` is x * 7919 + 11. Whatever they leave behind is named `rlvr-escape...`, so that it can be found.
"""

from __future__ import annotations

from dataclasses import dataclass

from misdeeds import RIGHT_AND_WORSE, SCRIPTS, WRONG

from rlvr import Problem
from rlvr.analysis.audit.attacks.base import Target, find_attacks
from rlvr.data.code_rows import fenced

LIBRARY = ("programs", "escapes")
INPUTS = (2, 30, 401)
HONEST = "def solve(x):\n    return x * 7919 + 11"
HONEST_SCRIPT = "print(int(input()) * 7919 + 11)"
FUNCTION = Problem(
    id="solve",
    prompt="Write solve.",
    truth={"asserts": [f"assert solve({x}) == {x * 7919 + 11}" for x in INPUTS], "setup": "", "names": ["solve"]},
)
SCRIPT = Problem(
    id="script",
    prompt="Write a program.",
    truth={"cases": [{"stdin": f"{x}\n", "stdout": f"{x * 7919 + 11}\n"} for x in INPUTS]},
)

EARNS = {
    "first_call_only": 1 / 3,
    "exits_after_the_first_call": 2 / 3,  # the third runs in a new session
    "one_input_only": 1 / 3,
    "only_one_case": 1 / 3,
    "nothing": 0.0,
}
"""Where it differs from the group's. A program that has exited goes on in a new session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Escape:
    """One program."""

    name: str
    completion: str
    earns: float
    """The share of the tests that it honestly passes."""
    problem: Problem


def _library() -> list[Escape]:
    """Every program of the audit's attacks."""
    made = []
    for attack in find_attacks([f"rlvr.analysis.audit.attacks.{name}" for name in LIBRARY], ("rlvr.",)):
        attack.one_each = False
        for problem, kind in ((FUNCTION, "f"), (SCRIPT, "s")):
            target = Target(
                problem=problem, right="", wrong="", answer="", wrong_answers=("", ""), write=None, honest=(1.0, 0.0)
            )
            for at, completion in enumerate(attack.build(target)):
                assert completion
                made.append(Escape(name=f"{attack.name()}-{kind}{at}", completion=completion, earns=0.0, problem=problem))
    return made


def _own() -> list[Escape]:
    groups = (
        ("wrong", WRONG, 0.0, FUNCTION),
        ("right", RIGHT_AND_WORSE, 1.0, FUNCTION),
        ("script", SCRIPTS, 1.0, SCRIPT),
    )
    return [
        Escape(
            name=f"{group}-{name}",
            completion=fenced(source),
            earns=EARNS.get(name, earns),
            problem=problem,
        )
        for group, programs, earns, problem in groups
        for name, source in programs.items()
    ]


ESCAPES = {each.name: each for each in [*_library(), *_own()]}
