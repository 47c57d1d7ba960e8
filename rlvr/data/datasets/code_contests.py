"""CodeContests (Li et al. 2022, arXiv:2203.07814): competitive programming, scored by what a program prints for an input."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.config.bounds import check_fields
from rlvr.data.code_rows import fenced, unix_lines
from rlvr.data.rows import each_hub_row, each_row, has_split, text_of
from rlvr.data.stored import Divided
from rlvr.errors import ConfigError
from rlvr.programs.syntax import try_parse
from rlvr.types import Problem

PYTHON3 = 3
"""The hub's code for the language of a solution; the others: 1 Python 2, 2 C++, 4 Java."""
TESTS = ("public_tests", "private_tests", "generated_tests")
COLUMNS = ("name", "description", "solutions", "source", "difficulty", "input_file", "output_file", *TESTS)
ASK = "Write a program that reads from standard input and writes to standard output."


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeContests(Divided):
    """`deepmind/code_contests` from the hub (13,328 + 165), or a folder.

    Left out: problems that read or write files instead of standard input and output, and tests that expect no output, which
    a program that does nothing would pass. Kept: problems with several right outputs, of which their tests accept one. For
    many problems one constant passes most tests (up to 92 % in the sample), so train with rules=code_strict. References are
    the first solutions in Python 3; they may be too slow for the limits of a rule.

    The folder has the hub's Parquet files, or their rows as train.jsonl and test.jsonl; or a sample.jsonl (`content`, and
    `test`: JSON of a list of `{"input": {"stdin"}, "output": {"stdout"}}`) of test problems.
    """

    max_cases: int | None = 50
    """Most tests of a problem: public ones first, then private, then generated; null keeps all (up to hundreds)."""

    def __post_init__(self) -> None:
        Divided.__post_init__(self)
        check_fields(self, "max_cases", at_least=1, why="null for all")

    def test(self) -> Iterator[Problem]:
        return self._split("sample" if self._is_sample() else "test")

    def train(self) -> Iterable[Problem]:
        there = self.path is None or (has_split(self.path, "train") and not self._is_sample())
        return self._split("train") if there else ()

    def _is_sample(self) -> bool:
        return self.path is not None and has_split(self.path, "sample") and not has_split(self.path, "test")

    def _split(self, split: str) -> Iterator[Problem]:
        if self.path is not None:
            rows = each_row(self.path, split, columns=(*COLUMNS, "content", "test", "labels"))
        else:
            rows = each_hub_row("deepmind/code_contests", None, split, columns=COLUMNS)
        for number, row in enumerate(rows):
            if not row.get("input_file") and not row.get("output_file"):
                yield self._problem(f"code_contests-{split}-{number:05}", row)

    def _problem(self, problem_id: str, row: dict[str, Any]) -> Problem:
        sample = "content" in row
        cases = list(_sample_cases(row, problem_id) if sample else _hub_cases(row, problem_id))
        cases = [case for case in cases if case["stdout"].strip()][: self.max_cases]
        if not cases and self.on_unscorable == "fail":
            raise ConfigError(f"dataset: {problem_id} has no tests; dataset.on_unscorable=drop leaves such problems out")
        about = _labels(row) if sample else row
        metadata: dict[str, Any] = {
            key: about[key] for key in ("name", "source", "difficulty") if isinstance(about.get(key), str | int)
        }
        solution = None if sample else _python(row.get("solutions"), problem_id)
        if solution:
            metadata |= {"solution": solution, "completion": fenced(solution)}
        return Problem(
            id=problem_id,
            prompt=f"{text_of(row, 'content' if sample else 'description', problem_id)}\n\n{ASK}",
            truth={"cases": cases},
            metadata=metadata,
        )


def _case(stdin: Any, stdout: Any, name: str) -> dict[str, str]:
    for key, value in (("input", stdin), ("output", stdout)):
        if not isinstance(value, str):
            raise ConfigError(f"dataset: {name}: its {key} must be a text, got {str(value)[:60]!r}")
    return {"stdin": stdin, "stdout": stdout}


def _sample_cases(row: Mapping[str, Any], problem_id: str) -> Iterator[dict[str, str]]:
    payload = row.get("test")
    try:
        tests = json.loads(payload) if isinstance(payload, str) else payload
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"dataset: {problem_id}: its 'test' is not JSON: {error}") from error
    if not isinstance(tests, list):
        raise ConfigError(f"dataset: {problem_id}: its 'test' must be JSON of a list, got {str(payload)[:60]!r}")
    for number, test in enumerate(tests, start=1):
        given, expected = (test.get("input"), test.get("output")) if isinstance(test, dict) else (None, None)
        if not isinstance(given, dict) or not isinstance(expected, dict):
            raise ConfigError(f"dataset: {problem_id}, test {number}: needs an 'input' and an 'output', got {str(test)[:60]!r}")
        yield _case(given.get("stdin"), expected.get("stdout"), f"{problem_id}, test {number}")


def _hub_cases(row: Mapping[str, Any], problem_id: str) -> Iterator[dict[str, str]]:
    for key in TESTS:
        if row.get(key) is None:
            continue
        inputs, outputs = _columns(row[key], "input", "output", f"{problem_id}'s {key!r}")
        for number, (stdin, stdout) in enumerate(zip(inputs, outputs, strict=True), start=1):
            yield _case(stdin, stdout, f"{problem_id}'s {key}, test {number}")


def _columns(value: Any, first: str, second: str, what: str) -> tuple[Sequence[Any], Sequence[Any]]:
    """Two columns of the same length. what: their name in the error. Errors: `ConfigError`."""
    one, two = (value.get(first), value.get(second)) if isinstance(value, dict) else (None, None)
    if not isinstance(one, list) or not isinstance(two, list) or len(one) != len(two):
        raise ConfigError(f"dataset: {what} must hold lists {first!r} and {second!r} of one length, got {str(value)[:60]!r}")
    return one, two


def _python(solutions: Any, problem_id: str) -> str | None:
    """The first solution that is Python 3, by its label and by its syntax."""
    if not solutions:
        return None
    languages, texts = _columns(solutions, "language", "solution", f"{problem_id}'s 'solutions'")
    for language, text in zip(languages, texts, strict=True):
        if language == PYTHON3 and isinstance(text, str) and "```" not in text and try_parse(text) is not None:
            return unix_lines(text)
    return None


def _labels(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The origin of a sample, if it can be read; nothing depends on it."""
    try:
        labels = json.loads(row.get("labels") or "{}")
    except (ValueError, TypeError):
        return {}
    return labels if isinstance(labels, dict) else {}
