"""Every reference solution of the real sets scores 1.0 under the verifier, and programs that do nothing do not.

A spread of each set runs with every test command, the whole set with `pytest -m slow`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from conftest import data
from rlvr import Problem
from rlvr.data.datasets.code_contests import CodeContests
from rlvr.data.datasets.humaneval import HumanEval
from rlvr.data.datasets.mbpp import MBPP
from rlvr.verifiers.code import Code

SLOW = {"mbpp-test-123"}
"""Its reference solution needs seconds for one test: sums of divisors of all numbers up to 10,000."""


def humaneval() -> list[Problem]:
    problems = list(HumanEval(path=str(data("humaneval"))).load().test)
    assert len(problems) == 164
    return problems


def mbpp() -> list[Problem]:
    splits = MBPP(path=str(data("mbpp")), train_splits=("prompt", "train", "validation")).load()
    problems = [*splits.train, *splits.test]
    assert len(problems) == 974
    return problems


def failing(problems: Sequence[Problem], verifier: Code) -> dict[str, str]:
    assert all(verifier.check_truth(problem.truth) is None for problem in problems)
    verdicts = {problem.id: verifier(problem.metadata["completion"], problem) for problem in problems}
    return {name: f"{verdict.outcome}: {verdict.detail}" for name, verdict in verdicts.items() if verdict.score != 1.0}


@pytest.mark.parametrize("every", [16, pytest.param(1, marks=pytest.mark.slow)])
def test_humaneval(every: int) -> None:
    assert failing(humaneval()[::every], Code()) == {}


@pytest.mark.parametrize("every", [32, pytest.param(8, marks=pytest.mark.slow)])
def test_humaneval_by_continuation(every: int) -> None:
    """Only the continuation of the prompt, followed by what a model without a stop token writes."""
    for problem in humaneval()[::every]:
        rest = problem.metadata["solution"].removeprefix(problem.truth["preamble"])
        response = f"{rest}\n\nassert {problem.truth['entry_point']}() == 'a guess'\n\n# And now (\n"
        verdict = Code(extract="continuation")(response, problem)
        assert verdict.score == 1.0, (problem.id, verdict.detail)


@pytest.mark.parametrize("every", [60, pytest.param(1, marks=pytest.mark.slow)])
def test_mbpp(every: int) -> None:
    assert failing([problem for problem in mbpp()[::every] if problem.id not in SLOW], Code()) == {}


@pytest.mark.slow
def test_mbpp_reference_that_takes_seconds() -> None:
    assert failing([problem for problem in mbpp() if problem.id in SLOW], Code(wall_s=20.0, budget_s=40.0)) == {}


@pytest.mark.parametrize("every", [80, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("problems", [humaneval, mbpp])
def test_programs_that_do_nothing_score_below_one(problems: Callable[[], list[Problem]], every: int) -> None:
    for problem in problems()[::every]:
        names = problem.truth.get("names", (problem.truth.get("entry_point"),))
        program = "\n".join(f"def {each}(*a, **k): return None" for each in names)
        for text in (program, "raise SystemExit(0)", ""):
            verdict = Code()(f"```python\n{text}\npass\n```", problem)
            assert verdict.outcome == "scored"
            assert verdict.score is not None
            assert verdict.score < 1.0, (problem.id, text)


@pytest.mark.parametrize("n", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_code_contests(n: int) -> None:
    splits = CodeContests(path=str(data("code_contests")), max_cases=5).load()
    problems = [*splits.train, *splits.test][:n]
    assert len(problems) == n
    for problem in problems:
        assert Code().check_truth(problem.truth) is None
        for program in ("print('no such answer')", "pass"):
            assert Code()(f"```python\n{program}\n```", problem).score == 0.0, problem.id
    known = problems[0].truth["cases"]
    table = {case["stdin"]: case["stdout"] for case in known}
    program = f"import sys\nprint({table!r}[sys.stdin.read()], end='')"
    assert Code()(f"```python\n{program}\n```", problems[0]).score == 1.0, "what knows the answers is right"
