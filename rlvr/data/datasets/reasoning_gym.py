"""Reasoning Gym (Stojanovski et al. 2025, arXiv:2505.24760): procedural tasks with their own scorers."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr.config.bounds import check_fields
from rlvr.data.source import DataSource, Splits
from rlvr.errors import ConfigError
from rlvr.text import one_line
from rlvr.types import Problem
from rlvr.verifiers.reasoning_gym import factory, refusal

MOST_PROBLEMS = 100_000
"""Training and test problems together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningGym(DataSource):
    """Problems of one task, no question twice: the first are the test problems, so that more training problems move none."""

    task: str
    """Name of a task: chain_sum, zebra_puzzles, ... Tasks whose scorer evaluates text as Python are refused."""
    train_problems: int = 2000
    """How many there are to train on."""
    test_problems: int = 200
    """How many there are to evaluate on."""
    seed: int = 0
    """Seed of the problems. Most tasks derive problem i from seed + i: neighbouring seeds share nearly all problems."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Task options that override its defaults (chain_sum: min_terms, max_digits, ...)."""

    def __post_init__(self) -> None:
        check_fields(self, "train_problems", "test_problems", "seed", at_least=0)
        if not 1 <= self.train_problems + self.test_problems <= MOST_PROBLEMS:
            raise ConfigError(f"dataset.train_problems={self.train_problems}: with test_problems, 1 to {MOST_PROBLEMS}")
        try:
            reason = refusal(self.task)
        except ValueError as error:
            raise ConfigError(f"dataset=reasoning_gym: {error}") from error
        if reason:
            raise ConfigError(f"dataset.{reason}")
        self._generator(1)

    def _generator(self, size: int) -> Any:
        """The task's generator. Errors: `ConfigError` naming the options that the task does not take."""
        ours = [key for key in ("seed", "size") if key in self.options]
        if ours:
            raise ConfigError(
                f"dataset.options.{ours[0]}={self.options[ours[0]]}: set by dataset.seed, train_problems, test_problems"
            )
        try:
            return factory().create_dataset(self.task, seed=self.seed, size=size, **self.options)
        except (TypeError, ValueError, AssertionError) as error:
            said = one_line(error) or type(error).__name__
            raise ConfigError(f"dataset.options={dict(self.options)}: {self.task} does not take them: {said}") from error

    def load(self) -> Splits:
        wanted = self.train_problems + self.test_problems
        problems: dict[str, Problem] = {}
        for problem in self._problems(2 * wanted + 100):
            problems.setdefault(problem.prompt, problem)
            if len(problems) == wanted:
                break
        else:
            raise ConfigError(
                f"dataset.train_problems={self.train_problems}: {self.task} has too few different questions "
                f"({len(problems)} found, with test_problems {wanted} asked for)"
            )
        drawn = list(problems.values())
        return Splits(train=drawn[self.test_problems :], test=drawn[: self.test_problems])

    def _problems(self, size: int) -> Iterator[Problem]:
        generator = self._generator(size)
        for index in range(size):
            problem_id = f"reasoning_gym-{self.task}-{index:06}"
            with contextlib.redirect_stdout(io.StringIO()):  # a few tasks print dots
                made = generator[index]
            try:  # fractions become text; checking the ground truths finds a scorer that cannot use that
                entry = json.loads(json.dumps({key: made[key] for key in ("question", "answer", "metadata")}, default=str))
            except (TypeError, ValueError) as error:
                raise ConfigError(f"dataset: {problem_id} is no plain data ({error}), so no worker can score it") from error
            answer = entry["answer"]
            yield Problem(
                id=problem_id,
                prompt=entry["question"].strip(),
                truth={"reasoning_gym": {"task": self.task, "options": dict(self.options), "entry": entry}},
                metadata={"answer": answer, "solution": f"The answer is {answer}."} if isinstance(answer, str) else {},
            )
