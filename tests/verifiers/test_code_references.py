"""Every reference solution of the real sets scores 1.0 under the verifier, and programs that do nothing do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import DATA
from rlvr import Problem
from rlvr.data.datasets.code_contests import CodeContests
from rlvr.data.datasets.humaneval import HumanEval
from rlvr.data.datasets.mbpp import MBPP
from rlvr.verifiers.code import Code

SLOW = {"mbpp-test-123"}
"""Its reference needs some seconds for one test: sums of divisors of all numbers up to 10,000."""


def folder(name: str) -> str:
    path: Path = DATA / name
    if not path.is_dir():
        pytest.skip(f"the real set is not at {path}")
    return str(path)


def failing(problems: list[Problem], verifier: Code) -> dict[str, str]:
    assert all(verifier.check_truth(problem.truth) is None for problem in problems)
    verdicts = {problem.id: verifier(problem.metadata["completion"], problem) for problem in problems}
    return {name: f"{verdict.outcome}: {verdict.detail}" for name, verdict in verdicts.items() if verdict.score != 1.0}


def test_humaneval() -> None:
    problems = list(HumanEval(path=folder("humaneval")).load().test)
    assert len(problems) == 164
    assert failing(problems, Code()) == {}


def test_humaneval_by_continuation() -> None:
    """Only what the prompt lacks, with what a model writes that was not taught to stop."""
    problems = list(HumanEval(path=folder("humaneval")).load().test)
    for problem in problems[::8]:
        rest = problem.metadata["solution"].removeprefix(problem.truth["preamble"])
        response = f"{rest}\n\nassert {problem.truth['entry_point']}() == 'a guess'\n\n# And now (\n"
        verdict = Code(extract="continuation")(response, problem)
        assert verdict.score == 1.0, (problem.id, verdict.detail)


def test_mbpp() -> None:
    splits = MBPP(path=folder("mbpp"), train_splits=("prompt", "train", "validation")).load()
    problems = [*splits.train, *splits.test]
    assert len(problems) == 974
    assert failing([problem for problem in problems if problem.id not in SLOW], Code()) == {}
    patient = Code(wall_s=20.0, budget_s=40.0)
    assert failing([problem for problem in problems if problem.id in SLOW], patient) == {}


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_what_does_nothing_scores_below_one(name: str) -> None:
    source = HumanEval(path=folder(name)) if name == "humaneval" else MBPP(path=folder(name))
    for problem in list(source.load().test)[::10]:
        names = problem.truth.get("names", (problem.truth.get("entry_point"),))
        program = "\n".join(f"def {each}(*a, **k): return None" for each in names)
        for text in (program, "raise SystemExit(0)", ""):
            verdict = Code()(f"```python\n{text}\npass\n```", problem)
            assert verdict.outcome == "scored"
            assert verdict.score is not None
            assert verdict.score < 1.0, (problem.id, text)


def test_code_contests() -> None:
    splits = CodeContests(path=folder("code_contests"), max_cases=5).load()
    problems = [*splits.train, *splits.test][:20]
    assert len(problems) == 20
    for problem in problems:
        assert Code().check_truth(problem.truth) is None
        for program in ("print('no such answer')", "pass"):
            assert Code()(f"```python\n{program}\n```", problem).score == 0.0, problem.id
    known = problems[0].truth["cases"]
    table = {case["stdin"]: case["stdout"] for case in known}
    program = f"import sys\nprint({table!r}[sys.stdin.read()], end='')"
    assert Code()(f"```python\n{program}\n```", problems[0]).score == 1.0, "what knows the answers is right"
