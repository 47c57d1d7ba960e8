"""Programs for the benchmarks of code: MBPP's and HumanEval's reference solutions, and wrong ones.

python experiments/benchmarks/code_tasks.py ROWS.jsonl       # those of `mixed` as rows of `rlvr score`
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from planted import planted

from rlvr.data.code_rows import fenced
from rlvr.data.datasets.humaneval import HumanEval
from rlvr.data.datasets.mbpp import MBPP
from rlvr.rules.pack import Judgement, RulePack
from rlvr.rules.rule import Rule
from rlvr.scoring.backend import Backend
from rlvr.scoring.scheduler import scoring
from rlvr.types import Problem
from rlvr.verifiers.code import Code

ROOT = Path(__file__).parents[2]
SLOW = ("mbpp-test-123",)
"""Its reference takes nearly three seconds in one test, more than the default limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A program to score."""

    problem: Problem
    program: str
    right: bool

    @property
    def completion(self) -> str:
        return fenced(self.program)

    @property
    def row(self) -> dict[str, object]:
        """As a row of `rlvr score`."""
        return {"id": self.problem.id, "completion": self.completion, "truth": dict(self.problem.truth)}

    @property
    def script(self) -> str:
        """The program followed by its tests, for runners that only look at the exit status."""
        truth = self.problem.truth
        if "check" in truth:
            return f"{self.program}\n{truth['check']}\ncheck({truth['entry_point']})\n"
        return "\n".join([self.program, truth["setup"], *truth["asserts"]])


def data_argument(parser: argparse.ArgumentParser) -> None:
    """`--data DIR`; by default the environment's RLVR_DATA, else `shared/data` next to the checkout."""
    default = os.environ.get("RLVR_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default), help="folder with humaneval/ and mbpp/")


def humaneval(data: Path) -> Sequence[Problem]:
    splits = HumanEval(path=str(data / "humaneval")).load()
    return [*splits.train, *splits.test]


def mbpp(data: Path) -> Sequence[Problem]:
    """All 974, the 500 of the test split first."""
    splits = MBPP(path=str(data / "mbpp"), train_splits=("prompt", "train", "validation")).load()
    return [*splits.test, *splits.train]


def solution(problem: Problem) -> str:
    """The whole reference program."""
    return str(problem.metadata["solution"])


def scored(tasks: Sequence[Task], backend: Backend, *, code: Code | None = None, retries: int = 1) -> list[Judgement]:
    """Through the whole scoring path, by a pack with the rule `code` alone. code: None for the default limits."""
    pack = RulePack(rules={"code": Rule(name="code", weight=1.0, verifier=code or Code())})
    with scoring(pack, backend, retries=retries) as batch:
        return batch.score([(task.completion, task.problem) for task in tasks])


def assert_right_ones_pass(tasks: Sequence[Task], judgements: Sequence[Judgement]) -> None:
    for task, judgement in zip(tasks, judgements, strict=True):
        assert judgement.reward == 1.0 or not task.right, (task.problem.id, judgement)


def mixed(data: Path) -> list[Task]:
    """The references of MBPP's test split that keep within the limits, each followed by a faulty program that terminates."""
    tasks = []
    for number, problem in enumerate(mbpp(data)[:500]):
        if problem.id not in SLOW:
            tasks.append(Task(problem=problem, program=solution(problem), right=True))
            try:
                wrong, _ = planted(solution(problem), number, kinds=("return",))
            except ValueError:  # it only prints, or yields
                wrong = "".join(f"def {name}(*given): return None\n" for name in problem.truth["names"])
            tasks.append(Task(problem=problem, program=wrong, right=False))
    return tasks


def tree() -> list[psutil.Process]:
    """This process and all its descendants."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def processor_s() -> float:
    """Processor seconds of `tree()`, their finished child processes included."""
    used = 0.0
    for process in tree():
        try:
            used += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return used


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Clock:
    """Wall and processor seconds of a block."""

    def __enter__(self) -> Clock:
        self._wall, self._cpu = time.perf_counter(), processor_s()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu = processor_s() - self._cpu
        self.wall = time.perf_counter() - self._wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_argument(parser)
    parser.add_argument("output", type=Path, help="file to write")
    given = parser.parse_args()
    given.output.write_text("".join(json.dumps(task.row) + "\n" for task in mixed(given.data)), encoding="utf-8")


if __name__ == "__main__":
    main()
