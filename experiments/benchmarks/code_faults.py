"""Do all reference solutions of HumanEval and MBPP get the full score, and do they lose it with one planted fault?

A faulty program with the full score counts as undetected by its tests only if the original asserts pass in plain Python too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from code_tasks import SLOW, Task, data_argument, humaneval, mbpp, scored, solution
from planted import planted

from rlvr.rules.pack import Judgement
from rlvr.scoring.local.supervisor import Supervisor, usable_cores
from rlvr.types import Problem
from rlvr.verifiers.code import Code

_PLAIN_S = 20.0
_SLOW_S = 10.0


def _score(tasks: Sequence[Task], code: Code) -> list[Judgement]:
    with Supervisor() as supervisor:
        return scored(tasks, supervisor, code=code)


def _passes_in_plain_python(task: Task) -> bool:
    """All asserts, in a separate interpreter, with a long time limit and no other."""
    command = [sys.executable, "-I", "-c", task.script]
    try:
        return subprocess.run(command, capture_output=True, timeout=_PLAIN_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def references(name: str, problems: Sequence[Problem]) -> int:
    """Print and count the references below the full score; those known to be slow are tried again with more time."""
    tasks = [Task(problem=problem, program=solution(problem), right=True) for problem in problems]
    judged = list(zip(tasks, _score(tasks, Code()), strict=True))
    failed = [(task, judgement) for task, judgement in judged if judgement.reward != 1.0]
    print(f"{name}: {len(tasks) - len(failed)} of {len(tasks)} references score 1.0")
    bad = 0
    for task, judgement in failed:
        verdict = judgement.verdicts["code"]
        again = _score([task], Code(wall_s=_SLOW_S, cpu_s=_SLOW_S, budget_s=2 * _SLOW_S))[0].verdicts["code"]
        proven = task.problem.id in SLOW and verdict.reason == "timeout" and again.score == 1.0
        bad += not proven
        print(
            f"  {task.problem.id}: {verdict.outcome} {verdict.score} {verdict.reason}; with wall_s={_SLOW_S:g}: {again.score}"
        )
    return bad


def faults(name: str, problems: Sequence[Problem], seed: int) -> int:
    """Count the faulty programs that get the full score although plain Python detects the fault, or that cannot be scored."""
    tasks, none, kinds = [], 0, Counter[str]()
    for number, problem in enumerate(problems):
        try:
            program, kind = planted(solution(problem), seed + number)
        except ValueError:
            none += 1
            continue
        kinds[kind] += 1
        tasks.append(Task(problem=problem, program=program, right=False))
    judged = list(zip(tasks, _score(tasks, Code()), strict=True))
    outcomes = Counter(judgement.verdicts["code"].reason for _, judgement in judged)
    full = [task for task, judgement in judged if judgement.reward == 1.0]
    with ThreadPoolExecutor(usable_cores()) as threads:
        undetected = list(threads.map(_passes_in_plain_python, full))
    wrong = [task.problem.id for task, passes in zip(full, undetected, strict=True) if not passes]
    errors = [task.problem.id for task, judgement in judged if judgement.verdicts["code"].outcome != "scored"]
    summary = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
    print(f"{name}: {len(tasks)} programs with one fault ({summary}), {none} without a place for one")
    print(f"  first reason: {', '.join(f'{reason} {n}' for reason, n in outcomes.most_common())}")
    print(f"  full score: {len(full)}, of which plain Python does not detect the fault either: {sum(undetected)}")
    print(f"  full score not earned: {len(wrong)} {wrong}; not scored: {len(errors)} {errors}")
    return len(wrong) + len(errors)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    data_argument(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=None, help="problems of each data set")
    given = parser.parse_args()
    sets = {"humaneval": humaneval(given.data)[: given.limit], "mbpp": mbpp(given.data)[: given.limit]}
    bad = sum(references(name, problems) for name, problems in sets.items())
    bad += sum(faults(name, problems, given.seed) for name, problems in sets.items())
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
