"""Completions with a ground truth and a label, from GSM8K, MATH-500 and the labelled pairs of the tests."""

from __future__ import annotations

import argparse
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from surface_forms import equal_forms
from wrong_forms import wrong_forms

ROOT = Path(__file__).parents[2]
LABELLED = ROOT / "tests" / "verifiers" / "labelled"
ENDINGS = [
    "So the answer is $\\boxed{ANSWER}$.", "Therefore, the final answer is \\boxed{ANSWER}.", "\\[\\boxed{ANSWER}\\]",
    "This gives us $\\boxed{ANSWER}$ as desired.", "**Answer:** $\\boxed{ANSWER}$", "Hence\n$$\n\\boxed{ANSWER}\n$$\n",
    "Checking the 3 cases again confirms it: \\(\\boxed{ANSWER}\\)", "Thus we find \\boxed{ANSWER}, and we are done.",
]  # fmt: skip
OUTSIDE_MATH = [ending for ending in ENDINGS if not re.search(r"[$\[(]\n?\\boxed", ending)]
SHORT = "We work step by step and simplify at the end.\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One completion to score, and the expected verdict."""

    truth: str
    """The right answer, as a data set writes it."""
    completion: str
    """The whole text, as a model might write it."""
    equal: bool
    """Whether the answer in the completion is right."""
    kind: str
    """The kind of case, for the list of disagreements."""
    answer: str
    """The answer in the completion, for the list of disagreements."""
    extract: str = "boxed"
    """Where our verifier looks for the answer; Math-Verify always looks everywhere."""


def data_argument(parser: argparse.ArgumentParser) -> None:
    """`--data DIR`; by default the environment's RLVR_DATA, else `shared/data` next to the checkout, as in the tests."""
    default = os.environ.get("RLVR_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default), help="folder with gsm8k/test.jsonl and math500/test.jsonl")


def rows(data: Path, name: str) -> list[dict[str, Any]]:
    """The test rows of a data set. Errors: `SystemExit` if the file does not exist."""
    path = data / name / "test.jsonl"
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; pass --data DIR, a folder with {name}/test.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def in_words(row: dict[str, Any], answer: str, rng: Random) -> str:
    """A completion that ends in `answer` in a box: a short one, or the reference reasoning up to its own box."""
    body = SHORT
    if rng.random() < 0.5:
        reference = re.sub(r"\[asy\].*?\[/asy\]", "", row["solution"], flags=re.DOTALL)
        before = reference[: max(reference.rfind("\\boxed"), 0)]
        body = before[: max(before.rfind("\n"), before.rfind(". ") + 1, 0)] + "\n\n"
    endings = ENDINGS if "$" not in answer.replace("\\$", "") else OUTSIDE_MATH
    return body + rng.choice(endings).replace("ANSWER", answer)


def math500_forms(data: Path, *, per_truth: int, seed: int, odd: bool = False) -> list[Case]:
    """`per_truth` right and `per_truth` wrong answers for every problem of MATH-500, in boxes, shuffled.

    `odd`: each with a full stop in the box or full-width digits; a separate set, as Math-Verify does not claim to read those.
    """
    rng, problems = Random(seed), rows(data, "math500")
    truths = [row["answer"] for row in problems]
    cases = []
    for row in problems:
        truth = row["answer"]
        forms = [(True, *form) for form in equal_forms(truth, per_truth, rng, odd=odd)]
        forms += [(False, *form) for form in wrong_forms(truth, per_truth, truths, rng, odd=odd)]
        cases += [
            Case(truth=truth, completion=in_words(row, answer, rng), equal=equal, kind=kind, answer=answer)
            for equal, kind, answer in forms
        ]
    rng.shuffle(cases)
    return cases


def math500_as_given(data: Path) -> list[Case]:
    """The ground truths themselves in boxes: the easiest case, and the one in published rates."""
    return [
        Case(truth=row["answer"], completion=f"$\\boxed{{{row['answer']}}}$", equal=True, kind="as_given", answer=row["answer"])
        for row in rows(data, "math500")
    ]


def gsm8k(data: Path, *, boxed: bool, seed: int) -> list[Case]:
    """The reference solutions of GSM8K without calculator annotations; every second one ends in a wrong number."""
    rng, cases = Random(seed), []
    for at, row in enumerate(rows(data, "gsm8k")):
        body, truth = re.sub(r"<<.*?>>", "", row["answer"]).rsplit("####", 1)
        truth = truth.strip()
        value = int(truth.replace(",", ""))
        wrong = f"{value + rng.choice([-1, 1, 10, 100, -2 * value or 5, 9 * value or 7]):,}"
        answer = wrong if at % 2 else truth
        last = f"The answer is $\\boxed{{{answer}}}$." if boxed else f"#### {answer}"
        cases.append(
            Case(
                truth=truth,
                completion=body + last,
                equal=not at % 2,
                kind="wrong_number" if at % 2 else "reference",
                answer=answer,
                extract="boxed" if boxed else "hashes",
            )
        )
    return cases


def labelled() -> dict[str, list[Case]]:
    """The hand-labelled pairs of the tests, by file, each answer boxed in a sentence. Files of whole sentences are left out."""
    sets = {}
    for path in sorted(LABELLED.glob("*.jsonl")):
        pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if "answer" in pairs[0]:
            sets[path.stem] = [
                Case(completion=f"{SHORT}So the answer is \\boxed{{{pair['answer']}}}.", **pair) for pair in pairs
            ]
    return sets
