"""MATH in the layouts of the hub and of a folder; if rows have no answer, the last box of the solution is the ground truth."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from conftest import score_gap
from rlvr import load_rules
from rlvr.config.compose import compose
from rlvr.data.competition import last_box
from rlvr.data.datasets.math import MATH, SUBJECTS
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError


def row(number: int, subject: str = "algebra") -> dict[str, str]:
    return {
        "problem": f"What is {number} plus 1, in {subject}?",
        "level": "Level 1",
        "type": subject,
        "solution": f"Since ${number}+1={number + 1}$, we get $\\boxed{{{number + 1}}}$.",
    }


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so \boxed{5}", "5"),
        (r"first \boxed{4}, then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"$\boxed{\text{(A)}}$", r"\text{(A)}"),
        (r"$x = \boxed 5$.", "5"),
        (r"$x = \boxed 5.$ That is all.", "5."),
        (r"$\boxed 5$, rather $\boxed{6}$", "6"),
        (r"$\boxed{5}$, rather $\boxed 6$", "6"),
        (r"\boxed {7}", "7"),
        (r"\fbox{8}", "8"),
        ("5", ""),
        (r"\boxed{5", ""),
        ("", ""),
    ],
)
def test_last_box(solution: str, answer: str) -> None:
    assert last_box(solution).rstrip(".") == answer.rstrip(".")


def test_a_folder(tmp_path: Path) -> None:
    for split, numbers in (("train", range(5)), ("test", range(5, 8))):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in numbers))
    splits = MATH(path=str(tmp_path)).load()
    assert [p.truth["answer"] for p in splits.train] == ["1", "2", "3", "4", "5"]
    assert [p.id for p in splits.test] == ["math-test-00000", "math-test-00001", "math-test-00002"]
    assert splits.train[0].metadata == {"solution": row(0)["solution"], "type": "algebra", "level": "Level 1"}
    rules, prompts = load_rules("math"), Prompts(template=compose(["model=qwen0.5b", "prompt=boxed"]).prompt)
    assert [score_gap(prompts, p, rules) for p in (*splits.train, *splits.test)] == [None] * 8


def test_parquet_as_the_hub_lays_it_out(tmp_path: Path) -> None:
    for number, subject in enumerate(SUBJECTS):
        (tmp_path / subject).mkdir()
        for split in ("train", "test"):
            table = pyarrow.Table.from_pylist([row(number, subject)])
            pyarrow.parquet.write_table(table, tmp_path / subject / f"{split}-00000-of-00001.parquet")
    splits = MATH(path=str(tmp_path)).load()
    assert [p.metadata["type"] for p in splits.train] == list(SUBJECTS)
    assert len({p.id for p in (*splits.train, *splits.test)}) == 14


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset.path=/no/such: no such folder"):
        MATH(path="/no/such")
    (tmp_path / "train.jsonl").write_text('{"problem": "q", "solution": "no box here"}')
    with pytest.raises(ConfigError, match="math-train-00000 has neither an 'answer' nor a .*: 'no box here'"):
        MATH(path=str(tmp_path)).load()
    (tmp_path / "train.jsonl").write_text(json.dumps(row(1)))
    with pytest.raises(ConfigError, match="holds neither test.jsonl nor test-"):
        MATH(path=str(tmp_path)).load()
